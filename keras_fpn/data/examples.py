"""One image of a batch: augmented, mirrored, resized and padded, with the rows of its fields."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data import transforms
from keras_fpn.data.augmentations import Augmentation, PixelAugmentation, Scene
from keras_fpn.data.augmentations.augmentation import choose_picture
from keras_fpn.data.fields import ObjectField, Proposals

if TYPE_CHECKING:
    from keras_fpn.data.augmentations.augmentation import Picture, Rows


@dataclass(frozen=True)
class Options:
    """How an image is resized, augmented and padded; the arguments of `load_coco` of these names.

    Attributes:
        fields: what a batch has.
        needed_fields: what only `augmentations` need: it goes where its image goes, and is not given.
        num_slots: images of the whole run, None without an end.
    """

    min_sides: tuple[int, ...]
    max_side: int
    rounding: str
    interpolation: str
    size_divisor: int
    canvas: tuple[int, ...] | None
    horizontal_flip: bool
    scale_jitter: Sequence[float] | None
    augmentations: Sequence[Augmentation]
    num_slots: int | None
    fields: tuple[ObjectField | Proposals, ...]
    needed_fields: tuple[ObjectField, ...]

    def __post_init__(self):
        if not self.min_sides or (self.canvas is not None and len(self.canvas) != 2):
            raise UserError("load_coco: min_side needs at least one number, canvas two (height, width)")
        sides = {f"min_side[{index}]": (side, 1) for index, side in enumerate(self.min_sides)}
        frame = {f"canvas[{index}]": (side, 1) for index, side in enumerate(self.canvas or ())}
        check_whole(max_side=(self.max_side, 1), size_divisor=(self.size_divisor, 1), **sides, **frame)
        if self.rounding not in ("half_up", "floor"):
            raise UserError(f'load_coco: rounding must be "half_up" or "floor", not {self.rounding!r}')
        if self.interpolation not in transforms.INTERPOLATIONS:
            raise UserError(f'load_coco: interpolation must be "pillow" or "bilinear", not {self.interpolation!r}')
        if self.scale_jitter is not None:
            self._check_jitter(self.scale_jitter)
        self._check_fields()
        for each in self.augmentations:
            if each.options.until < 1 and self.num_slots is None:
                raise UserError(f"load_coco: {each.name}'s until is a share of a run; give num_batches, its length")

    def _check_jitter(self, jitter):
        if self.canvas is None:
            raise UserError("load_coco: scale_jitter needs canvas=(height, width), the size that it fills")
        if len(jitter) != 2 or not 0 < jitter[0] <= jitter[1]:
            raise UserError(f"load_coco: scale_jitter must be (low, high), 0 < low <= high, not {jitter!r}")

    def _check_fields(self):
        """No field refuses what is done to its images."""
        done = [("horizontal_flip", ("flip",), "data.horizontal_flip=false")] if self.horizontal_flip else []
        done += [("scale_jitter", ("crop",), "data.scale_jitter=null")] if self.scale_jitter is not None else []
        done += [(each.name, each.operations, f"data.augment.{each.name}.probability=0") for each in self.augmentations]
        for field in self.all_fields:
            for name, operations, off in done:
                why = next((field.refuses[each] for each in operations if each in field.refuses), None)
                if why is not None:
                    raise UserError(f"load_coco: {name} {why}; leave it out ({off} in a configuration)")

    @property
    def all_fields(self) -> tuple[ObjectField | Proposals, ...]:
        """Those of a batch, and those that are only needed."""
        return (*self.fields, *self.needed_fields)

    @property
    def pixel_dtype(self) -> tf.DType:
        """Of the resized images: only Pillow rounds back to whole grey levels."""
        return tf.uint8 if self.interpolation == "pillow" else tf.float32

    @property
    def is_random(self) -> bool:
        """Whether anything is drawn for an image."""
        drawn = (self.horizontal_flip, self.scale_jitter is not None, len(self.min_sides) > 1, self.augmentations)
        return any(drawn)


@dataclass(frozen=True)
class Draws:
    """Numbers drawn for an image beside its augmentations, uniform 0..1."""

    flip: tf.Tensor
    side: tf.Tensor
    scale: tf.Tensor
    corner: Sequence[tf.Tensor]


def make_example(
    image: tf.Tensor,
    rows: "Rows",
    image_id: tf.Tensor,
    original_size: tf.Tensor,
    options: Options,
    seed: tf.Tensor,
    other: "Callable[[tf.Tensor], Picture]",
) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Make a loaded image one of a batch.

    Args:
        image: `[height, width, 3]` uint8, as its file is.
        rows: `{field: [n, ...]}` of its objects.
        image_id: int64 scalar.
        original_size: `[2]` int32 height, width of the file.
        seed: `[2]` int64: of the stream and the pass, and the slot.
        other: see `augmentations.Scene`.

    Returns:
        (inputs, targets) without the axis of the batch.
    """
    flip, side, scale, *corner = tf.unstack(tf.random.stateless_uniform([5], seed))
    draws = Draws(flip, side, scale, corner)
    image, rows = _moved(image, rows, options, seed, draws, other)
    if options.horizontal_flip:
        image, rows = _flip_some(image, rows, draws.flip)
    image, rows = _resized(image, rows, options, draws)
    image, rows = _coloured(image, rows, options, seed)
    return _pad_example(image, rows, image_id, original_size, options)


def blank_example(options: Options) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """Make a blank that fills up the last batch of a finite stream until it is taken away: image_sizes 0."""
    image, rows = tf.zeros([0, 0, 3], options.pixel_dtype), {field: field.none() for field in options.fields}
    return _pad_example(image, rows, tf.constant(-1, tf.int64), tf.constant([0, 0]), options)


