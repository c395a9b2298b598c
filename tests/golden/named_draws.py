"""Random arrays that a golden script (under torch) and a test (under TensorFlow) can both draw, by name.

Weights and feature maps are too large to commit, and both sides need the same: every array is drawn from a
generator of its own, seeded with the CRC-32 of its name, so that the order of the draws does not matter.
Shapes are torch's: (out, in, height, width) for a convolution, (out, in) for a linear layer.
"""

import zlib

import numpy as np


def generator(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def normal(name, shape, scale=1.0):
    """Standard normal float32 times `scale`."""
    return (generator(name).standard_normal(shape) * scale).astype(np.float32)


def weight(name, shape):
    """A parameter or statistic for the torch state-dict entry `name`.

    Batch-norm statistics lie far from their defaults of 0 and 1, so that a layer which ignores one of them or
    exchanges two cannot pass. Matrices have He's scale, which keeps a deep network's activations in range.
    """
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        return np.exp(generator(name).uniform(-1.5, 1.5, shape)).astype(np.float32)
    if last == "running_mean":
        return normal(name, shape, 0.7)
    if last == "bias":
        return normal(name, shape, 0.3)
    if len(shape) == 1:  # the scale of a batch norm
        return generator(name).uniform(0.4, 1.2, shape).astype(np.float32)
    return normal(name, shape, float(np.sqrt(2.0 / np.prod(shape[1:]))))


def fill(module, prefix):
    """Give every tensor of a torch module's state dict the drawing named `prefix` + its key."""
    import torch

    state = {
        key: torch.from_numpy(weight(prefix + key, tuple(value.shape)))
        for key, value in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    module.load_state_dict(state, strict=False)
    return module.eval()
