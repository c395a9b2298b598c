"""The metrics of a model, of the results that come batch by batch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.metrics.family import MetricFamily

MAIN_OUTPUT = "detections"


def all_families(metric_families: Mapping[str, Sequence[MetricFamily]]) -> list[MetricFamily]:
    """The families of a model, each once; the first, of its detections, says which model is the better.

    Args:
        metric_families: `{what it is read from: (family, ...)}`: keys of what `Detector.inference` gives.

    Raises:
        ValueError: none reads the detections, or one is read from two outputs.
    """
    of_detections = metric_families.get(MAIN_OUTPUT, ())
    others = (family for output, each in metric_families.items() if output != MAIN_OUTPUT for family in each)
    families = [*of_detections, *others]
    names = [family.name for family in families]
    if not of_detections or len(set(names)) < len(names):
        raise ValueError(f"metric families {names}: the first must be of the detections, and each only once")
    return families


def prepare(evaluator: Any, metric_families: Mapping[str, Sequence[MetricFamily]]) -> None:
    """Refuse annotations that a model cannot be measured on, before anything is detected.

    Args:
        evaluator: a `COCOEvaluator`.
        metric_families: of the model, see `all_families`.

    Raises:
        UserError: see `MetricFamily.prepare`.
    """
    for family in all_families(metric_families):
        family.prepare(evaluator)


class Measurement:
    """Gathers of each batch what a model's families need, and measures when all batches are there.

    Args:
        evaluator: a `COCOEvaluator`.
        metric_families: of a model, see `all_families`.

    Raises:
        UserError: see `prepare`.
    """

    def __init__(self, evaluator, metric_families):
        prepare(evaluator, metric_families)
        self._evaluator, self._families = evaluator, all_families(metric_families)
        self._rules = {  # families that keep everything share one list
            family.name: (output, _everything if type(family).keep is MetricFamily.keep else family.keep)
            for output, families in metric_families.items()
            for family in families
        }
        self._kept = {rule: [] for rule in self._rules.values()}

    def add(self, results: Mapping[str, list[dict[str, Any]]]) -> None:
        """Take the results of some images, whole ones.

        Args:
            results: `{output: COCO results}`, all of those images.
        """
        for (output, keep), kept in self._kept.items():
            kept += keep(self._evaluator, results[output])

    def metrics(self, image_ids: Iterable[int] | None = None) -> dict[str, float]:
        """`{name: value}` of all families, those of the main one first.

        Args:
            image_ids: the images to measure on; all of the annotations by default.

        Raises:
            UserError: results that are none of these annotations, or a family gives other metrics than it names.
        """
        metrics: dict[str, float] = {}
        for family in self._families:
            values = family.measure(self._evaluator, self._kept[self._rules[family.name]], image_ids)
            differing = set(values) ^ set(family.names(self._evaluator.class_names))
            if differing:
                raise UserError(f"metric family {family.name!r}: names or measures {min(differing)!r}, not both")
            metrics |= values
        return metrics


def _everything(evaluator, results):
    return results
