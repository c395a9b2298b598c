"""Which image comes at which place of the stream: arithmetic, not state.

Slot s of a stream is row s % B of batch s // B. Its image follows from (seed, s) alone, so a stream that
starts at batch N is the uninterrupted one from its batch N on: nothing is saved or replayed to resume
exactly, and skipping costs nothing.
"""

import numpy as np
import tensorflow as tf

from keras_fpn.data.coco import Record


class StreamOrder:
    """The order of `records` in batches.

    Each group (all images, or wide and tall ones apart) has a stream of epochs of its own, cut into batches;
    the groups' batches take turns in proportion to their number. An endless stream lets batches run on over
    the ends of epochs, so all are full and each image comes exactly once an epoch of its group. A finite
    stream is one epoch and ends each group with what is left, the batch filled up with -1.

    Args:
        records: in the order of the annotation file.
        batch_size: rows of a batch.
        shuffle: another order in each epoch.
        repeat: endless or one epoch.
        group_by_aspect_ratio: batches of only wide (width >= height) or only tall images.
        drop_remainder: finite: leave the short batches out.
        seed: any whole number.
    """

    def __init__(
        self,
        records: list[Record],
        batch_size,
        *,
        shuffle,
        repeat,
        group_by_aspect_ratio,
        drop_remainder,
        seed,
    ):
        self.batch_size, self.shuffle, self.repeat, self.seed = batch_size, shuffle, repeat, seed
        tall = np.array([group_by_aspect_ratio and record.height > record.width for record in records])
        groups = np.flatnonzero(~tall), np.flatnonzero(tall)
        self._members = tf.constant(np.concatenate(groups), tf.int64)
        self._starts = tf.constant([0, len(groups[0])], tf.int64)
        lengths = np.array([len(group) for group in groups], np.int64)
        self._lengths = tf.constant(lengths)
        batches = lengths // batch_size if drop_remainder else -(-lengths // batch_size)
        # Of every `_turns` batches `_tall_turns` are of the second group.
        self._tall_turns, self._turns = (
            (int(lengths[1]), int(lengths.sum())) if repeat else (int(batches[1]), max(int(batches.sum()), 1))
        )
        self.num_batches = None if repeat else int(batches.sum())
        self.has_short_batches = not repeat and bool((batches * batch_size > lengths).any())

    def record(self, slot: tf.Tensor, run: tf.Tensor) -> tf.Tensor:
        """Index of the record at a slot, or -1 where a finite group has run out.

        Args:
            slot: int64 scalar.
            run: int64 scalar that is mixed into the seed.
        """
        batch, row = slot // self.batch_size, slot % self.batch_size
        group = self._tall_before(batch + 1) - self._tall_before(batch)  # 0 or 1
        batch_of_group = tf.where(group == 1, self._tall_before(batch), batch - self._tall_before(batch))
        place = batch_of_group * self.batch_size + row
        length = tf.gather(self._lengths, group)
        epoch, offset = place // length, place % length
        if self.shuffle:
            key = tf.stack([self.seed + run, 2 * epoch + group])
            offset = tf.random.experimental.index_shuffle(offset, key, length - 1)
        record = tf.gather(self._members, tf.gather(self._starts, group) + offset)
        return record if self.repeat else tf.where(place < length, record, tf.constant(-1, tf.int64))

    def slots(self, skip_batches: int, *, fresh_every_pass: bool) -> tf.data.Dataset:
        """Dataset of (slot, run), int64 scalars, from batch `skip_batches` on.

        `run` is 0, or with `fresh_every_pass` a number that is new (and the same for equal seeds) in each
        pass.
        """
        last = np.iinfo(np.int64).max // self.batch_size if self.num_batches is None else self.num_batches
        first = min(skip_batches, last)
        if not fresh_every_pass:
            return slots_of_batches(first, last, self.batch_size)
        runs = tf.data.Dataset.random(seed=self.seed, rerandomize_each_iteration=True).take(1)
        return runs.flat_map(lambda run: slots_of_batches(first, last, self.batch_size, run))

    def _tall_before(self, batch):
        return batch * self._tall_turns // self._turns


def slots_of_batches(first: int, last: int, batch_size: int, run: int | tf.Tensor = 0) -> tf.data.Dataset:
    """Dataset of (slot, run), int64 scalars, of batches `first` to `last`, the last one excluded.

    It begins with the batches, not with the slots: where the workers of a tf.data service divide it among them
    (`ShardingPolicy.DYNAMIC`), each gets whole batches.
    """
    rows = tf.range(batch_size, dtype=tf.int64)
    runs = tf.fill([batch_size], tf.cast(run, tf.int64))
    batches = tf.data.Dataset.range(first, last)
    return batches.map(lambda batch: (batch * batch_size + rows, runs)).unbatch()
