"""Average recall of boxes, whatever their class (tables 1 and 3 of the FPN paper)."""

from collections.abc import Iterable, Sequence
from typing import Any

from keras_fpn.metrics.recalls import RecallFamily
from keras_fpn.metrics.registered import register_metric_family


class ProposalFamily(RecallFamily):
    """By the IoU of boxes, `useCats=0`; the `category_id` of results is ignored."""

    name = "proposals"
    model_kind = "proposes boxes without classes"
    note = "Class-agnostic, mean over IoU 0.50:0.95 (useCats = 0, maxDets = 1, 100, 1000)."

    def keep(self, evaluator: Any, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that meet an object at all: recall does not count false alarms."""
        return evaluator.matching_proposals(results)

    def recalls(
        self,
        evaluator: Any,
        results: list[dict[str, Any]],
        limits: Sequence[int],
        image_ids: Iterable[int] | None = None,
    ) -> dict[int, dict[str, float]]:
        """See `RecallFamily`."""
        return evaluator.proposal_recalls(results, limits, image_ids)


PROPOSALS = register_metric_family(ProposalFamily())