# ------------------------------------------------------------------------------------------------ augmentations


def _moved(image, rows, options, seed, draws, other):
    """An image after the augmentations that move objects."""
    chosen = [each for each in options.augmentations if not isinstance(each, PixelAugmentation)]
    if not chosen:
        return image, rows
    scene = Scene(
        frame=lambda size: _frame(size, options, draws),
        resize=lambda image, rows, size: transforms.resize(image, rows, size, options.interpolation),
        other=lambda seed: _as_pixels(*other(seed), options),
    )
    image, rows = _as_pixels(image, rows, options)
    for each in chosen:
        image, rows = each.apply_to_some(image, rows, seed, scene, _is_on(each, options, seed))
    return image, rows


def _as_pixels(image, rows, options):
    """The image of the type that it has when it is resized, so that those that are already and others are alike."""
    return tf.cast(image, options.pixel_dtype), rows


def _coloured(image, rows, options, seed):
    """An image after the augmentations of pixels, rounded to whole grey levels once, if it has such."""
    chosen = [each for each in options.augmentations if isinstance(each, PixelAugmentation)]
    if not chosen:
        return image, rows
    pixels = tf.cast(image, tf.float32)
    for each in chosen:
        pixels, rows = each.apply_to_some(pixels, rows, seed, _NO_SCENE, _is_on(each, options, seed))
    pixels = tf.clip_by_value(pixels, 0.0, 255.0)
    return tf.cast(tf.floor(pixels + 0.5) if image.dtype == tf.uint8 else pixels, image.dtype), rows


def _not_of_pixels(*_):
    raise TypeError("an augmentation of pixels has nothing but its image")


_NO_SCENE = Scene(_not_of_pixels, _not_of_pixels, _not_of_pixels)


def _is_on(augmentation, options, seed):
    """Whether the part of the run in which it is done is not over at this slot."""
    until = augmentation.options.until
    return tf.constant(True) if until == 1 else seed[1] < int(until * options.num_slots)


def _flip_some(image, rows, draw):
    """Half of the images mirrored, with their rows."""


    def flipped():
        return transforms.flip_horizontal(image, rows)

    return choose_picture(draw < 0.5, flipped, lambda: (tf.identity(image), rows))


# ------------------------------------------------------------------------------------------------ size


def _resized(image, rows, options: Options, draws: Draws):
    """Brought to the size that the options say, cut to the canvas where it is jittered."""
    size = tf.shape(image)[:2]
    if options.scale_jitter is None:
        return transforms.resize(image, rows, _size_by_sides(size, options, draws.side), options.interpolation)
    new_size = _size_by_jitter(size, options, draws.scale)
    image, rows = transforms.resize(image, rows, new_size, options.interpolation)
    corner = _draw_corner(new_size, options.canvas, draws.corner)
    return transforms.crop(image, rows, *corner, *options.canvas)  # type: ignore[misc]


def _frame(size, options: Options, draws: Draws):
    """The size that an image will have; before its jitter, the one that fills the canvas."""
    if options.scale_jitter is None:
        return _size_by_sides(size, options, draws.side)
    return transforms.fit_size(size[0], size[1], *options.canvas)  # type: ignore[misc]


def _size_by_sides(size, options: Options, draw):
    """Shorter side to one of `min_sides`, and on into the canvas if there is one."""
    choice = tf.cast(draw * len(options.min_sides), tf.int32)
    side = tf.gather(tf.constant(options.min_sides), tf.minimum(choice, len(options.min_sides) - 1))
    new_size = transforms.resize_size(size[0], size[1], side, options.max_side, options.rounding)
    if options.canvas is None:
        return new_size
    fits = tf.reduce_all(tf.stack(new_size) <= options.canvas)
    shrunk = transforms.fit_size(size[0], size[1], *options.canvas)
    return tuple(tf.where(fits, side, less) for side, less in zip(new_size, shrunk, strict=True))


def _size_by_jitter(size, options: Options, draw):
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


def _pad_example(image, rows, image_id, original_size, options: Options):
    """Pad the image as the options say and the rows as their fields say."""
    size = tf.shape(image)[:2]
    frame = options.canvas or [transforms.padded_side(size[axis], options.size_divisor) for axis in (0, 1)]
    padded = tf.ensure_shape(transforms.pad_image(image, *frame), [*(options.canvas or (None, None)), 3])
    example = {
        "inputs": {"images": padded, "image_sizes": size},
        "targets": {"image_ids": image_id, "original_sizes": original_size},
    }
    for field in options.fields:
        example[field.part] |= field.of_batch(rows[field])
    return example["inputs"], example["targets"]


def padding_values(options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values that (inputs, targets) are filled up with to the largest of a batch."""
    padding: Mapping[str, dict[str, Any]] = {
        "inputs": {"images": tf.constant(0, options.pixel_dtype), "image_sizes": 0},
        "targets": {"image_ids": tf.constant(0, tf.int64), "original_sizes": 0},
    }
    for field in options.fields:
        padding[field.part].update(field.batch_padding())
    return padding["inputs"], padding["targets"]


def check_whole(**arguments: tuple[Any, int]) -> None:
    """Refuse arguments of `load_coco`, `name=(value, least)`, that are no whole numbers from `least` on.

    Raises:
        UserError: one is not.
    """
    for name, (value, least) in arguments.items():
        if not isinstance(value, int | np.integer) or value < least:
            raise UserError(f"load_coco: {name} must be a whole number of at least {least}, not {value!r}")
