"""The pictures of a data set that TensorFlow does not read, rewritten in memory once for all that read the data set."""

import concurrent.futures
import dataclasses
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import tensorflow as tf

from keras_fpn.console.progress import Count
from keras_fpn.data import rewriting
from keras_fpn.data.cached_files import check_memory
from keras_fpn.data.coco import CocoDataset, Record
from keras_fpn.data.objects import shown
from keras_fpn.data.picture_checks import check_pictures
from keras_fpn.data.picture_contents import content_of
from keras_fpn.data.unread_pictures import head_of, refuse_foreign, refuse_unread

log = logging.getLogger(__name__)

Source = Callable[[tf.Tensor], tf.Tensor]  # index of a record -> its encoded picture


@dataclasses.dataclass(frozen=True)
class RewrittenPictures:
    """Pictures as PNG files in memory.

    Attributes:
        rows: of a picture, by its file and its place in it, the row in `contents`.
        contents: `[n]` strings.
    """

    rows: Mapping[tuple, int]
    contents: tf.Tensor

    def beside(self, records: Sequence[Record], source: Callable[[Sequence[Record]], Source]) -> Source:
        """A function from the index of a record to its picture: one of these, or of a source of all the others."""
        others = [record for record in records if _key(record) not in self.rows]
        if len(others) == len(records):
            return source(records)
        rows = [self.rows.get(_key(record), -1) for record in records]
        numbers = iter(range(len(others)))
        # Below zero: the place among the others, counted from -1.
        places = tf.constant([row if row >= 0 else -1 - next(numbers) for row in rows])
        if not others:
            return lambda index: self.contents[places[index]]
        other = source(others)
        return lambda index: tf.cond(
            places[index] >= 0, lambda: self.contents[places[index]], lambda: other(-1 - places[index])
        )


def with_readable_pictures(data_sets: Iterable[CocoDataset], cache: bool) -> list[CocoDataset]:
    """Data sets, their pictures looked at before training or evaluation, with those that must be rewritten in memory.

    Args:
        cache: `data.cache`: whether pictures that the graph does not read are rewritten, or refused.

    Raises:
        UserError: see `refuse_foreign` and `refuse_unread`; a picture cannot be rewritten.
    """
    data_sets = list(data_sets)
    for data_set in data_sets:
        refuse_foreign(data_set)
        if not cache:
            refuse_unread(data_set)
        check_pictures(data_set)
    return [with_rewritten_pictures(data_set) for data_set in data_sets] if cache else data_sets


def with_rewritten_pictures(data_set: CocoDataset) -> CocoDataset:
    """The data set with the pictures that TensorFlow does not read as PNG in memory (`rewriting.rewritten`).

    Says how many there were and of what kinds.

    Raises:
        UserError: one of them cannot be read, or there is not enough memory.
    """
    records = {_key(record): record for record in data_set.records}
    chosen = [record for record in records.values() if rewriting.unread(head_of(record)) is not None]
    pictures = _rewrite_all(chosen) if chosen else []
    for line in rewriting.told(zip((shown(record.name) for record in chosen), pictures, strict=True)):
        log.warning("%s: %s", data_set.annotations, line)
    contents = tf.constant([picture.content for picture in pictures], tf.string, [len(pictures)])
    rows = {_key(record): row for row, record in enumerate(chosen)}
    return dataclasses.replace(data_set, rewritten=RewrittenPictures(rows, contents))


def _key(record: Record) -> tuple:
    return record.path, record.place


def _rewrite_all(records: Sequence[Record]) -> list[rewriting.Rewritten]:
    """Each as PNG; Pillow works on as many at once as there are cores."""
    pictures: list[rewriting.Rewritten] = []
    size = 0
    with (
        warnings.catch_warnings(),
        Count("rewrite pictures", len(records)) as count,
        concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        warnings.filterwarnings("ignore", module=r"PIL\.")  # a picture that is odd, but can be read
        try:
            for picture in pool.map(_rewrite, records):
                pictures.append(picture)
                size += len(picture.content)
                what = f"{len(pictures)} of {len(records)} pictures, rewritten as PNG, take"
                # They are in memory twice while TensorFlow takes them over.
                check_memory(2 * size, what, "write them into files: keras-fpn data convert")
                count(len(pictures))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return pictures


def _rewrite(record: Record) -> rewriting.Rewritten:
    name = shown(record.name)
    picture = record.path if record.place is None else content_of(record)
    rewritten = rewriting.rewritten(picture, name)
    assert rewritten is not None, f"{name} was changed while it was read"
    return rewritten
