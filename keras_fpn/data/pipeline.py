"""COCO records -> a `tf.data.Dataset` of padded batches, in pure TensorFlow operations.

Order (`order.py`) and augmentation are functions of the seed and the place in the stream, so a run that
resumes with `skip_batches` sees what an uninterrupted run would have seen.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data.augmentations import active, needed_fields
from keras_fpn.data.augmentations.augmentation import uniform_below
from keras_fpn.data.cached_files import cached_contents
from keras_fpn.data.class_choice import Classes
from keras_fpn.data.coco import CocoDataset, Record, read_coco
from keras_fpn.data.decode import decode_image
from keras_fpn.data.examples import Options, blank_example, check_whole, make_example, padding_values
from keras_fpn.data.fields import ObjectField, Proposals, RowField, choose
from keras_fpn.data.order import StreamOrder
from keras_fpn.data.picture_contents import content_source
from keras_fpn.data.proposal_files import GivenProposals, read_proposals
from keras_fpn.data.rewritten_pictures import Source, with_rewritten_pictures
from keras_fpn.data.size_order import SizeOrder
from keras_fpn.data.sizes import padded_size
from keras_fpn.data.sources import Names


def load_coco(
    annotations: Names | CocoDataset,
    images: Names | None = None,
    *,
    batch_size: int = 2,
    min_side: int | Sequence[int] = 800,
    max_side: int = 1333,
    rounding: str = "half_up",
    interpolation: str = "pillow",
    size_divisor: int = 32,
    canvas: Sequence[int] | None = None,
    horizontal_flip: bool = False,
    scale_jitter: Sequence[float] | None = None,
    augmentations: Mapping[str, Any] = MappingProxyType({}),
    num_batches: int | None = None,
    shuffle: bool = False,
    repeat: bool = False,
    seed: int = 0,
    skip_batches: int = 0,
    group_by_aspect_ratio: bool = False,
    group_by_padded_size: bool = False,
    keep_empty: bool = True,
    drop_remainder: bool = False,
    cache: bool = False,
    category_ids: Sequence[int] | None = None,
    invalid_boxes: str = "refuse",
    boxes: str = "xywh",
    classes: Classes | None = None,
    fields: Sequence[str | ObjectField] = (),
    proposals: str | os.PathLike | GivenProposals | None = None,
    max_proposals: int = 2000,
) -> tf.data.Dataset:
    """Load a data set as batches for `fit`, `evaluate` and `predict` of a `Detector`.

    For training pass `shuffle=True, repeat=True` and give `fit` its `steps_per_epoch`: the stream is then
    endless and resumes exactly with `skip_batches`. Without `repeat` one pass over the dataset is one epoch;
    a later pass over the same object is shuffled and augmented anew (so `fit(epochs=...)` sees fresh
    pictures), while the first passes of two equal calls are equal.

    Args:
        annotations: a COCO instances file or annotations of another of the `formats`, several of them, or what
            `read_coco` returned (then leave `images` out).
        images: folder of the image files of each, None where the format tells (JPEG, PNG, BMP, GIF, WebP; grey and CMYK
            become RGB, alpha is dropped).
        batch_size: images a batch.
        min_side: length of the shorter side after resizing, pixels; of several, one is drawn per image.
        max_side: limit of the longer side, pixels.
        rounding: "half_up" (detectron2) or "floor" (torchvision).
        interpolation: "pillow" (detectron2: the images stay uint8) or "bilinear" (torchvision: float32).
        size_divisor: a batch is padded to its own largest image, up to a multiple of this.
        canvas: (height, width) to pad every batch to instead; images that would not fit are shrunk to it.
        horizontal_flip: mirror half of the images.
        scale_jitter: (low, high), large-scale jitter: resize to the canvas times a uniform factor, then crop
            at a random place or pad. Takes the place of min_side and max_side and needs `canvas`.
        augmentations: `{name: settings}`, such as `{"mosaic": {"probability": 0.5}}`, see `data.augmentations`: what
            `data.augment` is in a configuration, with its defaults for what is left out.
        num_batches: of the whole run, for augmentations that end before it does (`until`).
        shuffle: another order in every epoch, each image exactly once in each.
        repeat: endless; batches run on over the ends of epochs, so all are full.
        seed: of order and augmentation.
        skip_batches: start at this batch of the stream.
        group_by_aspect_ratio: batches of only wide (width >= height) or only tall images: less padding.
        group_by_padded_size: batches of only images that are padded to one size, once, nearly in the order of the file:
            each is answered as it is alone. Of an evaluation: what draws or drops images is refused with it.
        keep_empty: keep images without a box (False leaves out those with only crowds, too).
        drop_remainder: leave out the short batch at the end (two when grouping).
        cache: read all image files once, now, and keep them in memory as they are, encoded; more than the machine has
            is refused. Pictures that TensorFlow does not read (TIFF, AVIF, HEIF, animated WebP) are kept as PNG.
        category_ids, invalid_boxes, boxes, classes: see `read_coco`.
        fields: what else to give of each object, see `read_coco`, such as "masks" (for `SegmentProposals`). A field
            goes where its image goes, or refuses to.
        proposals: for `FastRCNN`: a folder that `keras-fpn propose` wrote for these images, or what `read_proposals`
            returned for it. They are mirrored and resized with the images; `scale_jitter` and the augmentations that
            move objects, which crop or join images, are refused.
        max_proposals: P, of an image the best that many are given.

    Returns:
        a dataset of (inputs, targets):
        inputs `{"images": [B, H, W, 3] RGB 0..255, uint8 or float32 by `interpolation`, zeros beyond the valid
        part, "image_sizes": [B, 2] int32 height, width of it}`, with proposals also `{"proposals": [B, P, 4] float32 x1
        y1 x2 y2 in pixels of the resized image, best first, padding 0, "num_proposals": [B] int32}`;
        targets `{"boxes": [B, G, 4] float32 x1 y1 x2 y2 in pixels of the resized image,
        "classes": [B, G] int32 0..K-1, padding -1, "is_crowd": [B, G] int32,
        "image_ids": [B] int64, "original_sizes": [B, 2] int32 height, width of the file}`, and a key for each of
        `fields`, padded as the field says: `"masks": [B, G, 56, 56] uint8`, 1 where the object covers half or more of a
        bin of its own box; G >= 1.

    Raises:
        UserError: a bad argument, or bad data (see `read_coco`, `GivenProposals.for_data_set`). An image that cannot be
            decoded or has another size than the annotations say is found when its turn comes, as a TensorFlow error
            that names the file; `readable_errors()` turns it into a UserError.
    """
    check_whole(batch_size=(batch_size, 1), skip_batches=(skip_batches, 0), seed=(seed, 0))
    check_whole(max_proposals=(max_proposals, 1))
    chosen = active(augmentations)
    needed = needed_fields(chosen)
    reading = {"category_ids": category_ids, "invalid_boxes": invalid_boxes, "boxes": boxes, "classes": classes}
    dataset = _data_set(annotations, images, fields=fields, needed=needed, **reading)
    options = Options(
        min_sides=_as_tuple(min_side),
        max_side=max_side,
        rounding=rounding,
        interpolation=interpolation,
        size_divisor=size_divisor,
        canvas=None if canvas is None else tuple(canvas),
        horizontal_flip=bool(horizontal_flip),
        scale_jitter=scale_jitter,
        augmentations=chosen,
        num_slots=None if num_batches is None else num_batches * batch_size,
        fields=(*_object_fields(dataset, fields), *_proposals_of(dataset, proposals, max_proposals)),
        needed_fields=_only_needed(dataset, fields, needed),
    )
    records = _records(dataset, keep_empty)
    choices = {
        "shuffle": shuffle,
        "repeat": repeat,
        "group_by_aspect_ratio": group_by_aspect_ratio,
        "drop_remainder": drop_remainder,
    }
    order = (
        SizeOrder(_padded_sizes(records, options, choices), batch_size)
        if group_by_padded_size
        else StreamOrder(records, batch_size, seed=seed, **choices)
    )
    slots = order.slots(skip_batches, fresh_every_pass=not repeat and (shuffle or options.is_random))
    for each in chosen:
        each.build()
    table = _Table(records, options.all_fields, _content(dataset, records, cache))
    example = _example_maker(order, table, options, seed)
    num_left = None if order.num_batches is None else max(order.num_batches - skip_batches, 0)
    return _batched(slots, example, options, order, num_left)


def _batched(slots, example, options: Options, order, num_left: int | None) -> tf.data.Dataset:
    """Dataset of the batches of a dataset of slots; `num_left` of them, None without an end."""
    stream = slots.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    stream = stream.padded_batch(order.batch_size, padding_values=padding_values(options), drop_remainder=True)
    if order.has_short_batches:
        stream = stream.map(_drop_blanks)
    length = tf.data.INFINITE_CARDINALITY if num_left is None else num_left
    if int(stream.cardinality()) != length:  # a worker of a tf.data service, which has a part of them, would fail in it
        stream = stream.apply(tf.data.experimental.assert_cardinality(length))
    return stream.prefetch(tf.data.AUTOTUNE).with_options(_stream_options())


def _data_set(annotations, images, *, fields, needed, **options) -> CocoDataset:
    if isinstance(annotations, CocoDataset):
        return annotations
    return read_coco(annotations, images, fields=(*choose(fields).values(), *needed), **options)


def _object_fields(dataset, fields) -> list[ObjectField]:
    """The fields asked for, which the data set must have been read with."""
    names = list(choose(fields, known=dataset.fields))
    for name in names:
        if name not in dataset.fields:
            raise UserError(
                f'load_coco: field "{name}" needs a data set read with it: read_coco(..., fields=("{name}",))'
            )
    return [dataset.fields[name] for name in names]


def _only_needed(dataset, fields, needed) -> tuple[ObjectField, ...]:
    """Fields that augmentations need and nobody asked for."""
    given = {field.name for field in _object_fields(dataset, fields)}
    return tuple(field for field in _object_fields(dataset, needed) if field.name not in given)


def _proposals_of(dataset, given, max_proposals) -> list[Proposals]:
    """Those given, or else the data set's own, which are checked already and know how many are used; or none."""
    if given is None:
        return [] if dataset.proposals is None else [Proposals(dataset.proposals)]
    given = given if isinstance(given, GivenProposals) else read_proposals(given)
    return [Proposals(given.for_data_set(dataset, max_proposals))]


