"""The page of a check of the data: what was found with its pictures, then how the data are distributed."""

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from keras_fpn.console.files import write_text
from keras_fpn.data.checks.checking import Checked
from keras_fpn.data.checks.distributions import class_sizes, histograms
from keras_fpn.data.checks.finding import SEVERITIES, Finding
from keras_fpn.data.objects import shown
from keras_fpn.reporting import plots
from keras_fpn.reporting.offenders import offender_pictures
from keras_fpn.reporting.report import Bar, Section, all_facts, templates

_MOST_CLASSES = 100  # in the table
_MOST_WITH_PICTURES = 25  # findings: a page of them has some megabytes
_HEAD = ("annotation", "image", "file", "class", "box", "")


def write_check_page(
    path: str | os.PathLike,
    data: str | os.PathLike,
    checked: Checked,
    scales: Any,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        data: name of the data, for the title.
        scales: how the objects lie on anchors and levels, a `training.anchor_fit.Scales`.
        facts: shown at the end, with those of the machine.
    """
    found = [
        _finding(finding, number < _MOST_WITH_PICTURES) for number, finding in enumerate(checked.findings)
    ]
    page = {
        "title": f"Data check: {data}", "subtitle": "", "cards": _cards(checked), "findings": found,
        "sections": [*_distributions(checked), *_classes(checked), *_anchors(scales.fits), *_levels(scales.levels)],
        "proposal": None if scales.proposal is None else (_title(scales.proposal_words), scales.proposal.words),
        "pairs": [], "added": [], "sections_end": "",
    }  # fmt: skip
    text = templates().get_template("data_check.html.j2").render(page, facts=all_facts(facts or {}))
    write_text(path, text)
    return Path(path)


def _cards(checked: Checked):
    tables = [subject.table for subject in checked.subjects]
    counts = {
        f"{severity}s": sum(each.kind.severity == severity for each in checked.findings) for severity in SEVERITIES
    }
    counts |= {
        "images": sum(len(table.images) for table in tables), "objects": sum(len(table.rows) for table in tables),
        "classes": max(len(table.categories) for table in tables),
    }  # fmt: skip
    return [(name, f"{count:,}") for name, count in counts.items()]


def _finding(finding: Finding, with_pictures: bool) -> dict[str, Any]:
    columns = [
        (_text(each.annotation_id), _text(each.image_id), each.file_name or "", each.class_name or "",
         _text(each.box), each.detail)
        for each in finding.examples
    ]  # fmt: skip
    used = [number for number in range(len(_HEAD)) if any(row[number] for row in columns)]
    return {
        "severity": finding.kind.severity, "half": finding.half, "words": finding.words, "mend": finding.kind.mend,
        "head": tuple(_HEAD[number] for number in used),
        "rows": [tuple(shown(row[number]) for number in used) for row in columns] if used else [],
        "pictures": offender_pictures(finding.examples) if with_pictures else [],
    }  # fmt: skip


def _text(value) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(_number(item) if isinstance(item, int | float) else repr(item) for item in value)
    return str(value)


def _number(value: float) -> str:
    try:
        return f"{value:g}"
    except OverflowError:  # JSON has whole numbers that no float holds
        return f"{Decimal(value).normalize():.6g}"


def _distributions(checked: Checked) -> list[Section]:
    of_halves = {subject.table.name: histograms(subject) for subject in checked.subjects}
    charts = []
    for name in dict.fromkeys(name for found in of_halves.values() for name in found):
        of_one = {half: found[name] for half, found in of_halves.items() if sum(found[name].counts)}
        if of_one:
            first = next(iter(of_one.values()))
            labels = first.labels
            charts.append((_title(first.title), plots.share_chart(first.title, labels, _counts(of_one))))
    return [Section("Distributions", charts=tuple(charts))] if charts else []


def _title(text):
    return text[0].upper() + text[1:]


def _counts(of_halves):
    return {half: histogram.counts for half, histogram in of_halves.items()}


def _classes(checked: Checked) -> list[Section]:
    of_halves = {subject.table.name: class_sizes(subject.table) for subject in checked.subjects}
    names = list(dict.fromkeys(name for found in of_halves.values() for name in found))
    most = max((count for found in of_halves.values() for count in found.values()), default=0)
    if not most:
        return []
    rows = [
        (name, Bar(next(iter(of_halves.values())).get(name, 0) / most),
         *(f"{found.get(name, 0):,}" for found in of_halves.values()))
        for name in names[:_MOST_CLASSES]
    ]  # fmt: skip
    more = (f"And {len(names) - _MOST_CLASSES} more classes.",) if len(names) > _MOST_CLASSES else ()
    return [Section("Objects of each class", head=("class", "", *of_halves), rows=tuple(rows), notes=more)]


def _anchors(fits: Mapping[str, Any]) -> list[Section]:
    sections = []
    for name, fit in fits.items():
        rows = [
            (group.name, Bar(group.unreached / group.objects), f"{group.objects:,}", f"{group.unreached:,}",
             f"{100 * group.unreached / group.objects:.1f} %")
            for group in (*fit.by_side, *fit.by_ratio)
        ]  # fmt: skip
        text = (
            f"{fit.unreached:,} of {fit.objects:,} objects ({100 * fit.share:.1f} %) have an IoU below 0.5 with every"
            " anchor, after the resize: by the root of their area, and by height over width."
        )
        head = ("objects", "share that no anchor reaches", "objects", "not reached", "share")
        sections.append(Section(f"Objects and anchors, {name}", text, head=head, rows=tuple(rows)))
    return sections


def _levels(levels: Mapping[str, Mapping[str, int]]) -> list[Section]:
    halves = {name: found for name, found in levels.items() if found}
    if not halves:
        return []
    names = next(iter(halves.values()))
    rows = [
        (level, Bar(first / max(sum(names.values()), 1)),
         *(f"{found[level]:,} ({100 * found[level] / max(sum(found.values()), 1):.1f} %)" for found in halves.values()))
        for level, first in names.items()
    ]  # fmt: skip
    text = "Equation 1 of the paper: k0 + log2 of the root of the area over the canonical size, rounded down."
    return [Section("Level that each object is read from", text, head=("level", "", *halves), rows=tuple(rows))]
