"""Only the finest level of the feature pyramid (paper, section 5.1; row f of tables 1 and 2).

    {"C2".."C5"} --the whole FPN--> P2

The head sees objects of every scale on the one map: it takes anchors of all sizes there, 15 in each cell.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keras_fpn.console.errors import UserError
from keras_fpn.necks.fpn import build_fpn

if TYPE_CHECKING:
    import keras


def build_finest_level(
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None = None,
    norm_epsilon: float = 1e-5,
) -> "keras.Model":
    """Functional model {"C2".."C5"} -> {"P2"}; arguments: see `build_pyramid`.

    Raises:
        UserError: more than one level.
    """
    if len(levels) != 1:
        raise UserError(f"pyramid.levels: finest_level gives one level, [P2] in the paper, not {', '.join(levels)}")
    return build_fpn(channels_per_level, channels, levels, norm, norm_epsilon)
