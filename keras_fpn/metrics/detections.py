"""Average precision and recall of detections with classes: the twelve figures of COCO, and AP of each class."""

from collections.abc import Iterable
from typing import Any

from keras_fpn.metrics.family import MetricFamily
from keras_fpn.metrics.recalls import AREAS
from keras_fpn.metrics.registered import register_metric_family

# In the order of pycocotools.
_FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
_ALL_IOU = "0.50:0.95"
_ROWS = (
    (("average precision (AP)", _ALL_IOU), ("AP", "APs", "APm", "APl")),
    (("AP50", "0.50"), ("AP50", None, None, None)),
    (("AP75", "0.75"), ("AP75", None, None, None)),
    (("average recall, 1 {one} an image (AR1)", _ALL_IOU), ("AR1", None, None, None)),
    (("average recall, 10 {many} (AR10)", _ALL_IOU), ("AR10", None, None, None)),
    (("average recall, 100 {many} (AR100)", _ALL_IOU), ("AR100", "ARs", "ARm", "ARl")),
)


class DetectionFamily(MetricFamily):
    """Metrics of pycocotools; by the IoU of boxes and under its own names, unless a subclass says otherwise.

    Attributes:
        kind: pycocotools' word for what overlaps: "bbox", or "segm" for masks.
        prefix: of the names, such as "segm/".
        figures: names without it, in the order of pycocotools.
        headline: of them, those that stand in front of a report and in the first row of a table.
        rows: of the table in a report, `(texts, figures)`.
        watched: figures on the line of an epoch and in the chart of the validation.
        one, many: words for what overlaps, in a report.
    """

    name = "detections"
    kind = "bbox"
    prefix = ""
    figures: tuple[str, ...] = _FIGURES
    headline: tuple[str, ...] = _FIGURES[:6]
    rows: tuple[tuple[tuple[str, ...], tuple[str | None, ...]], ...] = _ROWS
    watched: tuple[str, ...] = ("AP", "AP50", "APs")
    one, many = "box", "boxes"
    report_head = ("", "IoU", *AREAS.values())
    note = (
        "COCO metrics by pycocotools. Small: below 32×32 px of the original image; medium: up to 96×96; large: above. A"
        " dash: no such object in the annotations."
    )

    def __init__(self):
        self.metrics = tuple(map(self._metric, self.figures))
        self.class_prefix = self._metric("AP/")
        self.cards = tuple(map(self._metric, self.headline))
        self.lines = (self.cards, tuple(name for name in self.metrics if name not in self.cards))
        self.report_rows = tuple(
            (tuple(text.format(one=self.one, many=self.many) for text in texts), tuple(map(self._metric, figures)))
            for texts, figures in self.rows
        )
        self.epoch_line = self.charted = tuple(map(self._metric, self.watched))
        super().__init__()

    def _metric(self, figure):
        return None if figure is None else f"{self.prefix}{figure}"

    def prepare(self, evaluator: Any) -> None:
        """See `MetricFamily`."""
        evaluator.prepare(self.kind)

    def measure(
        self, evaluator: Any, results: list[dict[str, Any]], image_ids: Iterable[int] | None = None
    ) -> dict[str, float]:
        """See `MetricFamily`."""
        figures, of_classes = evaluator.average_precision(results, image_ids, self.kind)
        metrics = dict(zip(self.metrics, figures, strict=True))
        return metrics | {f"{self.class_prefix}{name}": value for name, value in of_classes.items()}

    def curves(self, evaluator: Any) -> dict[str, Any] | None:
        """See `MetricFamily`."""
        return evaluator.precision_recall(self.kind)


DETECTIONS = register_metric_family(DetectionFamily())
