"""What a predictor of random weights is made to say (torch side): as much as there is to compare, and no saturation.
"""

import re
import typing

from catalogue import UNUSED_IDS


class Unused(typing.NamedTuple):
    """Of the rows of ids that COCO never used, in a predictor of torchvision's that has such: deviation and mean."""

    ids: tuple[int, ...]
    deviation: float
    mean: float


class Spread(typing.NamedTuple):
    """Of one kind of predictor.

    Attributes:
        pattern: of the model's name, a slash, and the predictor's.
        deviation, mean: of its outputs.
        unused: see `Unused`.
    """

    pattern: str
    deviation: float
    mean: float
    unused: Unused | None = None


SPREADS = (
    Spread(r"(rpn\.head\.cls_logits|rpn_head\.objectness_logits)$", 0.6, -1.0),
    Spread(r"(rpn\.head\.bbox_pred|rpn_head\.anchor_deltas)$", 0.25, 0.0),
    # The rows that are not used: nearly the same for every box, visible in each softmax, and never the winner.
    Spread(r"roi_heads\.box_predictor\.(\d\.)?cls_score$", 1.0, 0.0, Unused(UNUSED_IDS, 0.15, 0.3)),
    Spread(r"box_predictor\.(\d\.)?bbox_pred$", 0.4, 0.0),
)


def of(model, layer):
    """The `Spread` of a layer of a model, or None."""
    return next((spread for spread in SPREADS if re.search(spread.pattern, f"{model}/{layer}")), None)
