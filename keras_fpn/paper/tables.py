"""Figures of the paper's tables 1, 2, 3, 5 and 6 (arXiv 1612.03144v2): rows, columns and figures, in percent.

Figures are those on COCO minival (table 6: the first 5000 images of val2014), with ResNet-50 where nothing else is
said. Rows of other people's systems are left out.
"""

import dataclasses

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.metrics import AREAS, PROPOSALS, SEGMENTS


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        name: the letter in the paper, or what stands for it.
        title: what the paper calls it.
        facts: what the columns left of the figures say.
        figures: the paper's, in the order of the table's metrics; None where it prints none.
    """

    name: str
    title: str
    facts: tuple[str, ...]
    figures: tuple[float | None, ...]

    @property
    def label(self) -> str:
        """Letter and title: "(c) FPN"."""
        return f"({self.name}) {self.title}" if len(self.name) == 1 else self.title


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        name: "table1".
        caption: one sentence.
        fact_columns: names of the columns left of the figures.
        metrics: `{column: name in metrics.json}`.
        rows: of `Row`.
        better, worse: the row that the paper finds best, and those that it is compared with.
        headline, small: the columns in which it is: of all objects, and of the small ones (None: not compared).
    """

    name: str
    caption: str
    fact_columns: tuple[str, ...]
    metrics: dict[str, str]
    rows: tuple[Row, ...]
    better: str
    worse: tuple[str, ...]
    headline: str
    small: str | None = None

    def row(self, name: str) -> Row:
        """The `Row` of this name."""
        return next(row for row in self.rows if row.name == name)

    def figure(self, row: str, column: str) -> float | None:
        """The paper's figure, in percent, or None."""
        return self.row(row).figures[list(self.metrics).index(column)]


_RECALLS = {
    "AR100": PROPOSALS.metric(100),
    "AR1k": PROPOSALS.metric(1000),
    "AR1k s": PROPOSALS.metric(1000, "s"),
    "AR1k m": PROPOSALS.metric(1000, "m"),
    "AR1k l": PROPOSALS.metric(1000, "l"),
}
_PRECISIONS = {"AP@.5": "AP50", "AP": "AP", "APs": "APs", "APm": "APm", "APl": "APl"}
_SEGMENT_RECALLS = {f"AR{area}": SEGMENTS.metric(1000, area) for area in AREAS}
_ABLATION = ("feature", "lateral?", "top-down?")
_YES = "✓"

_TABLE_1 = Table(
    "table1",
    "Bounding box proposals of the region proposal network.",
    _ABLATION,
    _RECALLS,
    (
        Row("a", "baseline on conv4", ("C4", "", ""), (36.1, 48.3, 32.0, 58.7, 62.2)),
        Row("b", "baseline on conv5", ("C5", "", ""), (36.3, 44.9, 25.3, 55.5, 64.2)),
        Row("c", "FPN", ("{Pk}", _YES, _YES), (44.0, 56.3, 44.9, 63.4, 66.2)),
        Row("d", "bottom-up pyramid", ("{Pk}", _YES, ""), (37.4, 49.5, 30.5, 59.9, 68.0)),
        Row("e", "top-down pyramid, w/o lateral", ("{Pk}", "", _YES), (34.5, 46.1, 26.5, 57.4, 64.7)),
        Row("f", "only finest level", ("P2", _YES, _YES), (38.4, 51.3, 35.1, 59.7, 67.6)),
    ),
    better="c",
    worse=("a", "b", "d", "e", "f"),
    headline="AR1k",
    small="AR1k s",
)

