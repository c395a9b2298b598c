"""Average recall of masks, whatever their class (table 6 of the FPN paper)."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras_fpn.metrics.recalls import PROPOSAL_LIMITS, RecallFamily
from keras_fpn.metrics.registered import register_metric_family


class SegmentFamily(RecallFamily):
    """By the IoU of masks (pycocotools' "segm"), `useCats=0`; results have a "segmentation".

    Sizes are those of the annotations' "area"; of one without it, of its mask.
    """

    name = "segments"
    model_kind = "proposes segments without classes"
    max_results = PROPOSAL_LIMITS[0]  # 1000 masks of each of 5000 images take some 6 GB
    note = (
        "By the IoU of masks, class-agnostic, mean over IoU 0.50:0.95 (useCats = 0, maxDets = 1, 100, 1000; iouType ="
        " segm). Sizes are the areas of the annotated masks. The pictures show the 16 best that do not overlap much."
    )

    def keep(self, evaluator: Any, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that meet an object at all: recall does not count false alarms."""
        return evaluator.matching_segments(results)

    def prepare(self, evaluator: Any) -> None:
        """See `MetricFamily`."""
        evaluator.prepare("segm")

    def recalls(
        self,
        evaluator: Any,
        results: list[dict[str, Any]],
        limits: Sequence[int],
        image_ids: Iterable[int] | None = None,
    ) -> dict[int, dict[str, float]]:
        """See `RecallFamily`."""
        return evaluator.segment_recalls(results, limits, image_ids)


SEGMENTS = register_metric_family(SegmentFamily())
