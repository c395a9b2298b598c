"""A data set written as shards: TFRecord files of some hundred megabytes, and an index (see `formats.shards`).

The annotations go into the index as they are, but for the names of pictures that become PNG since the graph of training
does not read them: examples hold boxes as float32 shares and no polygons, and to read
annotations from the shards would be to read the pictures. The pictures lie in the shards in an order drawn by a seed,
so that each shard is a fair sample to a program that reads it from its start to its end; this package reads them in
any order.
"""

import dataclasses
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_fpn.console.files import built_aside, check_empty, check_output, write_text
from keras_fpn.console.progress import Count
from keras_fpn.data import rewriting
from keras_fpn.data.coco import CocoDataset, Record, read_coco
from keras_fpn.data.formats import Half, read_content
from keras_fpn.data.formats.shards import FORMAT, VERSION, index_name, shard_name
from keras_fpn.data.objects import shown
from keras_fpn.data.picture_contents import RECORD, content_of, length_of
from keras_fpn.data.shard_examples import PICTURE, Area, example_of
from keras_fpn.data.tfrecord_files import record_writer

log = logging.getLogger(__name__)

LABEL_MAP = "label_map.pbtxt"


class Written(NamedTuple):
    """A half that was written: how many images, in how many shards of how many bytes in all."""

    images: int
    shards: int
    bytes: int


class _Stored(NamedTuple):
    """Where the picture of an image is: name of its shard, offset in it; and its name."""

    shard: str
    offset: int
    file_name: str


def check_shards_output(path: str | os.PathLike) -> None:
    """Refuse a place for shards before the work begins; a folder with something in it would be lost.

    Raises:
        UserError: `path` is a file, is not empty, or cannot be written.
    """
    check_output(path, folder=True)
    check_empty(path)


def write_shards(
    path: str | os.PathLike,
    halves: Mapping[str, Half],
    *,
    shard_bytes: int = 200_000_000,
    shards: int | None = None,
    seed: int = 0,
    reading: Mapping[str, Any] | None = None,
) -> dict[str, Written]:
    """Write the halves of a data set as shards into a new folder, whole or not at all.

    Args:
        path: the folder; absent or empty.
        halves: by names such as "train", annotations in any format with their images.
        shard_bytes: about as many in each shard.
        shards: as many of each half instead.
        seed: of the order of pictures in the shards.
        reading: arguments of `read_coco` by which the boxes of the examples are read; the index keeps the annotations
            as they are.

    Raises:
        UserError: see `check_shards_output` and `read_coco`; a picture cannot be read.
    """
    check_shards_output(path)
    written = {}
    with built_aside(path) as folder:
        folder.mkdir()
        for name, half in halves.items():
            data_set = read_coco(half.annotations, half.images, fields=(Area(),), **(reading or {}))
            order = np.random.default_rng(seed % 2**64).permutation(len(data_set))
            count = shards or math.ceil(sum(map(length_of, data_set.records)) / shard_bytes)
            groups = np.array_split(order, min(max(count, 1), len(order)))
            with Count(f"write {name}", len(data_set)) as progress:
                places = _write_records(folder, name, groups, data_set, progress)
            files = [folder / shard_name(name, number, len(groups)) for number in range(len(groups))]
            _write_index(folder / index_name(name), half, places, files)
            if not (folder / LABEL_MAP).exists():
                write_text(folder / LABEL_MAP, _label_map(data_set))
            written[name] = Written(len(data_set), len(files), sum(file.stat().st_size for file in files))
    return written


def _write_records(folder, half, groups, data_set: CocoDataset, progress) -> list[_Stored]:
    """Write a shard of each group of records; where each record is, in their order."""
    category_ids = np.array(data_set.category_ids, np.int64)
    names = dict(zip(data_set.category_ids, data_set.class_names, strict=True))
    places: list[_Stored] = [_Stored("", 0, "")] * len(data_set)
    taken, done = {record.file_name for record in data_set.records}, 0
    rewritten: list[tuple[str, rewriting.Rewritten]] = []
    for number, group in enumerate(groups):
        shard = shard_name(half, number, len(groups))
        with record_writer(folder / shard) as add:
            for index in group.tolist():
                record, content = _as_stored(data_set.records[index], taken, rewritten)
                offset = add(example_of(record, content, category_ids, names))
                places[index] = _Stored(shard, offset, record.file_name)
                done += 1
                progress(done)
    for line in rewriting.told(rewritten):
        log.warning("%s: %s", data_set.annotations, line)
    return places


def _as_stored(record: Record, taken: set[str], rewritten: list) -> tuple[Record, bytes]:
    """A record and its picture as they are stored: as PNG, and so called, where the graph does not read it as it is.

    taken: names of pictures that there are. rewritten: those of which it is told, one more then.
    """
    content, name = content_of(record), shown(record.name)
    made = rewriting.rewritten(content, name)
    if made is None:
        return record, content
    rewritten.append((name, made._replace(content=b"")))
    free = _free_name(os.path.splitext(record.file_name)[0], made.suffix, taken)
    return dataclasses.replace(record, file_name=free), made.content


def _free_name(start: str, suffix: str, taken: set[str]) -> str:
    """A name with, where it is taken, a number; taken from then on."""
    number, free = 1, start + suffix
    while free in taken:
        number += 1
        free = f"{start}_{number}{suffix}"
    taken.add(free)
    return free


def _write_index(path: Path, half: Half, places: Sequence[_Stored], shards: Sequence[Path]) -> None:
    """The annotations as they were read, with the place of each picture, entry by entry: in one text of COCO's
    annotations there are 450 MB."""
    content = read_content(half.annotations, half.images)
    about = {"format": FORMAT, "version": VERSION}
    about["shards"] = [{"file": file.name, "bytes": file.stat().st_size} for file in shards]
    images = (
        {**entry, "file_name": name, RECORD: {"file": file, "offset": offset, "key": PICTURE}}
        for entry, (file, offset, name) in zip(content["images"], places, strict=True)
    )
    with open(path, "w", encoding="utf-8") as file:
        file.write("{")
        for key, value in ({**content, **about, "images": images}).items():
            file.write(f"{'' if file.tell() == 1 else ','}\n{json.dumps(key)}: ")
            _write_value(file, value)
        file.write("\n}\n")


def _write_value(file, value):
    if isinstance(value, str | dict | int | float | None):
        file.write(json.dumps(value))
        return
    file.write("[")
    for number, entry in enumerate(value):
        file.write(f"{',' if number else ''}\n{json.dumps(entry)}")
    file.write("]")


def _label_map(data_set: CocoDataset) -> str:
    """The classes as TensorFlow's Object Detection API reads them."""
    pairs = zip(data_set.category_ids, data_set.class_names, strict=True)
    return "".join(f"item {{\n  id: {number}\n  name: {json.dumps(name)}\n}}\n" for number, name in pairs)
