"""COCO records -> a `tf.data.Dataset` of padded batches, in pure TensorFlow operations.

Order (`order.py`) and augmentation are functions of the seed and the place in the stream, so a run that
resumes with `skip_batches` sees what an uninterrupted run would have seen.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data import transforms
from keras_fpn.data.cached_files import cached_contents
from keras_fpn.data.class_choice import Classes
from keras_fpn.data.coco import CocoDataset, Record, read_coco
from keras_fpn.data.decode import decode_image
from keras_fpn.data.fields import CAN_REFUSE, ObjectField, Proposals, RowField, choose
from keras_fpn.data.order import StreamOrder
from keras_fpn.data.picture_contents import content_source
from keras_fpn.data.proposal_files import GivenProposals, read_proposals
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
            is refused.
        category_ids, invalid_boxes, boxes, classes: see `read_coco`.
        fields: what else to give of each object, see `read_coco`. A field goes where its image goes, or refuses to:
            "masks" (for `SegmentProposals`) are mirrored, and `scale_jitter`, which cuts objects, is refused.
        proposals: for `FastRCNN`: a folder that `keras-fpn propose` wrote for these images, or what `read_proposals`
            returned for it. They are mirrored and resized with the images; `scale_jitter`, which crops, is refused.
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
    _check_whole(batch_size=(batch_size, 1), skip_batches=(skip_batches, 0), seed=(seed, 0))
    _check_whole(max_proposals=(max_proposals, 1))
    reading = {"category_ids": category_ids, "invalid_boxes": invalid_boxes, "boxes": boxes, "classes": classes}
    dataset = _data_set(annotations, images, fields=fields, **reading)
    options = _Options(
        min_sides=_as_tuple(min_side),
        max_side=max_side,
        rounding=rounding,
        interpolation=interpolation,
        size_divisor=size_divisor,
        canvas=None if canvas is None else tuple(canvas),
        horizontal_flip=bool(horizontal_flip),
        scale_jitter=scale_jitter,
        fields=(*_object_fields(dataset, fields), *_proposals_of(dataset, proposals, max_proposals)),
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
    fresh = not repeat and (shuffle or options.is_random)
    stream = order.slots(skip_batches, fresh_every_pass=fresh)
    example = _example_maker(order, _Table(records, options.fields, cache), options, seed)
    stream = stream.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    stream = stream.padded_batch(batch_size, padding_values=_padding_values(options), drop_remainder=True)
    if order.has_short_batches:
        stream = stream.map(_drop_blanks)
    length = (
        tf.data.INFINITE_CARDINALITY if order.num_batches is None else max(order.num_batches - skip_batches, 0)
    )
    if int(stream.cardinality()) != length:  # a worker of a tf.data service, which has a part of them, would fail in it
        stream = stream.apply(tf.data.experimental.assert_cardinality(length))
    return stream.prefetch(tf.data.AUTOTUNE).with_options(_stream_options())


def _data_set(annotations, images, **options) -> CocoDataset:
    if isinstance(annotations, CocoDataset):
        return annotations
    return read_coco(annotations, images, **options)


def _object_fields(dataset, fields) -> list[ObjectField]:
    """The fields asked for, which the data set must have been read with."""
    names = list(choose(fields, known=dataset.fields))
    for name in names:
        if name not in dataset.fields:
            raise UserError(
                f'load_coco: field "{name}" needs a data set read with it: read_coco(..., fields=("{name}",))'
            )
    return [dataset.fields[name] for name in names]


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


def _padded_sizes(records, options, choices):
    """(height, width) of each image in its batch, which nothing may draw or change."""
    drawn = {"horizontal_flip": options.horizontal_flip, "scale_jitter": options.scale_jitter is not None}
    drawn |= {"min_side": len(options.min_sides) > 1}
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
    @tf.autograph.experimental.do_not_convert  # the branches are tf.cond already
    def example(slot, run):
        index = order.record(slot, run)
        return tf.cond(
            index >= 0,
            lambda: _make_example(table.load(index), options, tf.stack([seed + run, slot])),
            lambda: _blank_example(options),
        )

    return example


def _padding_values(options):
    padding = {
        "inputs": {"images": tf.constant(0, options.pixel_dtype), "image_sizes": 0},
        "targets": {"image_ids": tf.constant(0, tf.int64), "original_sizes": 0},
    }
    for field in options.fields:
        padding[field.part] |= field.batch_padding()
    return padding["inputs"], padding["targets"]


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


# ------------------------------------------------------------------------------------------------------
# records


class _Table:
    """The records as tensors; `load` gives one of them with its image."""

    def __init__(self, records: list[Record], fields: tuple[ObjectField | Proposals, ...], cache: bool):
        self.names = tf.constant([record.name for record in records])
        self.ids = tf.constant([record.image_id for record in records], tf.int64)
        self.sizes = tf.constant([(record.height, record.width) for record in records], tf.int32)
        self.rows = {field: field.source(records) for field in fields}
        self.content = cached_contents(records) if cache else content_source(records)

    def load(self, index) -> "_Example":
        rows: dict[RowField, tf.Tensor] = {field: load(index) for field, load in self.rows.items()}
        image = decode_image(self.names[index], self.sizes[index], lambda: self.content(index))
        return _Example(image, rows, self.ids[index], self.sizes[index])


# ---------------------------------------------------------------------------------------- one image of a
# batch


@dataclass(frozen=True)
class _Example:
    """An image, what it has of each field, its id and the size of its file (height, width)."""

    image: tf.Tensor
    rows: dict[RowField, tf.Tensor]
    image_id: tf.Tensor
    size: tf.Tensor


@dataclass(frozen=True)
class _Options:
    """How an image is resized, augmented and padded; the arguments of `load_coco` of these names."""

    min_sides: tuple[int, ...]
    max_side: int
    rounding: str
    interpolation: str
    size_divisor: int
    canvas: tuple[int, ...] | None
    horizontal_flip: bool
    scale_jitter: Sequence[float] | None
    fields: tuple[ObjectField | Proposals, ...]

    def __post_init__(self):
        if not self.min_sides or (self.canvas is not None and len(self.canvas) != 2):
            raise UserError("load_coco: min_side needs at least one number, canvas two (height, width)")
        sides = {f"min_side[{index}]": (side, 1) for index, side in enumerate(self.min_sides)}
        frame = {f"canvas[{index}]": (side, 1) for index, side in enumerate(self.canvas or ())}
        _check_whole(max_side=(self.max_side, 1), size_divisor=(self.size_divisor, 1), **sides, **frame)
        if self.rounding not in ("half_up", "floor"):
            raise UserError(f'load_coco: rounding must be "half_up" or "floor", not {self.rounding!r}')
        if self.interpolation not in transforms.INTERPOLATIONS:
            raise UserError(f'load_coco: interpolation must be "pillow" or "bilinear", not {self.interpolation!r}')
        if self.scale_jitter is not None:
            self._check_jitter(self.scale_jitter)
        for field in self.fields:
            for option, why in field.refuses.items():
                if getattr(self, option):
                    mend = f"leave it out (data.{option}={CAN_REFUSE[option]} in a configuration)"
                    raise UserError(f"load_coco: {option} {why}; {mend}")

    def _check_jitter(self, jitter):
        if self.canvas is None:
            raise UserError("load_coco: scale_jitter needs canvas=(height, width), the size that it fills")
        if len(jitter) != 2 or not 0 < jitter[0] <= jitter[1]:
            raise UserError(f"load_coco: scale_jitter must be (low, high), 0 < low <= high, not {jitter!r}")

    @property
    def pixel_dtype(self):
        """Of the resized images: only Pillow rounds back to whole grey levels."""
        return tf.uint8 if self.interpolation == "pillow" else tf.float32

    @property
    def is_random(self) -> bool:
        return self.horizontal_flip or self.scale_jitter is not None or len(self.min_sides) > 1


def _make_example(example: _Example, options: _Options, seed):
    """A loaded record and a seed [2] int64 -> (inputs, targets) of one image."""
    flip_draw, side_draw, scale_draw, *corner_draws = tf.unstack(tf.random.stateless_uniform([5], seed))
    image, rows = example.image, example.rows
    if options.horizontal_flip:
        image, rows = _flip_some(image, rows, flip_draw)
    if options.scale_jitter is None:
        new_size = _size_by_sides(example.size, options, side_draw)
    else:
        new_size = _size_by_jitter(example.size, options, scale_draw)
    image, rows = transforms.resize(image, rows, new_size, options.interpolation)
    if options.scale_jitter is not None:
        corner = _draw_corner(new_size, options.canvas, corner_draws)
        image, rows = transforms.crop(image, rows, *corner, *options.canvas)  # type: ignore[misc]
    return _pad_example(image, rows, example.image_id, example.size, options)


def _flip_some(image, rows, draw):
    """Half of the images mirrored, with their rows."""

    def flipped():
        turned, turned_rows = transforms.flip_horizontal(image, rows)
        return turned, list(turned_rows.values())

    image, values = tf.cond(draw < 0.5, flipped, lambda: (image, list(rows.values())))
    return image, dict(zip(rows, values, strict=True))


def _size_by_sides(size, options: _Options, draw):
    """Shorter side to one of `min_sides`, and on into the canvas if there is one."""
    choice = tf.cast(draw * len(options.min_sides), tf.int32)
    side = tf.gather(tf.constant(options.min_sides), tf.minimum(choice, len(options.min_sides) - 1))
    new_size = transforms.resize_size(size[0], size[1], side, options.max_side, options.rounding)
    if options.canvas is None:
        return new_size
    fits = tf.reduce_all(tf.stack(new_size) <= options.canvas)
    shrunk = transforms.fit_size(size[0], size[1], *options.canvas)
    return tuple(tf.where(fits, side, less) for side, less in zip(new_size, shrunk, strict=True))


def _size_by_jitter(size, options: _Options, draw):
    low, high = options.scale_jitter  # type: ignore[misc]
    factor = tf.cast(low + draw * (high - low), tf.float64)
    return transforms.fit_size(size[0], size[1], *(side * factor for side in options.canvas))  # type: ignore[union-attr]


def _draw_corner(size, canvas, draws):
    """Top and left of a canvas-sized window somewhere in an image of `size`; 0 where the image is smaller."""
    slack = [tf.maximum(side - limit, 0) for side, limit in zip(size, canvas, strict=True)]
    return [
        tf.minimum(tf.cast(tf.cast(room + 1, tf.float32) * draw, tf.int32), room)
        for room, draw in zip(slack, draws, strict=True)
    ]


def _pad_example(image, rows, image_id, original_size, options: _Options):
    """Pad the image as the options say and the rows as their fields say."""
    size = tf.shape(image)[:2]
    frame = options.canvas or [transforms.padded_side(size[axis], options.size_divisor) for axis in (0, 1)]
    padded = tf.ensure_shape(transforms.pad_image(image, *frame), [*(options.canvas or (None, None)), 3])
    example = {
        "inputs": {"images": padded, "image_sizes": size},
        "targets": {"image_ids": image_id, "original_sizes": original_size},
    }
    for field, own in rows.items():
        example[field.part] |= field.of_batch(own)
    return example["inputs"], example["targets"]


def _blank_example(options: _Options):
    """Blank that fills up the last batch of a finite stream until `_drop_blanks` takes it away: image_sizes 0."""
    image, rows = tf.zeros([0, 0, 3], options.pixel_dtype), {field: field.none() for field in options.fields}
    return _pad_example(image, rows, tf.constant(-1, tf.int64), tf.constant([0, 0]), options)


# ------------------------------------------------------------------------------------------------- arguments


def _as_tuple(value) -> tuple:
    return tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,)


def _check_whole(**arguments) -> None:
    for name, (value, least) in arguments.items():
        if not isinstance(value, int | np.integer) or value < least:
            raise UserError(f"load_coco: {name} must be a whole number of at least {least}, not {value!r}")
