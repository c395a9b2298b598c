"""Batches of images that are padded to one size: the order of an evaluation."""

from collections.abc import Hashable, Sequence

import numpy as np
import tensorflow as tf

from keras_fpn.data.order import slots_of_batches


class SizeOrder:
    """One pass over the images in batches of one padded size each; see `order.StreamOrder`, whose interface it has.

    Padding beyond an image's own reaches its features through the convolutions: in batches like these each is answered
    as it is alone. A batch comes where its first image does, so that the order stays near that of the file.

    Args:
        padded_sizes: of each image, in the order of the annotation file.
        batch_size: rows of a batch.
    """

    def __init__(self, padded_sizes: Sequence[Hashable], batch_size: int):
        groups: dict[Hashable, list[int]] = {}
        for index, size in enumerate(padded_sizes):
            groups.setdefault(size, []).append(index)
        batches = sorted(
            group[start : start + batch_size]
            for group in groups.values()
            for start in range(0, len(group), batch_size)
        )  # fmt: skip
        rows = np.full((len(batches), batch_size), -1, np.int64)
        for row, batch in zip(rows, batches, strict=True):
            row[: len(batch)] = batch
        self._records = tf.constant(rows.ravel())
        self.num_batches, self.batch_size = len(batches), batch_size
        self.has_short_batches = bool((rows < 0).any())

    def record(self, slot: tf.Tensor, run: tf.Tensor) -> tf.Tensor:
        """Index of the image at a slot, int64 scalars, or -1 where a batch is short; `run` changes nothing."""
        return tf.gather(self._records, slot)

    def slots(self, skip_batches: int, *, fresh_every_pass: bool = False) -> tf.data.Dataset:
        """Dataset of (slot, 0), int64 scalars, from batch `skip_batches` on."""
        return slots_of_batches(skip_batches, self.num_batches, self.batch_size)
