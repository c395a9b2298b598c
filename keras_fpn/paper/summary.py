"""The runs of a table as numbers: mean and spread over the seeds, and whether what the paper found holds here."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_fpn.console.files import read_json
from keras_fpn.paper import findings
from keras_fpn.paper.tables import Table

if TYPE_CHECKING:
    from keras_fpn.paper.experiments import Experiment


@dataclasses.dataclass(frozen=True)
class Spread:
    """Figures of several seeds: their mean, and their standard deviation (None of a single one)."""

    mean: float
    deviation: float | None

    def __str__(self):
        return f"{self.mean:.1f}" if self.deviation is None else f"{self.mean:.1f} ± {self.deviation:.1f}"


def spread(values: Sequence[float | None]) -> Spread | None:
    """The `Spread` of figures; None where one is undefined or there are none."""
    defined = [value for value in values if value is not None]
    if not values or len(defined) < len(values):
        return None
    return Spread(statistics.mean(defined), statistics.stdev(defined) if len(defined) > 1 else None)


def figures(table: Table, planned: "Mapping[str, Sequence[Experiment]]") -> dict[str, dict[str, list[float | None]]]:
    """`{row: {column: [figure of each seed]}}`, in percent, None where a metric is undefined."""
    found = {}
    for row, experiments in planned.items():
        metrics = [read_json(experiment.part_dir / "metrics.json") for experiment in experiments]
        found[row] = {
            column: [None if each.get(name) is None else 100 * each[name] for each in metrics]
            for column, name in table.metrics.items()
        }
    return found


def all_findings(planned: "Mapping[str, Sequence[Experiment]]") -> dict[str, list[dict[str, Any]]]:
    """`{row: [findings of each seed]}`."""
    return {
        row: [findings.read(experiment.part_dir) for experiment in experiments]
        for row, experiments in planned.items()
    }


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The row that the paper finds best against another, in one column.

    Attributes:
        better, worse: names of rows.
        column: of the table.
        margin: `Spread` of the differences, seed by seed, in points.
        wins, seeds: in how many of the seeds it is ahead.
        paper: the paper's own difference, in points.
    """

    better: str
    worse: str
    column: str
    margin: Spread
    wins: int
    seeds: int
    paper: float | None

    @property
    def holds(self) -> bool:
        """Whether the mean difference has the paper's sign, and every seed with it."""
        return self.wins == self.seeds

    @property
    def verdict(self) -> str:
        """"holds", "holds on average" or "does not hold"."""
        if self.holds:
            return "holds"
        return "holds on average alone" if self.margin.mean > 0 else "does not hold"


def comparisons(table: Table, found: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[Comparison]:
    """The `Comparison`s that the paper's table stands for, in the order of its columns and rows."""
    made = []
    for column in filter(None, (table.headline, table.small)):
        for worse in table.worse:
            pairs = list(zip(found[table.better][column], found[worse][column], strict=True))
            if any(value is None for pair in pairs for value in pair):
                continue
            margins = [better - other for better, other in pairs]
            paper = table.figure(table.better, column) - table.figure(worse, column)  # type: ignore[operator]
            wins = sum(margin > 0 for margin in margins)
            margin: Any = spread(margins)
            made.append(Comparison(table.better, worse, column, margin, wins, len(margins), paper))
    return made
