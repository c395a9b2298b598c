"""The feature pyramid without the finest maps and with levels above the backbone's (RetinaNet, section 4; FCOS).

    C5 --3x3 stride 2--> P6 --ReLU, 3x3 stride 2--> P7     from C5, or from P5 with `top_input` "pyramid"
    C5 --1x1--> M5 --3x3--> P5
                 |  x2
    C4 --1x1--> (+) = M4 --3x3--> P4
                 |  x2
    C3 --1x1--> (+) = M3 --3x3--> P3

P6 goes on as it is, and rectified into P7. Its convolution reads C5 in the paper's code, in detectron2's RetinaNet and
in torchvision's version 2; P5 in torchvision's first RetinaNet and in FCOS.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import keras

from keras_fpn.necks import fpn_names
from keras_fpn.necks.fpn import merge
from keras_fpn.necks.stretches import build_run


def build_fpn_strided(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = None,
    norm_epsilon: float = 1e-5,
    top_input: str = "backbone",
) -> keras.Model:
    """Functional model {"C3", "C4", "C5"} -> {"P3".."P7"}; arguments: see `build_pyramid`.

    Args:
        top_input: "backbone" or "pyramid", see `upper_levels`.
    """
    model = build_run(merge, channels_per_level, channels, levels, norm, norm_epsilon, top_input)
    model.checkpoint_names = MappingProxyType({"torchvision": _torchvision, "detectron2": _detectron2})
    return model


def _torchvision(pyramid, model):
    return fpn_names.CHECKPOINT_NAMES["torchvision"](pyramid, model) | _strided(pyramid, "backbone.fpn.extra_blocks")


def _detectron2(pyramid, model):
    return fpn_names.CHECKPOINT_NAMES["detectron2"] | _strided(pyramid, "backbone.top_block")


def _strided(pyramid, block):
    """Both call the first level above the backbone's p6 and the next p7, whatever the backbone's are."""
    names = sorted(layer.name for layer in pyramid.layers if layer.name.startswith("downsample_") and layer.weights)
    return {name: f"{block}.p{number}" for number, name in enumerate(names, start=6)}
