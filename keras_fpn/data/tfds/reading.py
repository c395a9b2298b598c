"""A split of a TFDS data set as the content of a COCO instances file, whose pictures stay where they are."""

import contextlib
import functools
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_fpn.console.errors import UserError
from keras_fpn.console.progress import Count
from keras_fpn.data.tfds.keys import Keys
from keras_fpn.data.tfds.names import Name
from keras_fpn.data.tfds.offsets import record_offsets
from keras_fpn.data.tfds.package import open_builder
from keras_fpn.data.tfds.prepared import Prepared, find_prepared

if TYPE_CHECKING:
    from keras_fpn.data.tfds.examples import Example, Split
    from keras_fpn.data.tfds.schema import Schema

log = logging.getLogger(__name__)

_WORTH_A_BAR = 1000  # images


def read_in_place(name: Name) -> dict[str, Any]:
    """Read the labels of a split, once; each image says which TFRecord file it lies in, and where.

    Args:
        name: with a split.

    Raises:
        UserError: there is no such data set or split, it has no labels, lies in ArrayRecord files, or would be measured
            wrongly; see also `find_schema`.
    """
    from keras_fpn.data.instances import read_instances
    from keras_fpn.data.tfds.content import Content
    from keras_fpn.data.tfds.original import joined

    prepared = Prepared(find_prepared(name.data))
    check_readable(prepared, name)
    original = None if name.original is None else read_instances(name.original)
    split, schema = open_split(prepared, str(name.split), name.keys)
    offsets = {file: record_offsets(file, length) for file, length in split.lengths().items()}
    key, content = "/".join(schema.image), Content(schema, f"{prepared.folder}@{name.split}")
    title = f"read the labels of {prepared.name} {name.split}"
    for example in counted(split.examples(whole_pictures=False), title, len(split)):
        entry = content.add(example)
        entry["record"] = {"file": str(example.file), "offset": offsets[example.file][example.place], "key": key}
    if original is None:
        _tell(prepared.title, prepared.known.notes)
        return content.as_coco()
    return joined(content.as_coco(), original)


def check_readable(prepared: Prepared, name: Name) -> None:
    """Refuse what cannot be read in place, before TFDS is imported.

    Raises:
        UserError: see `read_in_place`.
    """
    if name.split is None:
        raise UserError(f"{name}: name a split: {name}@{next(iter(prepared.splits), 'train')}")
    if prepared.known.refused:
        raise UserError(
            f"{name}: {prepared.known.refused}; write what can be learnt from: keras-fpn data from-tfds {name.data} OUT"
            " --split train=train"
        )
    check_labelled(prepared, name.split)
    if not prepared.is_tfrecord:
        raise UserError(
            f"{name}: lies in ArrayRecord files, which TensorFlow does not read in place; write a folder: keras-fpn"
            f" data from-tfds {name.data} OUT"
        )


def check_labelled(prepared: Prepared, split: str) -> None:
    """Refuse a split that is not there, or has no labels.

    Raises:
        UserError: the data set has none of this name, or is known not to label it.
    """
    for part in split.split("+"):
        name = part.partition("[")[0].strip()
        if name not in ("all", *prepared.splits):
            there = ", ".join(prepared.splits)
            raise UserError(
                f"{prepared.folder}@{split}: no such split; there are {there}, and parts such as train[:90%]"
            )
        if name in prepared.known.unlabelled:
            labelled = ", ".join(each for each in prepared.splits if each not in prepared.known.unlabelled)
            raise UserError(f"{prepared.name}: the split {name} has no labels; those with labels are {labelled}")


def open_split(prepared: Prepared, split: str, keys: Keys) -> "tuple[Split, Schema]":
    """A split, and the schema of its examples.

    Raises:
        UserError: see `open_builder`, `find_schema` and `Split`.
    """
    builder = open_builder(prepared.folder)  # imports TensorFlow, quietly
    from keras_fpn.data.tfds.examples import Split
    from keras_fpn.data.tfds.schema import find_schema

    schema = find_schema(builder, prepared.known, keys, str(prepared.folder))
    return Split(builder, split, schema), schema


def counted(examples: "Iterator[Example]", title: str, total: int) -> "Iterator[Example]":
    """The examples; of many it is told how far they are and how fast they come."""
    start, size = time.monotonic(), 0
    bar = Count(title, total) if total >= _WORTH_A_BAR else contextlib.nullcontext(lambda done, unit: None)
    with bar as count:
        for done, example in enumerate(examples, start=1):
            yield example
            size += example.picture_bytes
            count(done, unit=f"images ({size / 1e6 / max(time.monotonic() - start, 1e-3):.0f} MB/s)")


@functools.cache
def _tell(title, notes):
    """Once in a process: both halves are read, and the second one again where it is measured."""
    for note in notes:
        log.warning("%s: %s", title, note)
