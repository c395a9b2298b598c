"""One self-contained HTML page about a run: metrics, curves, pictures, facts. Nothing external, no script.

What the page shows is prepared here; report.html.j2 writes it, of the parts in parts.html.j2, and escapes every text.
The charts are inline SVG (plots.py), the pictures base64 JPEG; colours follow the reader's light or dark theme.
`write_report` makes the page of a training run; what comes later, such as the exports of the demo, adds a `Section`
of its own (`add_section`).
"""

import base64
import contextlib
import dataclasses
import functools
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

import jinja2
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import write_text
from keras_fpn.console.picture_files import FORMATS
from keras_fpn.metrics import families_in, without_family
from keras_fpn.reporting import plots
from keras_fpn.reporting.visualize import to_picture

_SECTIONS_END = "<!-- added sections end here -->"


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
        *(_family_section(family, metrics) for family in families),
        *(_class_section(family, metrics, curves.get(family.name)) for family in families),
        Section("Other metrics", head=("", "value"), rows=tuple(without_family(metrics).items())),
        Section("Training", charts=tuple(plots.training_charts(history, learning_rate))),
        Section("Precision and recall", charts=tuple(_curve_charts(families, curves))),
    ]
    return _write(
        path,
        facts,
        title=title,
        subtitle=subtitle,
        cards=_cards(families, metrics) if metrics else None,
        sections=[section for section in sections if section.rows or section.charts],
        pairs=_pairs(pictures),
    )


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
    return _write(path, facts, title=title, subtitle=subtitle, added=sections)


def _write(path, facts, **shown):
    page = {"cards": None, "sections": [], "pairs": [], "added": [], "sections_end": _SECTIONS_END, **shown}
    write_text(path, templates().get_template("report.html.j2").render(page, facts=all_facts(facts or {})))
    return Path(path)


def _held_by_utf_8(value):
    """A value for a page: half a surrogate pair, which names in JSON and of files may hold, is spelt out."""
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError:
        return value.encode(errors="backslashreplace").decode()
    return value


@functools.cache
def templates() -> jinja2.Environment:
    """The templates of this room, which escape every text and know what the parts of a page need."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_fpn.reporting", "."),
        autoescape=True,  # chosen by the ending of a name, it would leave out .j2
        undefined=jinja2.StrictUndefined,
        finalize=_held_by_utf_8,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["data_uri"] = _data_uri
    templates.tests["measured"] = _measured
    return templates


@dataclasses.dataclass(frozen=True)
class Link:
    """A cell of a table that leads to another page; `target` is a path from the folder of the report."""

    target: str
    text: str


@dataclasses.dataclass(frozen=True)
class Bar:
    """A cell of a table that shows a share, 0..1, as a bar."""

    share: float


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
        parts: Any = templates().get_template("parts.html.j2").module
        return str(parts.section(self))


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


def _cards(families, metrics):
    """[(label, value)] of the headline: the cards of the main family, and what others have beside them."""
    main = [(family.label(name), name) for family in families[:1] for name in family.cards]
    others = [(name, name) for family in families[1:] for name in family.beside]
    return [(label, metrics[name]) for label, name in main + others if name in metrics]


def _family_section(family, metrics):
    rows = [
        (*texts, *("" if name is None else metrics.get(name) for name in names)) for texts, names in family.report_rows
    ]
    is_measured = any(name in metrics for name in family.metrics)
    return Section(
        family.heading,
        head=family.report_head,
        rows=tuple(rows) if is_measured else (),
        notes=(family.note,) if family.note else (),
    )


def _class_section(family, metrics, curves):
    classes = (curves or {}).get("classes", {})
    rows = []
    for name, value in metrics.items():
        if (class_name := family.class_of(name)) is not None:
            bar = Bar(min(max(value, 0), 1) if _measured(value) else 0)
            curve = classes.get(class_name, {})
            rows.append((class_name, bar, value, *(curve.get(key) for key in ("AP50", "best_f1", "best_threshold"))))
    return Section(
        family.class_heading,
        head=("class", "", (family.class_prefix or "").rstrip("/"), "AP50", "best F1", "at score"),
        rows=tuple(rows),
        notes=("Best F1 at IoU 0.5, and the score threshold that gives it.",),
    )


def _curve_charts(families, curves):
    """[(title, SVG)]; the titles of all families but the main one say whose they are."""
    charts = []
    for family in families:
        of_family = f"{family.heading}: " if charts else ""
        charts += plots.precision_recall_charts(curves.get(family.name), of_family)
    return charts


def _pairs(pictures):
    """[((caption, ground truth), (caption, detections))]."""
    items = (item if len(item) == 3 else (f"image {number}", *item) for number, item in enumerate(pictures, start=1))
    return [
        ((f"{caption}: ground truth", ground_truth), (f"{caption}: detections", found))
        for caption, ground_truth, found in items
    ]


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


def all_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a page: those given, then those of the environment that they leave out."""
    environment = {name: value for name, value in environment_facts().items() if name not in facts}
    return {
        name: ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
        for name, value in {**facts, **environment}.items()
    }


def _measured(value):
    return value is not None and math.isfinite(value) and value != -1


def _data_uri(picture):
    if isinstance(picture, (str, Path)):
        picture = Image.open(picture, formats=FORMATS)
    buffer = io.BytesIO()
    to_picture(picture).save(buffer, "JPEG", quality=84, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
