"""AP and AR where more detections of an image count than the 100 of COCO: images of many small objects."""

from collections.abc import Iterable
from typing import Any

from keras_fpn.metrics.family import MetricFamily

COCO_LIMIT = 100


class MoreDetectionsFamily(MetricFamily):
    """`AP@300`, `AP50@300` and `AR@300`, beside COCO's own rows, which stay those of 100.

    Args:
        limit: how many detections of an image and class count, the best.
    """

    def __init__(self, limit: int):
        self.limit, self.name = limit, f"best {limit}"
        self.metrics = tuple(f"{figure}@{limit}" for figure in ("AP", "AP50", "AR"))
        self.heading = f"The {limit} best detections of an image"
        super().__init__()

    def measure(
        self, evaluator: Any, results: list[dict[str, Any]], image_ids: Iterable[int] | None = None
    ) -> dict[str, float]:
        """See `MetricFamily`."""
        return dict(zip(self.metrics, evaluator.precision_of_more(results, self.limit, image_ids), strict=True))
