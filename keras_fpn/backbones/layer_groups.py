"""Which layers of a backbone learn at one rate where rates fall towards the image, by patterns of their names.

A group is a pattern of whole names; the groups go from the image on. Layers of none, such as the normalisations of the
taps, learn as the heads do. The groups are those of the authors' detectors.
"""

import re
from collections.abc import Sequence


def of_vit(depth: int) -> tuple[str, ...]:
    """Of a plain ViT (detectron2's `get_vit_lr_decay_rate`): what makes the patches, then each block."""
    return ("(patch|position)_embedding", *(rf"block_{number}_.*" for number in range(depth)))


def of_convnext(blocks: int) -> tuple[str, ...]:
    """Of a ConvNeXt with so many blocks in C4, three of which are a group, as is each of the other stages."""
    thirds = [
        "|".join(rf"res4_{number}_.*" for number in range(first, min(first + 3, blocks)))
        for first in range(0, blocks, 3)
    ]
    thirds[0] = rf"res4_downsample_.*|{thirds[0]}"
    return ("stem_.*", "res2_.*", "res3_.*", *thirds, "res5_.*")


def rates(groups: Sequence[str], decay: float) -> dict[str, float]:
    """`{pattern: factor of the learning rate}`: the last group's is `decay`, each before it has `decay` times less.

    Empty where all learn alike, with a decay of 1.
    """
    if decay == 1.0:
        return {}
    return {pattern: decay ** (len(groups) - number) for number, pattern in enumerate(groups)}


def rate_of(path: str, factors: dict[str, float]) -> float:
    """The factor of a variable by its path, that begins with its layer's name in the backbone: 1 where it has none."""
    layer = path.partition("/")[0]
    return next((factor for pattern, factor in factors.items() if re.fullmatch(pattern, layer)), 1.0)
