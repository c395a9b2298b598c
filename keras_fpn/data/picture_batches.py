"""Pictures that are at hand -> batches: resized, augmented and padded as those of files (`pipeline`)."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data.augmentations import active, needed_fields
from keras_fpn.data.examples import Options, check_whole, make_example, padding_values
from keras_fpn.data.fields import choose
from keras_fpn.data.pipeline import _as_tuple, _stream_options


def batches_of(
    pictures: tf.data.Dataset, *, batch_size: int, seed: int, drop_remainder: bool, **how: Any
) -> tf.data.Dataset:
    """Batches of a dataset of pictures, in its order.

    Args:
        pictures: dataset of `(image [H, W, 3] uint8, or float32 for "bilinear", {name: rows} of the fields that every
            object has, image id int64)`.
        batch_size, seed, drop_remainder: see `load_coco`.
        how: arguments of `load_coco` by which images are resized and augmented.
    """
    check_whole(batch_size=(batch_size, 1), seed=(seed, 0))
    options = _options(**how)

    for each in options.augmentations:
        each.build()

    @tf.autograph.experimental.do_not_convert  # as in the pipeline
    def example(run, number, image, rows, image_id):
        own = {field: rows[field.name] for field in options.fields}
        seeds = tf.stack([seed + run, number])
        return make_example(image, own, image_id, tf.shape(image)[:2], options, seeds, _refuse_other)

    numbered, runs = pictures.enumerate(), tf.data.Dataset.from_tensors(tf.constant(0, tf.int64))
    if options.is_random:  # another number in each pass, the same of equal seeds
        runs = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
    stream = runs.flat_map(lambda run: numbered.map(lambda number, picture: (run, number, *picture)))
    stream = stream.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    stream = stream.padded_batch(batch_size, padding_values=padding_values(options), drop_remainder=drop_remainder)
    length = int(pictures.cardinality())
    if length >= 0:
        length = length // batch_size if drop_remainder else -(-length // batch_size)
    if length != tf.data.UNKNOWN_CARDINALITY:
        stream = stream.apply(tf.data.experimental.assert_cardinality(length))
    return stream.prefetch(tf.data.AUTOTUNE).with_options(_stream_options())


def _options(*, min_side, canvas, horizontal_flip, augmentations: Mapping[str, Any], **others) -> Options:
    chosen = active(augmentations)
    if needed_fields(chosen):
        needs = ", ".join(needed_fields(chosen))
        raise UserError(f"load_coco: an augmentation needs {needs}, which the dataset does not have; leave it out")
    return Options(
        min_sides=_as_tuple(min_side),
        canvas=None if canvas is None else tuple(canvas),
        horizontal_flip=bool(horizontal_flip),
        augmentations=chosen,
        num_slots=None,
        fields=tuple(choose(()).values()),
        needed_fields=(),
        **others,
    )


def _refuse_other(seed):
    """An augmentation asks for another picture, and a stream has none at hand."""
    raise UserError(
        "load_coco: mosaic and copy_paste take other pictures of the data set, which a stream has not at hand; leave"
        " them out, or write the data set to files for load_coco"
    )
