"""Shards: TFRecord files with the pictures, and beside them an index with the annotations.

`keras-fpn data to-shards` writes them. The index of a half, `train.index.json`, is a COCO instances file whose images
say where in which file they lie; under "shards" it has the size of each file.
"""

import os
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.entries import read_json
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.listing import names_ending
from keras_fpn.data.objects import is_whole, short, shown
from keras_fpn.data.picture_contents import RECORD, check_place

INDEX = ".index.json"
FORMAT, VERSION = "keras_fpn shards", 1
_OWN = ("format", "version", "shards")  # keys of an index that the annotations did not have
_AGAIN = "copy the folder again or write it anew with keras-fpn data to-shards"


def index_name(half: str) -> str:
    """The name of the index of a half."""
    return f"{half}{INDEX}"


def shard_name(half: str, number: int, count: int) -> str:
    """The name of a shard, as TensorFlow's own data sets have it."""
    return f"{half}-{number:05}-of-{count:05}.tfrecord"


class Shards(AnnotationFormat):
    """Shards of TFRecord files and their index; the files of an index lie in its folder."""

    name, title = "shards", "shards of TFRecord files"
    layout = f"{index_name('train')} and {index_name('val')} beside their TFRecord files"

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        names = [name for name in names_ending(folder, ".json") if self.recognises(name)]
        return {name.removesuffix(INDEX): Half(str(folder / name), str(folder)) for name in names} or None

    def recognises(self, annotations: str) -> bool:
        """See `AnnotationFormat`."""
        return annotations.endswith(INDEX)

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        return os.path.dirname(annotations) or os.curdir

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """See `AnnotationFormat`; every shard is there and as long as the index says.

        What the index says of the shards is left out: without them it is the annotations that they were made of.
        """
        content = read_json(annotations)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(f"{annotations}: no index of shards; keras-fpn data to-shards writes one")
        if content.get("version") != VERSION:
            raise UserError(
                f"{annotations}: version {content.get('version')!r}, this program reads {VERSION}; write the shards"
                " again with keras-fpn data to-shards"
            )
        folder = os.path.abspath(images or self.images_of(annotations) or os.curdir)
        lengths = _check_shards(annotations, folder, content.get("shards"))
        paths = {name: os.path.join(folder, name) for name in lengths}
        for entry in content["images"] if isinstance(content.get("images"), list) else ():
            if isinstance(entry, dict):  # others are refused where all annotations are checked
                _check_entry(annotations, entry, lengths)
                entry[RECORD]["file"] = paths[entry[RECORD]["file"]]
        return {key: value for key, value in content.items() if key not in _OWN}


def _check_shards(annotations, folder, shards) -> dict[str, int]:
    """`{name: bytes}` of the shards of an index."""
    entries = shards if isinstance(shards, list) else [shards]
    for shard in entries:
        is_right = isinstance(shard, dict) and isinstance(shard.get("file"), str) and is_whole(shard.get("bytes"))
        if not is_right:
            raise UserError(f'{annotations}: "shards" has {short(shard)}, not the "file" and "bytes" of one; {_AGAIN}')
        file = os.path.join(folder, shard["file"])
        if not os.path.isfile(file):
            raise UserError(f"{shown(file)}: a shard of {annotations} is not there; {_AGAIN}")
        size = os.path.getsize(file)
        if size != shard["bytes"]:
            what = "is cut short" if size < shard["bytes"] else "is another file"
            raise UserError(
                f"{shown(file)}: {what}, it has {size} bytes and {annotations} says {shard['bytes']}; {_AGAIN}"
            )
    return {shard["file"]: shard["bytes"] for shard in entries}


def _check_entry(annotations, entry, lengths):
    check_place(annotations, entry)
    place = entry[RECORD]
    if place["offset"] >= lengths.get(place["file"], 0):
        raise UserError(
            f"{annotations}: image {entry.get('id')} lies at byte {place['offset']} of {shown(place['file'])}, which is"
            f' in none of "shards"; {_AGAIN}'
        )
