"""Examples of a TFDS data set, in the order of its files: the same in each reading and for each part of a split."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data.image_heads import FORMATS, size_in_header
from keras_fpn.data.tfds import package
from keras_fpn.data.tfds.schema import Schema, at

_ID = "tfds_id"
_HEAD = 16  # bytes of a picture that tell its format
_AT_ONCE = 16  # examples, which takes half the time of one by one


class Example(NamedTuple):
    """An image and its objects.

    Attributes:
        number: of the example in the whole data set, all splits one behind the other, from 1.
        file, place: the file that it lies in, and how many lie before it there.
        picture: the encoded picture, or its first bytes.
        picture_bytes: length of the encoded picture.
        height, width: pixels, as the picture is stored; its boxes are drawn on it so.
        features: what was decoded.
    """

    number: int
    file: Path
    place: int
    picture: bytes
    picture_bytes: int
    height: int
    width: int
    features: dict[str, Any]


class Split:
    """A split of a data set, or a part of one.

    Args:
        builder: `tfds.core.DatasetBuilder` of the data set.
        name: such as "train", "train[:90%]" or "train+validation".
        schema: what is decoded of an example.

    Raises:
        UserError: there is no such split.
    """

    def __init__(self, builder: Any, name: str, schema: Schema):
        self._builder, self._name, self._schema = builder, name, schema
        self._source = f"{builder.data_dir}@{name}"
        splits = builder.info.splits
        try:
            self._info = splits[name]
            instructions = self._info.file_instructions
        except Exception as error:  # ValueError, KeyError or AssertionError, by what is wrong with it
            raise UserError(
                f"{self._source}: no such split ({error}); there are {', '.join(splits)}, and parts such as"
                f" {next(iter(splits), 'train')}[:90%]"
            ) from None
        self._parts = [(Path(each.filename), each) for each in instructions]
        self._firsts = _first_numbers(splits)

    def __len__(self) -> int:
        return self._info.num_examples

    def lengths(self) -> dict[Path, int]:
        """How many examples each file has that the split lies in."""
        return {file: part.examples_in_shard for file, part in self._parts}

    def examples(self, whole_pictures: bool) -> Iterator[Example]:
        """The examples; with the first bytes of their pictures alone, they are read faster.

        Raises:
            UserError: one cannot be read; names it.
        """
        is_array_record = self._builder.info.file_format.value == "array_record"
        found = self._from_source() if is_array_record else self._from_tfrecords(whole_pictures)
        done = 0
        try:
            for file, place, length, size, features in found:
                height, width = (int(side) for side in size)
                if height < 1 or width < 1:
                    raise UserError(
                        f"{self._source}: the picture of example {done + 1} is no {FORMATS}; prepare the data set again"
                    )
                picture, number = at(features, self._schema.image), self._firsts[file.name] + place
                yield Example(number, file, place, picture, length, height, width, features)
                done += 1
        except tf.errors.OpError as error:
            first_line, last = str(error.message).partition("\n")[0], min(done + _AT_ONCE, len(self))
            raise UserError(
                f"{self._source}: one of the examples {done + 1} to {last} cannot be read ({first_line}); prepare the"
                " data set again"
            ) from None

    def _decoders(self) -> Any:
        tree = package.package().decode.SkipDecoding()
        for key in reversed(self._schema.image):
            tree = {key: tree}
        return tree

    def _from_tfrecords(self, whole_pictures):
        """(file, place in it, bytes of the picture, its height and width, features) of each example."""
        tfds, schema = package.package(), self._schema
        reading = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False, add_tfds_id=True)
        decoders = tfds.decode.PartialDecoding(schema.wanted(), decoders=self._decoders())
        with package.quiet():
            stream = self._builder.as_dataset(
                split=self._name, shuffle_files=False, read_config=reading, decoders=decoders
            )
        files = {file.name: file for file, _ in self._parts}

        def measured(features):
            picture = at(features, schema.image)
            if not whole_pictures:
                _replace(features, schema.image, tf.strings.substr(picture, 0, _HEAD))
            return features.pop(_ID), tf.strings.length(picture), size_in_header(picture), features

        stream = stream.map(measured, tf.data.AUTOTUNE, deterministic=True)
        for several in stream.ragged_batch(_AT_ONCE).prefetch(1):
            for name, length, size, features in zip(*map(_one_by_one, several), strict=True):
                file, _, place = name.decode().rpartition("__")
                yield files[file], int(place), int(length), size, features

    def _from_source(self):
        """The same of ArrayRecord files."""
        measure = tf.function(size_in_header, input_signature=[tf.TensorSpec([], tf.string)])
        with package.quiet():
            source = self._builder.as_data_source(split=self._name, decoders=self._decoders())
        places = ((file, place) for file, part in self._parts for place in range(part.skip, part.skip + part.take))
        for index, (file, place) in enumerate(places):
            features = source[index]
            picture = at(features, self._schema.image)
            yield file, place, len(picture), measure(tf.constant(picture)).numpy(), features


def _first_numbers(splits) -> dict[str, int]:
    """The number of the first example of each file."""
    firsts, number = {}, 1
    for split in splits.values():
        for file, length in zip(split.filepaths, split.shard_lengths, strict=True):
            firsts[os.path.basename(file)] = number
            number += length
    return firsts


def _one_by_one(batch) -> Iterator[Any]:
    """The rows of a batch: of a tensor, a ragged one, or a dictionary of them."""
    if isinstance(batch, dict):
        columns = {key: _one_by_one(column) for key, column in batch.items()}
        rows = zip(*columns.values(), strict=True)
        yield from (dict(zip(columns, row, strict=True)) for row in rows)
    elif isinstance(batch, tf.RaggedTensor):
        yield from np.split(batch.values.numpy(), batch.row_splits.numpy()[1:-1])
    else:
        yield from batch.numpy()


def _replace(features, path, value):
    for key in path[:-1]:
        features = features[key]
    features[path[-1]] = value
