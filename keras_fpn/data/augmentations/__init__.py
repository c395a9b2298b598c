"""Augmentations of training images, a file for each; all are off until a configuration gives them a probability.

    augmentation   what one is: its settings, how it draws, what of the fields it uses
    mosaic         four images in one
    copy_paste     objects of another image
    crop, zoom_out a part of an image; an image in a larger frame
    keras_layers   changes of pixels by Keras' own layers: colour, blur

They are done in the order in which they are registered: those that move objects before the image is mirrored and
resized, those of pixels alone after it. One of your own is a subclass of `Augmentation`, made known by
`register_augmentation`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError, create_model

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.data.augmentations.augmentation import Augmentation, AugmentationSettings, PixelAugmentation, Scene
from keras_fpn.data.augmentations.blur import Blur
from keras_fpn.data.augmentations.colour import Brightness, Contrast, Grayscale, Hue, Saturation
from keras_fpn.data.augmentations.copy_paste import CopyPaste
from keras_fpn.data.augmentations.crop import Crop
from keras_fpn.data.augmentations.mosaic import Mosaic
from keras_fpn.data.augmentations.zoom_out import ZoomOut
from keras_fpn.data.fields import OPERATIONS
from keras_fpn.parts.registry import Registry
from keras_fpn.parts.settings import Settings, first_problem

__all__ = [
    "AUGMENTATIONS", "Augmentation", "AugmentationSettings", "PixelAugmentation", "Scene", "active", "complete",
    "needed_fields", "register_augmentation",
]  # fmt: skip

AUGMENTATIONS = Registry("augmentation", "data.augment")


def register_augmentation(augmentation: type[Augmentation]) -> type[Augmentation]:
    """Make an augmentation known by its name, and return it; a decorator of the class.

    Raises:
        UserError: it is no subclass of `Augmentation`, its name cannot be one, or it uses a hook that no field has.
    """
    if not isinstance(augmentation, type) or not issubclass(augmentation, Augmentation):
        raise UserError(f"register_augmentation: {augmentation!r} is no subclass of Augmentation; give a class of it")
    name = getattr(augmentation, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise UserError(f"register_augmentation: {name!r} cannot be the name of an augmentation; choose one word")
    for operation in augmentation.operations:
        if operation not in OPERATIONS:
            raise UserError(f"augmentation {name!r} uses {operation!r}; fields can be told of {', '.join(OPERATIONS)}")
    return AUGMENTATIONS.add(name, augmentation)


for each in (Mosaic, CopyPaste, Crop, ZoomOut, Brightness, Contrast, Saturation, Hue, Grayscale, Blur):
    register_augmentation(each)


def complete(given: Mapping[str, Any]) -> dict[str, AugmentationSettings]:
    """Settings of all augmentations by name, those given over the defaults.

    Args:
        given: `{name: {key: value} or settings}`.

    Raises:
        pydantic.ValidationError: a name, a key or a value is none.
    """
    kinds: dict[str, Any] = {each.name: (each.settings, each.settings()) for each in AUGMENTATIONS}
    sections = create_model("AugmentSettings", __base__=Settings, **kinds).model_validate(dict(given))
    return {name: getattr(sections, name) for name in kinds}


def active(given: Mapping[str, Any]) -> list[Augmentation]:
    """The augmentations of a probability above 0, in the order in which they are done.

    Args:
        given: `{name: {key: value} or settings}`, as `data.augment` of a configuration.

    Raises:
        UserError: there is no augmentation of a name, or a setting of it is wrong.
    """
    if not isinstance(given, Mapping):
        example = '{"mosaic": {"probability": 0.5}}'
        raise UserError(f"augmentations: give {{name: settings}}, such as {example}, not {given!r}")
    for name in given:
        if name not in AUGMENTATIONS:
            raise UserError(f"augmentations: unknown augmentation {name!r}{nearest(str(name), AUGMENTATIONS.names())}")
    try:
        settings = complete(given)
    except ValidationError as error:
        path, problem = first_problem(error)
        raise UserError(f"augmentations: {'.'.join(path)}: {problem}") from None
    return [AUGMENTATIONS[name](options) for name, options in settings.items() if options.probability > 0]


def needed_fields(augmentations: Iterable[Augmentation]) -> tuple[str, ...]:
    """Names of the per-object fields that some of them need, each once."""
    return tuple(dict.fromkeys(name for each in augmentations for name in each.needs_fields))
