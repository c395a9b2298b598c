"""Drawn arrays that the golden script of pyramids and the test of them share: weights by the names of our layers, maps,
and weights of the outputs in the sum whose gradients are compared.

Shapes are Keras': (height, width, in, out) for a convolution.
"""

import named_draws
import numpy as np

# Sides of C2.., of an image of 108 x 148: no level is twice the next; and of one of 256 x 384, where all are.
ODD_SIDES = {2: (27, 37), 3: (14, 19), 4: (7, 10), 5: (4, 5)}
EVEN_SIDES = {2: (64, 96), 3: (32, 48), 4: (16, 24), 5: (8, 12)}
BATCH = 2
# {case: what our pyramid is told}; the channels of the backbone's maps are 8 a level more than 16.
LEVELS_FROM_3 = ("P3", "P4", "P5", "P6", "P7")
CASES = {
    "panet": {"channels": 32},
    "panet_normed": {"channels": 64, "norm": "group_norm"},
    "pafpn": {"channels": 16},
    "pafpn_strided": {"channels": 16, "levels": LEVELS_FROM_3, "top_input": "pyramid"},
    "bifpn": {"channels": 16, "levels": LEVELS_FROM_3, "repeats": 2},
    "bifpn_softmax": {"channels": 16, "levels": LEVELS_FROM_3, "repeats": 1, "fusion": "softmax"},
    "nas_fpn": {"channels": 16, "levels": LEVELS_FROM_3, "repeats": 2},
}
# Their authors' code doubles the sides of a map, whatever those of the next are.
DOUBLING = ("panet", "panet_normed", "nas_fpn")


def neck_of(case):
    """The name of the pyramid of a case."""
    return next(name for name in ("panet", "pafpn", "bifpn", "nas_fpn") if case.startswith(name))


def levels_of(case):
    return CASES[case].get("levels", ("P2", "P3", "P4", "P5", "P6"))


def maps(case):
    """`{k: C_k [B, h, w, C]}` that the case reads."""
    first = int(levels_of(case)[0][1])
    sides = EVEN_SIDES if case in DOUBLING else ODD_SIDES
    return {
        k: named_draws.normal(f"neck/C{k}", (BATCH, *side, 16 + 8 * (k - 2)))
        for k, side in sides.items()
        if k >= first
    }


def variable(layer, kind, shape):
    """A variable of one of our layers, by its name: "kernel", "bias", "gamma" ..."""
    name = f"neck/{layer}/{kind}"
    if kind == "moving_variance":
        return np.exp(named_draws.generator(name).uniform(-1.0, 1.0, shape)).astype(np.float32)
    if kind in ("gamma", "weights"):
        return named_draws.generator(name).uniform(0.4, 1.2, shape).astype(np.float32)
    if len(shape) == 1:
        return named_draws.normal(name, shape, 0.3)
    inputs = np.prod(shape[:2]) if kind == "depthwise_kernel" else np.prod(shape[:3])
    return named_draws.normal(name, shape, float(np.sqrt(1.0 / inputs)))


def weight_of_output(level, shape):
    return named_draws.normal(f"neck/weight_{level}", shape)


def kept(array):
    """A part of a map `[B, h, w, C]` or of a gradient, with both ends of each axis: small, and shifts show."""
    array = np.asarray(array, np.float32)
    if array.ndim == 4 and array.shape[0] == BATCH and array.shape[1] > 3:
        return array[:, :: 3 + array.shape[1] // 16, :: 2 + array.shape[2] // 12, ::5]
    return array.reshape(-1)[:: max(array.size // 50, 1)]
