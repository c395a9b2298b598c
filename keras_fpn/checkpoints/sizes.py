"""Widths and depths, read off the shapes of a file's tensors."""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from keras_fpn.backbones.resnet import ARCHITECTURES


def resnet_name(tensors: Mapping[str, np.ndarray], convolution: str) -> str | None:
    """The ResNet that the blocks in a file make, such as "resnet50", or None where they make none of ours.

    Args:
        convolution: pattern of the names of each block's convolutions, with groups `stage`, `block`, `number`.
    """
    blocks: dict[str, set[str]] = {}
    bottleneck, groups = False, []
    for match in filter(None, (re.fullmatch(convolution, name) for name in tensors)):
        blocks.setdefault(match["stage"], set()).add(match["block"])
        bottleneck |= match["number"] == "3"
        groups += [_groups(tensors[match.string])] if match["number"] == "2" else []
    counts = tuple(len(blocks[stage]) for stage in sorted(blocks))
    found = bottleneck, counts, max(groups, key=groups.count, default=1)  # one tensor that is wrong is no witness
    return next((name for name, of in ARCHITECTURES.items() if (of.bottleneck, of.blocks, of.groups) == found), None)


def _groups(kernel):
    """Groups of a convolution that gives as many channels as it reads."""
    return max(kernel.shape[0] // kernel.shape[1], 1) if kernel.ndim == 4 and kernel.shape[1] else 1


def common_size(tensors: Mapping[str, np.ndarray], places: Iterable[tuple[str, int]]) -> int | None:
    """The size that most of `places`, `(name, axis)`, have, or None: one tensor that is wrong is no witness."""
    sizes = [tensors[name].shape[axis] for name, axis in places if name in tensors and tensors[name].ndim > axis]
    return next((size for size in sizes if 2 * sizes.count(size) > len(sizes)), None)


def common_sizes(
    tensors: Mapping[str, np.ndarray], places_of: Mapping[str, Iterable[tuple[str, int]]]
) -> dict[str, int]:
    """`{key: common_size}` of each key of `{key: places}` that has one."""
    sizes = {key: common_size(tensors, witnesses) for key, witnesses in places_of.items()}
    return {key: size for key, size in sizes.items() if size is not None}


def places(tensors: Mapping[str, np.ndarray], pattern: str) -> list[tuple[str, int]]:
    """`[(name, 0)]` of the tensors whose whole names match, for `common_size`."""
    return [(name, 0) for name in tensors if re.fullmatch(pattern, name)]


def last_number(tensors: Mapping[str, np.ndarray], pattern: str) -> int | None:
    """The highest number that the group of a pattern has among the whole names that match, or None."""
    return max((int(match[1]) for match in (re.fullmatch(pattern, name) for name in tensors) if match), default=None)
