"""No pyramid: one map of the backbone as it is (rows a and b of tables 1, 2 and 3: C4 and C5).

    C4 ----------> C4        or        C5 ----------> C5

The networks before FPN: ResNet's authors put the RPN on C4 and conv5 into the head; C5 with a head of two fully
connected layers is the other baseline. Anchors of all sizes are on the one map, 15 in each cell.
"""

from collections.abc import Mapping, Sequence

import keras

from keras_fpn.console.errors import UserError


def build_single_scale(channels_per_level: Mapping[str, int], levels: Sequence[str]) -> keras.Model:
    """Functional model {"C4"} -> {"C4"}, of the backbone's own channels.

    Raises:
        UserError: more than one level, or none of the backbone's.
    """
    if len(levels) != 1 or levels[0] not in channels_per_level:
        available = ", ".join(channels_per_level)
        raise UserError(f"pyramid.levels: single_scale gives one of {available}, as in [C4]; not {', '.join(levels)}")
    (level,) = levels
    feature = keras.Input((None, None, channels_per_level[level]), name=level)
    output = keras.layers.Identity(name=f"output_{level}")(feature)
    return keras.Model({level: feature}, {level: output}, name="pyramid")
