"""The pyramid that the settings name, and how far apart its cells are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_fpn.necks.settings import NECKS
from keras_fpn.ops.octaves import level_number

if TYPE_CHECKING:
    import keras


def build_pyramid(
    channels_per_level: Mapping[str, int],
    levels: Sequence[str] = ("P2", "P3", "P4", "P5", "P6"),
    name: str = "fpn",
    **options: Any,
) -> "keras.Model":
    """Functional model of the pyramid `name`: {"C2".."C5"} -> {"P2".."P6"}.

    Args:
        channels_per_level: `{"C2": 256, ...}`, channels of the backbone's maps, as it declares them.
        levels: outputs wanted, finest first. The finest decides which laterals exist; a level above the backbone's
            coarsest is every second cell of the one below (P6).
        name: of a part of `NECKS`.
        **options: what that part reads, see its settings: `channels` of every output (256, d in the paper), `norm`,
            None or that after each convolution, which then has no bias (torchvision's version 2), `norm_epsilon`.

    Returns:
        `keras.Model` from `{"Ck": [B, h, w, C_k]}` to `{level: [B, h, w, channels]}`. Its inputs are the backbone's
        maps that it reads.

    Raises:
        UserError: an unknown pyramid or norm, or levels that this pyramid cannot give.
    """
    part = NECKS[name]
    settings = part.settings.defaults() | {"levels": list(levels)} | options
    return part.build(channels_per_level, **{key: value for key, value in settings.items() if key != "name"})


def pyramid_strides(backbone_strides: Mapping[str, int], levels: Iterable[str]) -> dict[str, int]:
    """Pixels of the image between neighbouring cells of each pyramid level.

    Args:
        backbone_strides: `{"C2": 4, ...}`, as a backbone declares them in `strides`.
        levels: names of pyramid levels.

    Returns:
        `{"P2": 4, ...}` in the order of `levels`: C_k's for P_k, doubled for each level above the backbone's coarsest,
        halved for each below its finest.
    """
    numbers = [level_number(level) for level in backbone_strides]
    strides = {}
    for level in levels:
        nearest = min(max(level_number(level), min(numbers)), max(numbers))
        octaves = level_number(level) - nearest
        stride = backbone_strides[f"C{nearest}"]
        strides[level] = stride * 2**octaves if octaves >= 0 else stride // 2**-octaves
    return strides
