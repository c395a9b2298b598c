"""The pooling of RoIs that heads are built on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_fpn.console.errors import UserError
from keras_fpn.ops.octaves import level_number
from keras_fpn.stages.classify_settings import POOLINGS

if TYPE_CHECKING:
    import keras


def build_pooling(
    settings: Mapping[str, Any], strides: Mapping[str, int], name: str = "roi_pooling", size: int | None = None
) -> "keras.layers.Layer":
    """The layer that `roi_pooling.method` names, on the levels that RoIs are read from.

    Args:
        settings: of the group `roi_pooling`.
        strides: `{level: pixels between cells}` of the pyramid.
        size: of the crops, where it is not that of the settings.

    Raises:
        UserError: levels that the pyramid has not, or that are no neighbours.
    """
    options = dict(settings) | ({} if size is None else {"output_size": size})
    part, levels = POOLINGS[options.pop("method")], options.pop("levels")
    absent = [level for level in levels if level not in strides]
    if absent or not levels:
        raise UserError(
            f"roi_pooling.levels: {', '.join(absent) or 'none'} not among pyramid.levels {', '.join(strides)};"
            " name levels of both"
        )
    numbers = sorted(map(level_number, levels))
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise UserError(f"roi_pooling.levels: {', '.join(levels)}; give neighbours, an RoI belongs on one of a run")
    return part.build(strides={level: strides[level] for level in levels}, name=name, **options)


def build_on_crops(head: "keras.layers.Layer", pooling: "keras.layers.Layer", channels: Mapping[str, int]) -> None:
    """Make the variables of a head that takes the crops of a pooling layer.

    Args:
        channels: `{level: channels}` of the pyramid.
    """
    level = next(iter(pooling.strides))
    if pooling.has_weights and not pooling.built:  # which several heads may have
        pooling.build({each: (None, None, None, channels[each]) for each in pooling.strides})
    head.build((None, None, *pooling.crop_shape(channels[level])))


def trained(pooling: "keras.layers.Layer") -> tuple[str, ...]:
    """The name of a pooling that has weights, for `Stage.parts`."""
    return (pooling.name,) if pooling.has_weights else ()
