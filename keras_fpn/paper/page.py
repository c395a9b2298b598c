"""A table of the paper, written: Markdown, CSV, and a page with curves and pictures."""

import csv
import io
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_fpn.console.files import write_text
from keras_fpn.paper import curve, pictures, summary
from keras_fpn.paper.tables import Table
from keras_fpn.reporting import report

if TYPE_CHECKING:
    from keras_fpn.paper.experiments import Experiment, Setting

_NOMINAL = "800x1000"
_LONG_LABEL = 24  # letters


def write(table: Table, planned: "Mapping[str, Sequence[Experiment]]", setting: "Setting") -> list[Path]:
    """Write OUT/<table>.md, .csv and .html of finished runs; returns their paths.

    Args:
        table: a `tables.Table`.
        planned: `{row: [experiment of each seed]}`, all finished.
        setting: of the experiments.
    """
    found, other = summary.figures(table, planned), summary.all_findings(planned)
    head, rows = _cells(table, found, other)
    compared = summary.comparisons(table, found)
    facts = _facts(planned, setting)
    lines = [f"# {_title(table)}", "", table.caption, _reading(setting), ""]
    lines += [f"* {name}: {_code(name, value)}" for name, value in facts.items()]
    lines += ["", *_markdown(head, rows), ""]
    lines += ["## What the paper found, and here", "", *_markdown(*_comparison_cells(table, compared)), ""]
    lines += [_conclusion(table, compared), ""]
    sections = [
        report.Section("Figures", head=head, rows=rows, notes=(_reading(setting),)),
        report.Section(
            "What the paper found, and here", _conclusion(table, compared), *_comparison_cells(table, compared)
        ),
        *_curve_sections(table, other),
        *pictures.sections(table, planned),
    ]
    paths = [setting.out / f"{table.name}.{ending}" for ending in ("md", "csv", "html")]
    write_text(paths[0], "\n".join(lines))
    write_text(paths[1], _csv(table, found, other))
    report.write_page(paths[2], title=_title(table), subtitle=table.caption, sections=sections, facts=facts)
    return paths


def _title(table):
    return f"Table {table.name.removeprefix('table')} of the FPN paper"


def _reading(setting):
    seeds = _seeds(setting) if setting.seeds == 1 else f"mean ± standard deviation of {_seeds(setting)}"
    paper = "on COCO at 800 pixels, with ResNet-50 where no other is named"
    return f"Figures in percent: ours, {seeds}; in brackets the paper's, {paper}."


def _facts(planned, setting):
    """Origin of the figures; date, machine and versions are `report.environment_facts`."""
    firsts = {row: experiments[0] for row, experiments in planned.items()}
    config = next(iter(firsts.values())).config
    data = "the embedded data set" if setting.is_embedded else config.data.val.annotations
    environment = report.environment_facts()
    return {
        "command": environment["command"],
        "commit": _commit(),
        "date": environment["date"],
        "data": f"{data}; shorter side {config.model.resize.min_side} px",
        "backbone": _alike({row: _backbone(each.config) for row, each in firsts.items()}),
        "training": f"{_alike({row: _length(each) for row, each in firsts.items()})}; {_seeds(setting)} a row",
        "settings of the user": ", ".join(setting.overrides) or "none",
        "machine": environment["device"],
        "versions": environment["versions"],
    }


def _backbone(config):
    backbone = config.model.backbone
    start = config.training.weights or dict(backbone).get("weights")
    start = f"from {Path(start).name}" if start else "from random weights"
    width = f"width {backbone.width}, " if hasattr(backbone, "width") else ""
    return f"{backbone.name}, {width}{start}"


def _length(experiment):
    lengths = [config.training for _, config in experiment.trainings]
    counts = [f"{each.steps} steps" if each.steps else f"{each.epochs} epochs" for each in lengths]
    return f"{' + '.join(counts)} of {experiment.config.data.batch_size} images"


def _seeds(setting):
    return "one seed" if setting.seeds == 1 else f"{setting.seeds} seeds"


def _alike(facts):
    """`{row: text}` as one text: what the first says, and what each that differs from it says."""
    first = next(iter(facts.values()))
    others = [f"{row}: {text}" for row, text in facts.items() if text != first]
    return "; ".join([first, *others])


