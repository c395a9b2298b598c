"""One self-contained HTML page about a run: metrics, curves, pictures, facts. Nothing external, no script.

The charts are inline SVG (plots.py), the pictures base64 JPEG; colours follow the reader's light or dark
theme. `write_report` makes the page of a training run; what comes later, such as the exports of the demo, adds a
`Section` of its own (`add_section`).
"""

import base64
import contextlib
import dataclasses
import html
import importlib.metadata
import io
import math
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import write_text
from keras_fpn.metrics import families_in, without_family
from keras_fpn.reporting import plots
from keras_fpn.reporting.visualize import to_picture

_SECTIONS_END = "<!-- added sections end here -->"

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1d2126; --soft: #626b75; --line: #dde1e6; --band:
  #f5f6f8; --accent: #3b82c4; }
@media (prefers-color-scheme: dark) { :root { --back: #16191d; --text: #e4e7eb; --soft: #9aa4af; --line:
  #343a42; --band: #1e2228; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 1.5rem 1rem 4rem; background: var(--back); color:
  var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p, figcaption, .note { color: var(--soft); }
p { margin: .25rem 0 .75rem; }
.note { font-size: .85rem; }
.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(105px, 1fr)); gap: .6rem;
  margin-top: 1.2rem; }
.headline div { background: var(--band); border: 1px solid var(--line); border-radius: 8px; padding: .6rem
  .9rem; }
.headline b { display: block; font-size: 1.6rem; font-variant-numeric: tabular-nums; line-height: 1.2; }
.headline span { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space:
  nowrap; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; }
th:first-child, td:first-child { text-align: left; }
td.bar { width: 35%; min-width: 120px; }
td.bar i { display: block; height: .6rem; background: var(--accent); border-radius: 3px; }
table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
table.facts td:first-child { color: var(--soft); width: 9rem; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.charts, .pairs { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%,
  430px), 1fr)); }
.pairs { gap: .6rem; margin-bottom: 1.6rem; }
figure { margin: 0; }
figcaption { font-size: .88rem; margin: 0 0 .3rem; }
svg { display: block; width: 100%; height: auto; color: var(--soft); }
svg text { font-family: inherit !important; }
@media (max-width: 640px) { th, td { padding: .35rem .3rem; font-size: .85rem; } td:first-child {
  white-space: normal; min-width: 5rem; } td.bar { width: 18%; min-width: 40px; } }
