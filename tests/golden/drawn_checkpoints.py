"""Checkpoints and pictures that a reference (under torch) and this package can both draw, and how they are compared.

A checkpoint is drawn tensor by tensor from its names (`named_draws`). So that no activation of a deep random
network dies, explodes or saturates a softmax, some tensors are then scaled, and some biases shifted: the factors
come of a calibration (benchmarks/parity/calibration.py) and are stored as a recipe. Numpy only.
"""

import math
import zlib

import named_draws
import numpy as np

TINY_VARIANCE = 1e-3


def has_tiny_variance(norm):
    """Whether the batch norm of this name has statistics so small that its epsilon matters: every third."""
    return zlib.crc32(norm.encode()) % 3 == 0


def drawn(model, name, shape):
    """A float32 tensor of a state dict, before calibration."""
    tensor = named_draws.weight(f"{model}/{name}", shape)
    norm, _, last = name.rpartition(".")
    if last == "running_var" and has_tiny_variance(norm):
        return (tensor * TINY_VARIANCE).astype(np.float32)
    if last == "running_mean" and has_tiny_variance(norm):
        return (tensor * math.sqrt(TINY_VARIANCE)).astype(np.float32)
    return tensor


def tensors(recipe):
    """`{name: float32 array}` of a recipe `{"model", "shapes", "factors", "shifts"}`.

    `factors` hold one number for a tensor or one for each of its rows, `shifts` are added to whole biases.
    """
    result = {}
    for name, shape in recipe["shapes"].items():
        tensor = drawn(recipe["model"], name, tuple(shape))
        if name in recipe["factors"]:
            factor = np.array(recipe["factors"][name], np.float32)
            tensor = tensor * factor.reshape(factor.shape + (1,) * (tensor.ndim - 1) if factor.ndim else ())
        if name in recipe["shifts"]:
            tensor = tensor + np.array(recipe["shifts"][name], np.float32)
        result[name] = tensor.astype(np.float32)
    return result


def picture(name, height, width):
    """`[height, width, 3]` uint8: smooth colours, two dozen shapes with edges, a little grain."""
    rng = named_draws.generator(f"picture/{name}")
    y, x = np.mgrid[:height, :width].astype(np.float64) / max(height, width)
    canvas = np.zeros((height, width, 3))
    for _ in range(12):
        frequency, phase = rng.uniform(-9, 9, 2), rng.uniform(0, 2 * np.pi, 3)
        wave = (frequency[0] * y + frequency[1] * x)[..., None] + phase
        canvas += rng.uniform(4, 22, 3) * np.cos(wave)
    canvas += rng.uniform(80, 170, 3)
    for index in range(24):
        centre_y, centre_x = rng.uniform(0, y.max()), rng.uniform(0, x.max())
        radius_y, radius_x = rng.uniform(0.01, 0.18, 2)
        off_y, off_x = np.abs(y - centre_y) / radius_y, np.abs(x - centre_x) / radius_x
        inside = (off_y**2 + off_x**2 < 1) if index % 2 else (np.maximum(off_y, off_x) < 1)
        stripes = 25 * np.sign(np.sin(rng.uniform(20, 220) * (x + y)))
        canvas[inside] = rng.uniform(0, 255, 3) + (stripes[inside] * (index % 3 == 0))[:, None]
    canvas += rng.normal(0, 3, canvas.shape)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def masks(boxes, height, width):
    """`[N, height, width]` uint8: an ellipse in each box, without its upper left quarter."""
    y, x = np.mgrid[:height, :width] + 0.5
    drawn = np.zeros((len(boxes), height, width), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(drawn, boxes, strict=True):
        across, down = (x - (x1 + x2) / 2) / (x2 - x1) * 2, (y - (y1 + y2) / 2) / (y2 - y1) * 2
        mask[(across**2 + down**2 < 1) & ((across > 0) | (down > 0))] = 1
    return drawn


def polygons(boxes):
    """`[N, 12, 3]` float32 x, y and number of the part: in each box an octagon, and a quarter that it lacks."""
    octagon = [[0.95, 0.55], [0.8, 0.9], [0.5, 1], [0.15, 0.85], [0, 0.5], [0.35, 0.4], [0.5, 0.05], [0.85, 0.15]]
    quarter = [[0.02, 0.03], [0.41, 0.06], [0.3, 0.31], [0.05, 0.38]]
    numbers = np.repeat([0.0, 1.0], [len(octagon), len(quarter)])[:, None]
    x1, y1, x2, y2 = np.array(boxes, np.float64).T[:, :, None]
    x, y = np.array(octagon + quarter).T
    points = np.stack([x1 + x * (x2 - x1), y1 + y * (y2 - y1)], axis=-1)
    parts = np.broadcast_to(numbers, (len(boxes), *numbers.shape))
    return np.concatenate([points, parts], axis=-1).astype(np.float32)


def keypoints(boxes, height, width, number=17):
    """`[N, number, 3]` float32 x, y and 0, 1 or 2 in turn: in each box, some just beside it, the last at its corner."""
    drawn = np.zeros((len(boxes), number, 3), np.float32)
    for index, (points, (x1, y1, x2, y2)) in enumerate(zip(drawn, boxes, strict=True)):
        share = named_draws.generator(f"keypoints/{index}").uniform(-0.05, 1.05, (number, 2))
        share[-1] = 1
        places = np.array([x1, y1]) + share * (x2 - x1, y2 - y1)
        visibility = np.arange(index, index + number) % 3
        visibility[-1] = 2
        points[:, :2], points[:, 2] = places.clip(1, (width - 1, height - 1)), visibility
        points[visibility == 0] = 0
    return drawn


def kept_slice(tensor, most):
    """Every n-th of the flattened tensor, n a prime, so that all channels and places come in turn."""
    flat = np.asarray(tensor).reshape(-1)
    step = max(1, math.ceil(flat.size / most))
    while step > 1 and any(step % factor == 0 for factor in range(2, math.isqrt(step) + 1)):
        step += 1
    return flat[::step]


def relative_difference(ours, theirs):
    """The largest |a - b| / (|b| + mean |b|) of two arrays of one shape; infinite where shapes differ."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return float("inf")
    if not theirs.size:
        return 0.0
    size = np.abs(theirs)
    return float((np.abs(ours - theirs) / (size + size.mean() + 1e-30)).max())
