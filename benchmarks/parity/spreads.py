"""The outputs that predictors of random weights are made to have (torch side): enough to compare, no saturation.

Focal losses and their suppression work on logits of which nearly all are far below the threshold, as they begin with:
the mean is that of their prior probability of 0.01, and of millions of pairs some thousands are above 0.05.
"""

import math
import re
import typing

from catalogue import UNUSED_IDS

PRIOR = -math.log(99)


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
        over_levels: whether all levels are counted, each alike, or the first that it sees.
    """

    pattern: str
    deviation: float
    mean: float
    unused: Unused | None = None
    over_levels: bool = False


SPREADS = (
    Spread(r"(rpn\.head\.cls_logits|rpn_head\.objectness_logits)$", 0.6, -1.0),
    Spread(r"(rpn\.head\.bbox_pred|rpn_head\.anchor_deltas)$", 0.25, 0.0),
    # The rows that are not used: nearly the same for every box, visible in each softmax, and never the winner.
    Spread(r"roi_heads\.box_predictor\.(\d\.)?cls_score$", 1.0, 0.0, Unused(UNUSED_IDS, 0.15, 0.3)),
    Spread(r"box_predictor\.(\d\.)?bbox_pred$", 0.4, 0.0),
    # Most of a mask is inside, as of trained ones: of logits around 0 the outline goes through every other cell, and
    # the last digits of a box decide about some pixel of many masks.
    Spread(r"(mask_predictor\.mask_fcn_logits|mask_head\.predictor)$", 1.0, 1.5),
    # Without means of their own levels look alike to the towers, and no level has all detections.
    Spread(
        r"^(retinanet|fcos)_\w+/backbone\.(fpn\.layer_blocks\.\d\.0|fpn\.extra_blocks\.p\d|fpn_output\d|top_block\.p\d)$",
        1.0, 0.0,
    ),
    # Here every row may win: those that are not used stay below the threshold, as trained ones do.
    Spread(
        r"/head\.(classification_head\.cls_logits|cls_score)$", 0.7, PRIOR,
        Unused((0, *UNUSED_IDS), 0.15, PRIOR - 1.5), over_levels=True,
    ),
    Spread(r"/head\.regression_head\.bbox_ctrness$", 0.6, 0.0, over_levels=True),
    # Distances in strides, of which hardly one is negative and cut to 0.
    Spread(r"^fcos_\w+/head\.regression_head\.bbox_reg$", 0.8, 2.5, over_levels=True),
    Spread(r"/head\.(regression_head\.bbox_reg|bbox_pred)$", 0.25, 0.0, over_levels=True),
)  # fmt: skip


def of(model, layer):
    """The `Spread` of a layer of a model, or None."""
    return next((spread for spread in SPREADS if re.search(spread.pattern, f"{model}/{layer}")), None)