def _records(dataset, keep_empty) -> list[Record]:
    records = [record for record in dataset.records if keep_empty or (record.is_crowd == 0).any()]
    if not records:
        raise UserError(f"{dataset.annotations}: no image has a box; annotate some, or pass keep_empty=True")
    return records


def _content(dataset, records, cache):
    """A function from the index of a record to its encoded picture."""
    if cache and dataset.rewritten is None:
        dataset = with_rewritten_pictures(dataset)
    source = cached_contents if cache else content_source
    return source(records) if dataset.rewritten is None else dataset.rewritten.beside(records, source)


def _padded_sizes(records, options, choices):
    """(height, width) of each image in its batch, which nothing may draw or change."""
    drawn = {"horizontal_flip": options.horizontal_flip, "scale_jitter": options.scale_jitter is not None}
    drawn |= {"min_side": len(options.min_sides) > 1, "augmentations": options.augmentations}
    for name, chosen in (choices | drawn).items():
        if chosen:
            raise UserError(f"load_coco: group_by_padded_size, of evaluations, does not go with {name}; leave out one")
    if options.canvas is not None:
        return [options.canvas] * len(records)
    (min_side,) = options.min_sides
    rule = {"min_side": min_side, "max_side": options.max_side, "rounding": options.rounding}
    rule |= {"size_divisor": options.size_divisor}
    return [padded_size(record.height, record.width, rule) for record in records]


