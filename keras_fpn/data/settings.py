"""Settings of the data: what is read, and how it is varied for training; nothing here imports TensorFlow."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, SerializeAsAny, create_model, model_validator

from keras_fpn.console.errors import UserError
from keras_fpn.data.augmentations import AugmentationSettings, complete
from keras_fpn.data.fields import OBJECT_FIELDS
from keras_fpn.data.formats import Half
from keras_fpn.data.sources import as_halves
from keras_fpn.parts.settings import Count, Settings, Side


class SplitSettings(Settings):
    """Where one half of the data lies; `--data DIR` fills it in for a known layout.

    `annotations`: a COCO instances file, or annotations in another format. `images`: their folder. Both are lists where
    the half is put together from several. `proposals`: a folder that `keras-fpn propose` wrote for these images; only
    Fast R-CNN reads it.
    """

    annotations: str | list[str] | None = None
    images: str | list[str] | None = None
    proposals: str | None = None

    @property
    def sources(self) -> list[Half]:
        """The parts that the half is put together from; none where no annotations are named."""
        return [] if self.annotations is None else as_halves(self.annotations, self.images)


def _augment(value):
    return complete(value) if isinstance(value, Mapping) else value


class DataSettings(Settings):
    """Settings of what is read, and of its variation in training. Evaluation follows `model.resize` alone.

    `min_sides`: one of these is drawn for each training image (longer side at most `model.resize.max_side`).
    `canvas`: [height, width] of every training batch, or null: the batch's own largest.
    `scale_jitter`: [low, high] resizes by a factor drawn from it and crops or pads to the canvas.
    `augment`: further changes of training images, a section for each (`data.augment.mosaic` and others below).
    `keep_empty`: train on images without objects, too. `invalid_boxes`: refuse a file with some, or drop
    them. `boxes`: the form of "bbox": COCO's x, y, width, height in pixels, two corners, the middle and the size, or
    one of these as shares 0..1 of the image (`cxcywh_shares` is YOLO's). `crowds`: whether objects with "iscrowd" 1
    are ignored, as COCO has it, or objects like others. `classes`: a list of the classes to learn, or
    `{name: names that become it}` to rename and merge some; null: all.
    `cache`: keep the image files in memory, those that TensorFlow does not read (TIFF, AVIF, HEIF, animated WebP) as
    PNG: without it they are refused. `train_proposals`, `test_proposals`: how many of the best given
    proposals of an image are used, in training and in evaluation.
    """

    train: SplitSettings = Field(default_factory=SplitSettings)
    val: SplitSettings = Field(default_factory=SplitSettings)
    batch_size: Count = 16
    evaluation_batch_size: Count = 1
    min_sides: Annotated[list[Side], Field(min_length=1)] = [640, 672, 704, 736, 768, 800]
    canvas: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    horizontal_flip: bool = True
    scale_jitter: Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)] | None = None
    augment: Annotated[dict[str, SerializeAsAny[AugmentationSettings]], BeforeValidator(_augment)] = Field(
        default_factory=lambda: complete({})
    )
    group_by_aspect_ratio: bool = True
    keep_empty: bool = True
    invalid_boxes: Literal["refuse", "drop"] = "refuse"
    boxes: Literal["xywh", "xyxy", "cxcywh", "shares", "xyxy_shares", "cxcywh_shares"] = "xywh"
    crowds: Literal["ignore", "objects"] = "ignore"
    classes: list[str] | dict[str, str | list[str]] | None = None
    cache: bool = False
    train_proposals: Count = 2000
    test_proposals: Count = 1000

    @property
    def reading(self) -> dict[str, Any]:
        """How annotations are read, arguments of `read_coco`."""
        names = ("invalid_boxes", "boxes", "crowds", "classes")
        return {name: getattr(self, name) for name in names} | {"field_settings": self.field_settings}

    @property
    def field_settings(self) -> dict[str, Any]:
        """Settings that fields of the objects declare, `{key: value}`."""
        own = (key for key in type(self).model_fields if key not in DataSettings.model_fields)
        return {key: getattr(self, key) for key in own}

    @model_validator(mode="after")
    def _jitter_needs_a_canvas(self):
        if self.scale_jitter and not self.canvas:
            raise ValueError("scale_jitter needs a canvas: set data.canvas=[height, width]")
        return self


def with_field_settings() -> type[DataSettings]:
    """`DataSettings` with the keys that the registered fields of objects declare.

    Raises:
        UserError: two of them have a key of one name.
    """
    declared = dict.fromkeys(field.settings for field in OBJECT_FIELDS)
    return _with_keys_of(tuple(each for each in declared if each.model_fields))


@functools.cache
def _with_keys_of(declared: tuple[type[Settings], ...]) -> type[DataSettings]:
    classes: tuple[type[Settings], ...] = (DataSettings, *declared)
    keys = [key for each in classes for key in each.model_fields]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise UserError(f"data.{twice}: a field of objects declares this setting, and there is one; rename it")
    bases: tuple[Any, ...] = (*reversed(declared), DataSettings)  # the keys of the last come first
    return create_model("DataSettings", __base__=bases, __doc__=DataSettings.__doc__)
