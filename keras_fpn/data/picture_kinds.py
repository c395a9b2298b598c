"""Names of what a file is by its first bytes, in TensorFlow operations: for errors of graphs that run without Python.

The same names as `rewriting.unread` and `picture_files.kind_of` give in Python.
"""

import tensorflow as tf

from keras_fpn.console import picture_files
from keras_fpn.data import image_heads, rewriting

_STARTS = [pair for pair in picture_files.STARTS if pair[1] in rewriting.TITLES] + list(picture_files.OTHER_STARTS)
_BRANDS = dict(picture_files.BRANDS)


def unread(content: tf.Tensor) -> tf.Tensor:
    """The name of a kind of picture that is not read as it is but can be rewritten; "" of others. String scalars."""
    kind = _kind(content)
    names = tf.constant(list(rewriting.TITLES.items()))
    cases = [
        (image_heads.is_animated_webp(content), lambda: tf.constant(rewriting.ANIMATED_WEBP)),
        (image_heads.is_bmp(content) & ~image_heads.is_plain_bmp(content), lambda: tf.constant(rewriting.OTHER_BMP)),
    ]
    return tf.case(cases, default=lambda: tf.strings.reduce_join(tf.where(names[:, 0] == kind, names[:, 1], "")))


def foreign(content: tf.Tensor) -> tf.Tensor:
    """The name of another known kind of file, such as "JPEG 2000"; "" of others."""
    kind = _kind(content)
    return tf.where(tf.reduce_any(kind == tf.constant(list(rewriting.TITLES))), "", kind)


def _kind(content):
    """The name of a start or a brand; "" where none is known."""
    head = tf.strings.substr(content, 0, 64)
    starts = tf.constant([start for start, _ in _STARTS])
    lengths = [len(start) for start, _ in _STARTS]
    begins = tf.strings.substr(tf.fill([len(lengths)], head), [0] * len(lengths), lengths) == starts
    of_start = _first(begins, [kind for _, kind in _STARTS], "")
    is_boxed = tf.strings.regex_full_match(head, r"\C{4}ftyp\C*")
    known = "|".join(brand.decode() for brand in _BRANDS)
    brand = tf.strings.regex_replace(head, rf"^\C{{4}}ftyp(?:\C{{4}})*?({known})\C*$", r"\1")
    is_image = tf.strings.regex_full_match(head, r"\C{4}ftypmi\C*")
    of_brand = _first(brand == tf.constant(list(_BRANDS)), list(_BRANDS.values()), picture_files.VIDEO)
    of_brand = tf.where((of_brand == picture_files.VIDEO) & is_image, "HEIF", of_brand)
    return tf.where(is_boxed, of_brand, of_start)


def _first(conditions, values, otherwise):
    """The value of the first condition that holds."""
    return tf.gather([*values, otherwise], tf.argmax(tf.concat([conditions, [True]], axis=0)))
