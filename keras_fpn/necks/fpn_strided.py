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
from keras_fpn.necks.convolutions import XAVIER
from keras_fpn.necks.fpn import merge
from keras_fpn.necks.stretches import build_run, check_run
from keras_fpn.ops.octaves import level_number


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
        top_input: what the first level above the backbone's coarsest is made of: "backbone", that map, or "pyramid",
            the level of it. The convolutions of these levels have a bias and no norm, whatever `norm` is.
    """
    wanted, top = check_run(channels_per_level, levels), max(map(level_number, channels_per_level))
    own = [f"P{k}" for k in wanted if k <= top]
    base = build_run(merge, channels_per_level, channels, own, norm, norm_epsilon)
    inputs, outputs = base.input, dict(base.output)
    if wanted[-1] > top:
        x = inputs[f"C{top}"] if top_input == "backbone" else outputs[f"P{top}"]
        for k in range(top + 1, wanted[-1] + 1):
            x = x if k == top + 1 else keras.layers.ReLU(name=f"relu_P{k - 1}")(x)
            outputs[f"P{k}"] = x = _halve(x, channels, f"downsample_P{k}")
    model = keras.Model(inputs, outputs, name="pyramid")
    model.checkpoint_names = MappingProxyType({"torchvision": _torchvision, "detectron2": _detectron2})
    return model


def _halve(x, channels, name):
    # Padded alike on all sides, as torch does; "same" would pad an even side below and to the right alone.
    x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    kernel = keras.initializers.VarianceScaling(**XAVIER)
    return keras.layers.Conv2D(channels, 3, strides=2, kernel_initializer=kernel, name=name)(x)


def _torchvision(pyramid, model):
    return fpn_names.CHECKPOINT_NAMES["torchvision"](pyramid, model) | _strided(pyramid, "backbone.fpn.extra_blocks")


def _detectron2(pyramid, model):
    return fpn_names.CHECKPOINT_NAMES["detectron2"] | _strided(pyramid, "backbone.top_block")


def _strided(pyramid, block):
    """Both call the first level above the backbone's p6 and the next p7, whatever the backbone's are."""
    names = sorted(layer.name for layer in pyramid.layers if layer.name.startswith("downsample_") and layer.weights)
    return {name: f"{block}.p{number}" for number, name in enumerate(names, start=6)}