.pairs img { display: block; width: 100%; height: auto; border-radius: 4px; }
"""


def write_report(
    path: str | os.PathLike,
    *,
    title: str,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]] | None,
    curves: Mapping[str, Any] | None = None,
    pictures: Iterable[Sequence] = (),
    facts: Mapping[str, Any] | None = None,
    learning_rate: tuple[Sequence[int], Sequence[float]] | None = None,
    subtitle: str = "",
) -> Path:
    """Write the page; the old file stays whole until the new one is complete.

    metrics: `{name: value}` of any metric families, such as the content of metrics.json; the first one's family is
        the headline. -1, None and NaN show as a dash.
    history: rows of results.csv, dicts with "epoch", "loss" and so on ("val_..." for validation). Values
        may be strings; empty ones are left out.
    curves: `{name of a family: what its MetricFamily.curves returns}`.
    pictures: (ground truth, detections) or (caption, ground truth, detections): PIL images, arrays, paths.
    facts: {"duration": ..., ...}; any keys, shown in order. Those of `environment_facts` are added.
    learning_rate: (steps, values) of every step, as `LearningRateLog` keeps them; without, the rows have it.
    Returns the path.
    """
    families, curves = families_in(metrics), curves or {}
    sections = [
        _header(title, subtitle, metrics),
        *(_family_table(family, metrics) for family in families),
        *(_class_table(family, metrics, curves.get(family.name)) for family in families),
        _table_without_family(metrics),
        _charts("Training", plots.training_charts(history, learning_rate)),
        _charts("Precision and recall", _curve_charts(families, curves)),
        _picture_pairs(pictures),
        _SECTIONS_END,
        _facts_table(_with_environment(facts or {})),
    ]
    return _write_sections(path, title, sections)


def write_page(
    path: str | os.PathLike,
    *,
    title: str,
    sections: "Iterable[Section]",
    facts: Mapping[str, Any] | None = None,
    subtitle: str = "",
) -> Path:
    """Write a page of `Section`s, such as that of a table of several runs; the old file stays whole until then.

    facts: as in `write_report`.
    Returns the path.
    """
    parts = [_header(title, subtitle, {}), *(section.to_html() for section in sections)]
    return _write_sections(path, title, [*parts, _SECTIONS_END, _facts_table(_with_environment(facts or {}))])


def _write_sections(path, title, sections):
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )
    write_text(path, page)
    return Path(path)


@dataclasses.dataclass(frozen=True)
class Link:
    """A cell of a table that leads to another page; `target` is a path from the folder of the report."""

    target: str
    text: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page that is added to a report.

    Attributes:
        heading: its title; a section of the same heading is replaced.
        text: a sentence below it.
        head, rows: of a table; cells are text, numbers, None (a dash) or a `Link`.
        notes: small lines below the table.
        charts: (title, SVG) of `plots`.
        pictures: (caption, PIL image, array or path).
    """

    heading: str
    text: str = ""
    head: tuple = ()
    rows: tuple = ()
    notes: tuple = ()
    pictures: tuple = ()
    charts: tuple = ()

    @property
    def anchor(self) -> str:
        """The id of the section in the page."""
        return re.sub(r"\W+", "-", self.heading.lower()).strip("-")

    def to_html(self) -> str:
        """The section, closed in itself."""
        parts = [f'<section id="{self.anchor}"><h2>{html.escape(self.heading)}</h2>']
        parts += [f"<p>{html.escape(self.text)}</p>"] if self.text else []
        parts += [_table(self.head, self.rows)] if self.rows else []
        parts += [f'<p class="note">{html.escape(note)}</p>' for note in self.notes]
        parts += [_figures(self.charts)] if self.charts else []
        figures = "".join(_figure(html.escape(caption), picture) for caption, picture in self.pictures)
        parts += [f'<div class="pairs">{figures}</div>'] if figures else []
        return "".join(parts) + "</section>"


def add_section(path: str | os.PathLike, section: Section) -> Path:
    """Add a `Section` to a report, after those it has and before its facts; the old file stays whole until then.

    Returns the path.

    Raises:
        UserError: there is no report, or it is none of this package.
    """
    path = Path(path)
    try:
        page = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such report; keras-fpn train and keras-fpn demo write one") from None
    if _SECTIONS_END not in page:
        raise UserError(f"{path}: no report of this version; write it anew with keras-fpn train")
    page = re.sub(rf'<section id="{section.anchor}">.*?</section>\n', "", page, flags=re.DOTALL)
    write_text(path, page.replace(_SECTIONS_END, f"{section.to_html()}\n{_SECTIONS_END}"))
    return path


def _header(title, subtitle, metrics):
    cards = "".join(
        f"<div><b>{_number(metrics[name])}</b><span>{html.escape(family.label(name))}</span></div>"
        for family in families_in(metrics)[:1]
        for name in family.cards
        if name in metrics
    )
    below = f"<p>{html.escape(subtitle)}</p>" if subtitle else ""
    headline = f'<div class="headline">{cards}</div>' if cards or metrics else ""
    return f"<h1>{html.escape(title)}</h1>{below}{headline}"


def _family_table(family, metrics):
    if not any(name in metrics for name in family.metrics):
        return ""
    rows = [
        (*texts, *("" if name is None else metrics.get(name) for name in names)) for texts, names in family.report_rows
    ]
    table = f"<h2>{html.escape(family.heading)}</h2>{_table(family.report_head, rows)}"
    return f'{table}<p class="note">{html.escape(family.note)}</p>' if family.note else table


