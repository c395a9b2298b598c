"""Construction of pyramids over neighbouring levels: one merged map M_k for each backbone map, and P_k = 3x3(M_k).

The way in which C_k become M_k tells the pyramids apart: `fpn`, `bottom_up`, `top_down`; or what is made of the P_k:
`panet`, `pafpn`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.necks.convolutions import Convolutions
from keras_fpn.necks.upper_levels import upper_levels
from keras_fpn.ops.octaves import level_number


def build_run(
    merge: Callable[[dict[int, keras.KerasTensor], Convolutions], Iterator[tuple[int, keras.KerasTensor]]],
    channels_per_level: Mapping[str, int],
    channels: int,
    levels: Sequence[str],
    norm: str | None,
    norm_epsilon: float,
    top_input: str | None = None,
    refine: Callable[[dict[str, keras.KerasTensor], Convolutions], dict[str, keras.KerasTensor]] | None = None,
) -> keras.Model:
    """Functional model {"C2".."C5"} -> {"P2".."P6"}.

    Args:
        merge: `merge({k: C_k}, convolutions)` yields `k, M_k` from the backbone's coarsest level down to the finest.
        channels_per_level, channels, levels, norm, norm_epsilon: see `build_pyramid`.
        top_input: see `upper_levels`.
        refine: `refine({"Pk": P_k}, convolutions)` gives maps instead of those P_k that are not above the backbone's,
            finest first.

    Raises:
        UserError: a level has no backbone map to start from, or the levels have a gap.
    """
    wanted, inputs = check_run(channels_per_level, levels), {}
    for level, number in channels_per_level.items():
        if level_number(level) >= wanted[0]:
            inputs[level] = keras.Input((None, None, number), name=level)
    apply = Convolutions(channels, norm, norm_epsilon)
    own = {}
    for k, merged in merge({level_number(level): x for level, x in inputs.items()}, apply):
        if k <= wanted[-1]:
            own[k] = apply(merged, 3, f"output_P{k}")
    outputs = {f"P{k}": own[k] for k in sorted(own)}
    if refine is not None:
        outputs = refine(outputs, apply)
    return keras.Model(inputs, upper_levels(inputs, outputs, levels, channels, top_input), name="pyramid")


def inputs_of_run(channels_per_level: Mapping[str, int], wanted: Sequence[int]) -> dict[str, keras.KerasTensor]:
    """`{"Ck": input}` of the backbone's maps at levels that are wanted, finest first."""
    top = min(max(map(level_number, channels_per_level)), wanted[-1])
    return {
        f"C{k}": keras.Input((None, None, channels_per_level[f"C{k}"]), name=f"C{k}") for k in range(wanted[0], top + 1)
    }


def run_numbers(levels: Sequence[str]) -> list[int]:
    """The numbers of levels that are neighbours, finest first.

    Raises:
        UserError: they are none.
    """
    wanted = [level_number(level) for level in levels]
    if any(level[0] != "P" for level in levels) or wanted != list(range(wanted[0], wanted[-1] + 1)):
        raise UserError(f"pyramid.levels: must be neighbours, finest first, as in P2, P3, P4; not {', '.join(levels)}")
    return wanted


def check_run(channels_per_level: Mapping[str, int], levels: Sequence[str]) -> list[int]:
    """The numbers of the levels, finest first.

    Raises:
        UserError: no run of levels, or one that begins below the backbone's maps.
    """
    wanted = run_numbers(levels)
    available = sorted(map(level_number, channels_per_level))
    if wanted[0] not in available:
        given = f"C{available[0]}..C{available[-1]}" if len(available) > 1 else f"C{available[0]} alone"
        raise UserError(
            f"pyramid.levels: P{wanted[0]} needs C{wanted[0]}; the backbone gives {given}; the pyramid that makes finer"
            " levels of one map is pyramid.name=simple_pyramid"
        )
    return wanted
