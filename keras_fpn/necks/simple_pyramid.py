"""The pyramid of a single map, of a plain transformer (Li et al., ViTDet, ECCV 2022, section 3).

    C4 --2x2 transposed, norm, GELU, 2x2 transposed--> 1x1, 3x3 --> P2
    C4 --2x2 transposed------------------------------> 1x1, 3x3 --> P3
    C4 ----------------------------------------------> 1x1, 3x3 --> P4
    C4 --2x2 maximum---------------------------------> 1x1, 3x3 --> P5 --every second cell--> P6

No lateral connections and no top-down pathway: "the FPN design is not necessary". Each transposed convolution halves
the channels. The conventions are detectron2's, whose `SimpleFeaturePyramid` this is.
"""

from collections.abc import Mapping, Sequence

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.necks.convolutions import Convolutions
from keras_fpn.necks.stretches import run_numbers
from keras_fpn.necks.upper_levels import upper_levels

LEVEL = 4  # whose map is read, of every sixteenth pixel
COARSEST = 5  # made of that map; levels above are every second cell of the one below


def build_simple_pyramid(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = "layer_norm",
    norm_epsilon: float = 1e-6,
) -> keras.Model:
    """Functional model {"C4"} -> {"P2".."P6"}; arguments: see `build_pyramid`.

    Raises:
        UserError: there is no C4, or the levels have a gap.
    """
    wanted, name = run_numbers(levels), f"C{LEVEL}"
    if wanted[0] > COARSEST:
        raise UserError(f"pyramid.levels: simple_pyramid begins at P{COARSEST} or finer; not at P{wanted[0]}")
    if name not in channels_per_level:
        given = ", ".join(channels_per_level)
        raise UserError(f"pyramid.name: simple_pyramid reads {name}; the backbone gives {given}")
    inputs = {name: keras.Input((None, None, channels_per_level[name]), name=name)}
    apply = Convolutions(channels, norm, norm_epsilon)
    outputs = {}
    for k in range(wanted[0], min(wanted[-1], COARSEST) + 1):
        x = apply(_resized(inputs[name], k, apply), 1, f"lateral_P{k}")
        outputs[f"P{k}"] = apply(x, 3, f"output_P{k}")
    model = keras.Model(inputs, upper_levels(inputs, outputs, levels, channels, None), name="pyramid")
    model.checkpoint_names = {"detectron2": _detectron2}
    return model


def _resized(x, k, apply):
    """The map at the size of level k."""
    for number in range(LEVEL - k):
        if number:
            x = keras.layers.Activation("gelu", name=f"up_P{k}_{number - 1}_gelu")(
                apply.normalise(x, f"up_P{k}_{number - 1}")
            )
        x = keras.layers.Conv2DTranspose(x.shape[-1] // 2, 2, strides=2, name=f"up_P{k}_{number}")(x)
    if k > LEVEL:
        # Odd sides are halved up, as all maps' here; detectron2 pads images to even ones.
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"down_P{k}")(x)
    return x


def _detectron2(pyramid, model):
    """The layers of a level are counted there, those without weights, too: norm and GELU after all but the last."""
    table = {}
    for k in range(2, COARSEST + 1):
        ups, block = max(LEVEL - k, 0), f"backbone.simfp_{k}"
        for number in range(ups):
            up, place = f"up_P{k}_{number}", 3 * number
            table |= {up: f"{block}.{place}", f"{up}_norm": f"{block}.{place + 1}"}
        first = 3 * ups - 2 if ups else int(k > LEVEL)
        for place, layer in enumerate((f"lateral_P{k}", f"output_P{k}"), start=first):
            table |= {layer: f"{block}.{place}", f"{layer}_norm": f"{block}.{place}.norm"}
    return table
