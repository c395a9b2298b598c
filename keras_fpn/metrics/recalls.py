"""Average recall of what is proposed without classes: what proposals of boxes and of masks have in common."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras_fpn.metrics.family import MetricFamily

PROPOSAL_LIMITS = (100, 1000)  # how many of an image count
# Below 32^2 pixels, up to 96^2, above: the order of COCOeval.params.areaRng.
AREAS = {"": "all", "s": "small", "m": "medium", "l": "large"}


class RecallFamily(MetricFamily):
    """`<family>/AR100`, `AR100s` ... `AR1000l`; a subclass says how recall is computed.

    The columns of tables 1 and 6 of the FPN paper are AR100, AR1000, AR1000s, AR1000m and AR1000l.
    """

    report_head = ("", *AREAS.values())

    def __init__(self):
        limits = PROPOSAL_LIMITS
        self.metrics = tuple(self.metric(limit, area) for limit in limits for area in AREAS)
        self.main = self.metric(limits[-1])
        line = (*map(self.metric, limits), *(self.metric(limits[-1], area) for area in AREAS if area))
        self.lines, self.cards = (line,), line
        self.epoch_line = tuple(map(self.metric, limits))
        self.charted = (*self.epoch_line, self.metric(limits[-1], "s"))
        self.report_rows = tuple(
            ((f"average recall, {limit} {self.name} (AR{limit})",), tuple(self.metric(limit, area) for area in AREAS))
            for limit in limits
        )
        super().__init__()

    def metric(self, limit: int, area: str = "") -> str:
        """Name of the average recall of the `limit` best of each image, on objects of one of AREAS."""
        return f"{self.name}/AR{limit}{area}"

    def recalls(
        self,
        evaluator: Any,
        results: list[dict[str, Any]],
        limits: Sequence[int],
        image_ids: Iterable[int] | None = None,
    ) -> dict[int, dict[str, float]]:
        """`{limit: {area: average recall}}` of the `limit` best of each image, at most 1000, by AREAS."""
        raise NotImplementedError

    def measure(
        self, evaluator: Any, results: list[dict[str, Any]], image_ids: Iterable[int] | None = None
    ) -> dict[str, float]:
        """See `MetricFamily`."""
        recalls = self.recalls(evaluator, results, PROPOSAL_LIMITS, image_ids)
        return {self.metric(limit, area): recalls[limit][area] for limit in PROPOSAL_LIMITS for area in AREAS}
