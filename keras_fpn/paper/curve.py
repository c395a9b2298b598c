"""Average recall against the number of proposals an image, by object size (the plot beside tables 1 and 6)."""

from keras_fpn import plots
from keras_fpn.evaluation import PROPOSAL_LIMITS

LIMITS = (1, 3, 10, 30, 100, 300, 1000)
AREAS = {"": "all", "s": "small", "m": "medium", "l": "large"}


def measure(evaluator, results):
    """`{"limits": LIMITS, "": [AR at each limit], "s": ..., "m": ..., "l": ...}`, 0..1, -1 where undefined.

    Args:
        evaluator: a `COCOEvaluator`.
        results: COCO results, the boxes proposed.
    """
    recalls = evaluator.proposal_recalls(results, LIMITS)
    return {"limits": list(LIMITS)} | {area: [recalls[limit][area] for limit in LIMITS] for area in AREAS}


def measure_segments(evaluator, results, metrics):
    """`measure` of segments, of which a run keeps the 100 best of each image; the rest is what it measured of all.

    Args:
        evaluator: a `COCOEvaluator`.
        results: COCO results of those segments.
        metrics: of the run's metrics.json.
    """
    kept, most = PROPOSAL_LIMITS
    recalls = evaluator.segment_recalls(results, [limit for limit in LIMITS if limit <= kept])
    of_all = {area: metrics[f"segments/AR{most}{area}"] for area in AREAS}
    recalls[most] = {area: -1.0 if value is None else value for area, value in of_all.items()}
    return {"limits": list(recalls)} | {area: [recall[area] for recall in recalls.values()] for area in AREAS}


def mean(curves):
    """The mean of some curves of `measure`, number by number."""
    areas = {area: [sum(values) / len(curves) for values in zip(*(c[area] for c in curves), strict=True)]
             for area in AREAS}  # fmt: skip
    return {"limits": curves[0]["limits"]} | areas


def charts(curves):
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
