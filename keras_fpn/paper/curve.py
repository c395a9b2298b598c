"""Average recall against the number of proposals an image, by object size (the plot beside tables 1 and 6)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keras_fpn.metrics import AREAS, RecallFamily
from keras_fpn.reporting import plots

if TYPE_CHECKING:
    from keras_fpn.evaluation.coco import COCOEvaluator

LIMITS = (1, 3, 10, 30, 100, 300, 1000)


def measure(
    family: RecallFamily, evaluator: "COCOEvaluator", results: list[dict], metrics: Mapping[str, float | None]
) -> dict[str, list]:
    """`{"limits": [...], "": [AR at each limit], "s": ..., "m": ..., "l": ...}`, 0..1, -1 where undefined.

    The limits are LIMITS; where a run keeps only the best results of each image, those that these are enough for, and
    the last, of which the run has measured all.

    Args:
        family: a `RecallFamily`.
        evaluator: a `COCOEvaluator`.
        results: COCO results that the run has kept.
        metrics: of the run's metrics.json.
    """
    kept, most = family.max_results or LIMITS[-1], LIMITS[-1]
    recalls = family.recalls(evaluator, results, [limit for limit in LIMITS if limit <= kept])
    if most not in recalls:
        of_all = {area: metrics[family.metric(most, area)] for area in AREAS}
        recalls[most] = {area: -1.0 if value is None else value for area, value in of_all.items()}
    return {"limits": list(recalls)} | {area: [recall[area] for recall in recalls.values()] for area in AREAS}


def mean(curves: Sequence[Mapping[str, list]]) -> dict[str, list]:
    """The mean of some curves of `measure`, number by number."""
    areas = {area: [sum(values) / len(curves) for values in zip(*(c[area] for c in curves), strict=True)]
             for area in AREAS}  # fmt: skip
    return {"limits": curves[0]["limits"]} | areas


def charts(curves: Mapping[str, Mapping[str, list]]) -> list[tuple[str, str]]:
    """`[(title, SVG)]`, one for each object size.

    Args:
        curves: `{row label: curve}`.
    """
    return plots.recall_charts(
        {
            shown: {
                label: list(zip(curve["limits"], curve[area], strict=True))
                for label, curve in curves.items()
                if min(curve[area]) >= 0
            }
            for area, shown in AREAS.items()
        }
    )
