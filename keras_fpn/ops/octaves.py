"""Levels of a pyramid by their numbers, an octave apart; nothing here imports TensorFlow."""

import math


def level_number(level: str) -> int:
    """The number in a level's name: 3 for "P3"."""
    return int(level[1:])


def octave_edges(min_level: int, max_level: int, canonical_size: float, canonical_level: int) -> list[float]:
    """Sides in pixels from which a region belongs on each level above the finest (paper, eq. 1).

    k = floor(k0 + log2(side / 224)) by comparison with the octaves' own edges rather than through a logarithm: exact at
    112, 224, 448 px, and an empty box needs no epsilon.

    Args:
        min_level, max_level: the finest and the coarsest level, 2 and 5 in the paper.
        canonical_size: side in pixels of a box that belongs on `canonical_level`.
        canonical_level: k0.
    """
    return [canonical_size * math.pow(2.0, k - canonical_level) for k in range(min_level + 1, max_level + 1)]
