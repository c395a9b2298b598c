"""Every pixel of a data set read as training reads it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_fpn.console.screen import import_quietly
from keras_fpn.data.checks.finding import ERROR, Finding, register_kind
from keras_fpn.data.checks.pictures import in_threads
from keras_fpn.data.checks.subject import Subject

UNDECODABLE = register_kind(
    "image_undecodable", ERROR, "image", "whose file begins well and cannot be decoded",
    "replace the file, or remove the entry", __name__,
)  # fmt: skip


def decode_all(subject: Subject, count: Callable[[int], Any]) -> list[Finding]:
    """Decode every picture whose first bytes are sound, by TensorFlow, which is imported for it.

    Args:
        count: called with how many were decoded.
    """
    import_quietly()
    import tensorflow as tf

    from keras_fpn.data.decode import bad_image_message, decode_image

    text = tf.TensorSpec([], tf.string)

    @tf.function(input_signature=[text, text], autograph=False)
    def decode(path, content):
        return tf.shape(decode_image(path, content=lambda: content))

    table, pictures = subject.table, subject.pictures
    if pictures is None:
        return []

    def problem(row):
        file = pictures.files[row]
        try:
            decode(file.path, file.read())
        except (OSError, ValueError) as error:
            return str(error)
        except tf.errors.OpError as error:
            return (bad_image_message(error) or str(error).splitlines()[0]).removeprefix(f"{file.path}: ")
        return ""

    rows = [row for row, head in pictures.heads.items() if not head.refused]
    problems: dict[int, str] = {}
    done = 0
    for block, found in in_threads(problem, rows):
        problems |= {row: words for row, words in zip(block, found, strict=True) if words}
        done += len(block)
        count(done)
    which = np.zeros(len(table.images), bool)
    which[list(problems)] = True
    return table.find_images(UNDECODABLE, which, problems.get)  # type: ignore[arg-type]