def _example_maker(order: StreamOrder | SizeOrder, table, options, seed: int):
    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)], autograph=False)  # traced once, called for each image
    def load(index):
        loaded = table.load(index)
        return loaded.image, [loaded.rows[field] for field in options.all_fields], loaded.image_id, loaded.size

    def other(seed):
        image, values, _, _ = load(uniform_below(seed, len(table)))
        return image, dict(zip(options.all_fields, values, strict=True))

    def make(index, seed):
        image, values, image_id, size = load(index)
        rows = dict(zip(options.all_fields, values, strict=True))
        return make_example(image, rows, image_id, size, options, seed, other)

    @tf.autograph.experimental.do_not_convert  # the branches are tf.cond already
    def example(slot, run):
        index = order.record(slot, run)
        return tf.cond(
            index >= 0,
            lambda: make(index, tf.stack([seed + run, slot])),
            lambda: blank_example(options),
        )

    return example


def _stream_options() -> tf.data.Options:
    options = tf.data.Options()
    # Let iterators be checkpointed: TensorFlow takes the decoding (DatasetToSingleElement) for stateful.
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    # The default ones write the whole table into a graph for each iterator: a copy of all masks and cached pixels.
    options.experimental_optimization.apply_default_optimizations = False
    # Deleting an iterator joins the thread that tunes, which can miss the wake-up and sleep on for up to a minute
    # (TensorFlow 2.21). Without it as many images are decoded at once as there are cores, at most 16.
    options.autotune.enabled = False
    return options


def _drop_blanks(inputs, targets):
    count = tf.reduce_sum(tf.cast(inputs["image_sizes"][:, 0] > 0, tf.int32))
    return tf.nest.map_structure(lambda tensor: tensor[:count], (inputs, targets))


# ---------------------------------------------------------------------------------------------------- records


class _Table:
    """The records as tensors; `load` gives one of them with its image."""

    def __init__(self, records: list[Record], fields: tuple[ObjectField | Proposals, ...], content: Source):
        self.names = tf.constant([record.name for record in records])
        self.ids = tf.constant([record.image_id for record in records], tf.int64)
        self.sizes = tf.constant([(record.height, record.width) for record in records], tf.int32)
        self.rows = {field: field.source(records) for field in fields}
        self.content = content

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    def load(self, index) -> "_Example":
        rows: dict[RowField, tf.Tensor] = {field: load(index) for field, load in self.rows.items()}
        image = decode_image(self.names[index], self.sizes[index], lambda: self.content(index))
        return _Example(image, rows, self.ids[index], self.sizes[index])


@dataclass(frozen=True)
class _Example:
    """An image, what it has of each field, its id and the size of its file (height, width)."""

    image: tf.Tensor
    rows: dict[RowField, tf.Tensor]
    image_id: tf.Tensor
    size: tf.Tensor


# ------------------------------------------------------------------------------------------------- arguments


def _as_tuple(value) -> tuple:
    return tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,)