_TABLE_2 = Table(
    "table2",
    "Fast R-CNN on fixed proposals, those of table 1 (c).",
    ("feature", "head", "lateral?", "top-down?"),
    _PRECISIONS,
    (
        Row("a", "baseline on conv4", ("C4", "conv5", "", ""), (54.7, 31.9, 15.7, 36.5, 45.5)),
        Row("b", "baseline on conv5", ("C5", "2fc", "", ""), (52.9, 28.8, 11.9, 32.4, 43.4)),
        Row("c", "FPN", ("{Pk}", "2fc", _YES, _YES), (56.9, 33.9, 17.8, 37.7, 45.8)),
        Row("d", "bottom-up pyramid", ("{Pk}", "2fc", _YES, ""), (44.9, 24.9, 10.9, 24.4, 38.5)),
        Row("e", "top-down pyramid, w/o lateral", ("{Pk}", "2fc", "", _YES), (54.0, 31.3, 13.3, 35.2, 45.3)),
        Row("f", "only finest level", ("P2", "2fc", _YES, _YES), (56.3, 33.4, 17.3, 37.3, 45.6)),
    ),
    better="c",
    worse=("a", "b", "d", "e", "f"),
    headline="AP",
    small="APs",
)

_TABLE_3 = Table(
    "table3",
    "Faster R-CNN, features not shared: proposals and detections of one kind of features, in two networks.",
    ("proposals", "feature", "head", "lateral?", "top-down?"),
    _PRECISIONS,
    (
        Row("a", "baseline on conv4", ("RPN, C4", "C4", "conv5", "", ""), (53.1, 31.6, 13.2, 35.6, 47.1)),
        Row("b", "baseline on conv5", ("RPN, C5", "C5", "2fc", "", ""), (51.7, 28.0, 9.6, 31.9, 43.1)),
        Row("c", "FPN", ("RPN, {Pk}", "{Pk}", "2fc", _YES, _YES), (56.9, 33.9, 17.8, 37.7, 45.8)),
    ),
    better="c",
    worse=("a", "b"),
    headline="AP",
    small="APs",
)

_TABLE_5 = Table(
    "table5",
    "Faster R-CNN with and without sharing the features, by the four steps of training.",
    ("backbone", "share features?"),
    {"AP@.5": "AP50", "AP": "AP"},
    (
        Row("r50_no", "ResNet-50, not shared", ("ResNet-50", "no"), (56.9, 33.9)),
        Row("r50_yes", "ResNet-50, shared", ("ResNet-50", "yes"), (57.2, 34.3)),
        Row("r101_no", "ResNet-101, not shared", ("ResNet-101", "no"), (58.0, 35.0)),
        Row("r101_yes", "ResNet-101, shared", ("ResNet-101", "yes"), (58.2, 35.2)),
    ),
    better="r50_yes",
    worse=("r50_no",),
    headline="AP",
)

_TABLE_6 = Table(
    "table6",
    "Segment proposals: average recall of 1000 masks an image.",
    ("mask heads", "mask", "schedule"),
    _SEGMENT_RECALLS,
    (
        Row("5x5", "single MLP [5x5]", ("5x5", "14x14", "1x"), (43.4, 32.5, 49.2, 53.7)),
        Row("7x7", "single MLP [7x7]", ("7x7", "14x14", "1x"), (43.5, 30.0, 49.6, 57.8)),
        Row("dual", "dual MLP [5x5, 7x7]", ("5x5, 7x7", "14x14", "1x"), (45.7, 31.9, 51.5, 60.8)),
        Row("dual_28", "+ 2x mask resolution", ("5x5, 7x7", "28x28", "1x"), (46.7, 31.7, 53.1, 63.2)),
        Row("dual_28_2x", "+ 2x train schedule", ("5x5, 7x7", "28x28", "2x"), (48.1, 32.6, 54.2, 65.6)),
    ),
    better="dual",
    worse=("5x5", "7x7"),
    headline="AR",
)

TABLES = {table.name: table for table in (_TABLE_1, _TABLE_2, _TABLE_3, _TABLE_5, _TABLE_6)}


def table(name: str) -> Table:
    """The `Table` of this name.

    Raises:
        UserError: there is none, or none that is an experiment of this package.
    """
    if name not in TABLES:
        raise UserError(f"paper {name}: no such table{nearest(name, TABLES)}")
    return TABLES[name]