def _commit():
    """Of the source that is running, where it is a checkout."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments):
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:  # installed into a folder of another project
            return "unknown: not a checkout"
        commit = git("rev-parse", "HEAD")
        return f"{commit} with changes" if git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown: not a checkout"


def _code(name, value):
    return f"`{value}`" if name in ("command", "commit") else value


def _cells(table, found, other):
    """(column names, rows of text) of the table, in the paper's order."""
    is_rpn = all("anchors" in each[0] for each in other.values())  # table 5 mixes models with and without
    size = next((each[0]["size"] for each in other.values() if "size" in each[0]), "")
    anchors = (f"# anchors\nat {_NOMINAL}", f"at\n{size}") if is_rpn else ()
    head = ("row", table.fact_columns[0], *anchors, *table.fact_columns[1:], *table.metrics, "ms an\nimage")
    rows = []
    for row in table.rows:
        counts = tuple(f"{other[row.name][0]['anchors'][each]:,}" for each in (_NOMINAL, size)) if is_rpn else ()
        figures = tuple(
            f"{_shown(summary.spread(found[row.name][column]))}\n({_shown(paper)})".replace(" ±", "\n±")
            for column, paper in zip(table.metrics, row.figures, strict=True)
        )
        milliseconds = other[row.name][0].get("milliseconds")
        shown = "–" if milliseconds is None else f"{milliseconds:.0f}"
        rows.append((_broken(row.label), row.facts[0], *counts, *row.facts[1:], *figures, shown))
    return head, tuple(rows)


def _broken(label):
    """A long label on two lines."""
    return label.replace(", ", ",\n") if len(label) > _LONG_LABEL else label


def _shown(figure):
    if figure is None:
        return "–"
    return str(figure) if isinstance(figure, summary.Spread) else f"{figure:.1f}"


def _comparison_cells(table, compared):
    head = ("expected", "in", "difference here", "in the paper", "seeds ahead", "")
    rows = [
        (
            f"{_brief(each.better)} above {_brief(each.worse)}",
            each.column,
            _signed(each.margin),
            _signed(summary.Spread(each.paper, None)),
            f"{each.wins} of {each.seeds}",
            each.verdict,
        )
        for each in compared
    ]
    return head, tuple(rows)


def _brief(row):
    return f"({row})" if len(row) == 1 else row


def _signed(figure):
    return f"{'+' if figure.mean > 0 else ''}{figure}"


def _conclusion(table, compared):
    """In words: how many of the paper's orderings came out, and whether most of all on small objects."""
    lines = []
    for column in filter(None, (table.headline, table.small)):
        ours = [each for each in compared if each.column == column]
        if not ours:  # undefined in these data
            continue
        failed = [_brief(each.worse) for each in ours if not each.holds]
        line = f"{column}: {_brief(table.better)} is ahead of {len(ours) - len(failed)} of {len(ours)} in every seed"
        lines.append(f"{line}; not of {', '.join(failed)}." if failed else f"{line}.")
    if table.small and compared:
        margins = [
            statistics.mean([each.margin.mean for each in compared if each.column == column] or [0.0])
            for column in (table.small, table.headline)
        ]
        most = "most of all on small ones" if margins[0] > margins[1] else "not most of all on small ones"
        lines.append(
            f"Its mean lead is {margins[0]:+.1f} points on small objects and {margins[1]:+.1f} on all: {most}."
        )
    return " ".join(lines)


def _markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines]


def _csv(table, found, other):
    """One line for each row: the paper's figures, ours, their spread, and every seed's."""
    columns = [f"{column}{kind}" for column in table.metrics for kind in ("", " deviation", " paper", " seeds")]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    head = ["row", "title", *table.fact_columns, "anchors 800x1000", "anchors", "milliseconds", "parameters"]
    writer.writerow([*head, *columns])
    for row in table.rows:
        first = other[row.name][0]
        anchors = list(first.get("anchors", {}).values())
        facts = [anchors[0] if anchors else "", anchors[-1] if anchors else ""]
        facts += [_rounded(first.get("milliseconds"), 2), first.get("parameters", "")]
        figures = []
        for column, paper in zip(table.metrics, row.figures, strict=True):
            values = found[row.name][column]
            ours = summary.spread(values)
            figures += [_rounded(ours and ours.mean, 3), _rounded(ours and ours.deviation, 3), paper]
            figures.append(" ".join(str(_rounded(value, 3)) for value in values))
        writer.writerow([row.name, row.title, *row.facts, *facts, *figures])
    return text.getvalue()


def _rounded(value, digits):
    return "" if value is None else round(value, digits)


def _curve_sections(table, other):
    curves = {}
    for row in table.rows:
        measured = [each["curve"] for each in other[row.name] if "curve" in each]
        if measured:
            curves[row.label] = curve.mean(measured)
    charts = tuple(curve.charts(curves)) if curves else ()
    text = "Average recall against the number of proposals, mean of the seeds."
    return [report.Section("Recall and the number of proposals", text, charts=charts)] if charts else []
