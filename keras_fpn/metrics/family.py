"""Base of the families of metrics, each declared once: evaluation, callbacks, reports and tables loop over families."""

from collections.abc import Iterable
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest


class MetricFamily:
    """Metrics that belong together: their names, how they are computed, and how they are shown.

    A subclass sets what follows and defines `measure`; `register_metric_family` makes the family known by its names. A
    metric is a share, 0..1, the higher the better, and -1 where the annotations leave it undefined.

    Attributes:
        name: of the family, unique.
        metrics: names of its metrics, unique among all families. `"<family>/AR"` is shown as "AR".
        main: the metric that says which of two models is the better; the first one if left out.
        class_prefix: where each class has a metric, too, what stands before its name: "AP/" for "AP/cat".
        max_results: how many results of an image, the best, a run keeps in its results.json; None for all.
        model_kind: of a model that is measured by it first, why it has no metrics of other families: "proposes boxes
            without classes". Said where one is expected.
        lines: rows of the printed table, each a tuple of metrics.
        cards: metrics in the headline of a report, of the family that comes first.
        beside: metrics in the headline of a report where another family comes first; none if left out.
        heading, report_head, report_rows, note: of its table in a report. A row is `(texts, metrics)`, None an empty
            cell.
        class_heading: of the table of the classes in a report; "Classes" if left out.
        epoch_line: metrics on the line of an epoch.
        charted: metrics in the chart of the validation.

    Left out, the tables have all metrics, line and chart the main one.

    Raises:
        UserError: one of the metrics to be shown is none of `metrics`.
    """

    name: str = ""
    metrics: tuple[str, ...] = ()
    main: str = ""
    class_prefix: str | None = None
    max_results: int | None = None
    model_kind: str | None = None
    lines: tuple[tuple[str, ...], ...] = ()
    cards: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    heading: str = ""
    report_head: tuple[str, ...] = ("", "value")
    report_rows: tuple[tuple[tuple[str, ...], tuple[str | None, ...]], ...] = ()
    note: str = ""
    class_heading: str = "Classes"
    epoch_line: tuple[str, ...] = ()
    charted: tuple[str, ...] = ()

    def __init__(self):
        self.main = self.main or next(iter(self.metrics), None)
        self.heading = self.heading or self.name.capitalize()
        self.lines = self.lines or (self.metrics,)
        self.cards = self.cards or self.metrics
        self.report_rows = self.report_rows or tuple(((self.label(name),), (name,)) for name in self.metrics)
        self.epoch_line = self.epoch_line or (self.main,)
        self.charted = self.charted or (self.main,)
        for name in self.shown:
            if name not in self.metrics:
                raise UserError(f"metric family {self.name!r}: has no metric {name!r}{nearest(name, self.metrics)}")

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of all metrics that something shows."""
        rows = [*self.lines, *(metrics for _, metrics in self.report_rows)]
        rows += [self.cards, self.beside, self.epoch_line, self.charted]
        return tuple(dict.fromkeys([self.main, *(name for row in rows for name in row if name is not None)]))

    def names(self, class_names: Iterable[str]) -> tuple[str, ...]:
        """Names of all metrics, in order, for annotations with these classes."""
        of_classes = () if self.class_prefix is None else class_names
        return (*self.metrics, *(f"{self.class_prefix}{name}" for name in of_classes))

    def owns(self, name: str) -> bool:
        """Whether a metric of this name is one of the family."""
        return name in self.metrics or self.class_of(name) is not None

    def class_of(self, name: str) -> str | None:
        """The class that a metric is of; None of one that is of all."""
        if self.class_prefix is None or not name.startswith(self.class_prefix) or name in self.metrics:
            return None
        return name.removeprefix(self.class_prefix)

    def label(self, name: str) -> str:
        """A metric's name where the family is named beside it."""
        return name.removeprefix(f"{self.name}/")

    def keep(self, evaluator: Any, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of the results of whole images those that `measure` can depend on, so that a large data set fits in memory.

        All of them, unless a family knows better: false alarms cost precision. `measure` gets what this returned of
        each batch, or all results.
        """
        return results

    def prepare(self, evaluator: Any) -> None:
        """Raise now what `measure` would raise of the annotations themselves, whatever is found; by default nothing.

        Asked before anything is detected, and before a run begins that is to be measured.

        Args:
            evaluator: a `COCOEvaluator`.

        Raises:
            UserError: the annotations lack something that the metrics go by, or have it wrong.
        """

    def measure(
        self, evaluator: Any, results: list[dict[str, Any]], image_ids: Iterable[int] | None = None
    ) -> dict[str, float]:
        """The metrics of results.

        Args:
            evaluator: a `COCOEvaluator`, which has the annotations.
            results: COCO results in any order, maybe none: dicts with "image_id", "category_id", "bbox", "score", and
                what the fields of the model add.
            image_ids: the images to measure on; all of the annotations by default. An image without results counts as
                one on which nothing was found.

        Returns:
            `{name: value}` of `names(evaluator.class_names)`.

        Raises:
            UserError: results that are none of these annotations.
        """
        raise NotImplementedError

    def curves(self, evaluator: Any) -> dict[str, Any] | None:
        """Precision over recall of what was measured last, as `COCOEvaluator.precision_recall` has it; None without."""
        return None