def _class_table(family, metrics, curves):
    names = {name: family.class_of(name) for name in metrics if family.class_of(name) is not None}
    if not names:
        return ""
    classes = (curves or {}).get("classes", {})
    rows = []
    for name, class_name in names.items():
        curve, value = classes.get(class_name, {}), metrics[name]
        share = 100 * min(max(value, 0), 1) if _defined(value) else 0
        bar = f'<td class="bar"><i style="width:{share:.1f}%"></i></td>'
        cells = [value, curve.get("AP50"), curve.get("best_f1"), curve.get("best_threshold")]
        numbers = "".join(f"<td>{_number(cell)}</td>" for cell in cells)
        rows.append(f"<tr><td>{html.escape(class_name)}</td>{bar}{numbers}</tr>")
    shown = html.escape(family.class_prefix.rstrip("/"))
    head = f"<tr><th>class</th><th></th><th>{shown}</th><th>AP50</th><th>best F1</th><th>at score</th></tr>"
    return (
        f'<h2>{html.escape(family.class_heading)}</h2><div class="scroll"><table>{head}{"".join(rows)}</table></div>'
        '<p class="note">Best F1 at IoU 0.5, and the score threshold that gives it.</p>'
    )


def _table_without_family(metrics):
    """The metrics of an extension that is not loaded, under their names."""
    rows = list(without_family(metrics).items())
    return f"<h2>Other metrics</h2>{_table(('', 'value'), rows)}" if rows else ""


def _curve_charts(families, curves):
    """[(title, SVG)]; the titles of all families but the main one say whose they are."""
    charts = []
    for family in families:
        of_family = f"{family.heading}: " if charts else ""
        charts += plots.precision_recall_charts(curves.get(family.name), of_family)
    return charts


def _charts(heading, charts):
    """A section of (title, SVG); "" where there is none."""
    return f"<h2>{heading}</h2>{_figures(charts)}" if charts else ""


def _figures(charts):
    figures = (f"<figure><figcaption>{html.escape(title)}</figcaption>{svg}</figure>" for title, svg in charts)
    return f'<div class="charts">{"".join(figures)}</div>'


def _picture_pairs(pictures):
    rows = []
    for number, item in enumerate(pictures, start=1):
        caption, ground_truth, found = item if len(item) == 3 else (f"image {number}", *item)
        caption = html.escape(str(caption))
        pair = (("ground truth", ground_truth), ("detections", found))
        figures = "".join(_figure(f"{caption}: {kind}", picture) for kind, picture in pair)
        rows.append(f'<div class="pairs">{figures}</div>')
    return "<h2>Pictures</h2>" + "".join(rows) if rows else ""


def _figure(caption, picture):
    """caption: text, escaped."""
    image = f'<img alt="{caption}" loading="lazy" src="{_data_uri(picture)}">'
    return f"<figure><figcaption>{caption}</figcaption>{image}</figure>"


def environment_facts() -> dict[str, str]:
    """{"device", "command", "versions", "date"} of this process, as text."""
    names = ("keras_fpn", "tensorflow", "keras", "numpy", "pycocotools")
    versions = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "device": _device(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "date": time.strftime("%Y-%m-%d"),
    }


def _device():
    names = []
    if "tensorflow" in sys.modules:  # never import it for a line of text
        config = sys.modules["tensorflow"].config
        gpus = config.list_physical_devices("GPU")
        names = [config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return "; ".join([*names, f"{processor}, {cores} cores"])


def _with_environment(facts):
    return {**facts, **{name: value for name, value in environment_facts().items() if name not in facts}}


def _facts_table(facts):
    rows = []
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        value = html.escape(str(value))
        shown = f"<code>{value}</code>" if name == "command" else value
        rows.append(f"<tr><td>{html.escape(str(name))}</td><td>{shown}</td></tr>")
    return f'<h2>Facts</h2><table class="facts">{"".join(rows)}</table>' if rows else ""


def _table(head, rows):
    """Text and numbers; a metric that is None shows as a dash, "" as nothing; a line break in a text stays one."""
    lines = ["<tr>" + "".join(f"<th>{_cell(cell)}</th>" for cell in head) + "</tr>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _cell(cell):
    if isinstance(cell, Link):
        return f'<a href="{html.escape(cell.target)}">{html.escape(cell.text)}</a>'
    return html.escape(cell).replace("\n", "<br>") if isinstance(cell, str) else _number(cell)


def _defined(value):
    return value is not None and math.isfinite(value) and value != -1


def _number(value):
    return f"{value:.3f}" if _defined(value) else "&ndash;"


def _data_uri(picture):
    if isinstance(picture, (str, Path)):
        picture = Image.open(picture)
    buffer = io.BytesIO()
    to_picture(picture).save(buffer, "JPEG", quality=84, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
