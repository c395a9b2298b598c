"""The table of `make parity`: models down, stages across, the largest difference in each."""

import datetime
import json

import instance_table
from rich.console import Console
from rich.table import Table

BOUNDS = {
    **dict.fromkeys(("pixels", "taps", "pyramid", "RPN logits", "RPN deltas"), 1e-4),
    "anchors": 0.0,
    **dict.fromkeys(("pooled", "class logits", "box deltas"), 1e-4),
    **dict.fromkeys(("dense logits", "dense boxes", "centre-ness", "losses"), 1e-4),
    "mask cells": 1e-2,
    "--tta masks": 1e-3,
    "gradients": 1e-3,
    "live gradients": 1e-3,
}
BOX, SCORE, ORDER = 0.05, 1e-4, 1e-4
# Lists of boxes that are matched, and those whose scores are compared, with their headings.
LISTS = {"proposals": "proposals", "detections": "boxes", "augmented": "--tta boxes"}
SCORED = {"detections": "scores", "augmented": "--tta scores"}
LEGIBLE = 320  # columns of the table
NOTE = """\
Each cell is the largest difference over all pictures (480x640, 427x640, 333x500, 800x1333 one by one, and the first \
three in a batch), from the JPEG file on. Pixels to box deltas: |a - b| / (|b| + mean |b|), bound 1e-4; anchors: no \
bit may differ, nor of the cells around FCOS's points. Pooled features and the box head are given the reference's \
proposals, the further box heads of a cascade the boxes that the reference's head before them gave. Dense: the head of \
a detector without proposals, of all levels, its boxes as deltas or as distances. Proposals: largest coordinate \
difference, bound 0.05 px; in brackets how many of all stand in another order, by which difference of their scores at \
most (bound 1e-4, logits of detectron2 and probabilities of torchvision), and how many only one side has because a \
decision was rounding's, for one of the six reasons that matching.py checks; any other box that one side lacks puts \
the row outside. Detections: pixels of the file, bound 0.05 px; scores 1e-4; classes and counts equal. One training \
step on the same sampled anchors and RoIs: the losses, relative, 1e-4, and gradients of six or more weights, |a - b| / \
|b| in norm, 1e-3. --tta: two sizes of one picture and their mirror images, merged; masks are the mean of the passes, \
absolute, 1e-3. Mask cells: of what detectron2 rasterises of polygons in the sampled RoIs, the share that this \
package has otherwise, bound 1 %; both losses are of detectron2's. Gradients are in float64 on both sides, boxes in \
float32 here: in float32 a ReLU whose input is within rounding of 0 may let a gradient through on one side alone, \
and move it by some thousandths. Of live batch norm (v2, all of it trained) the losses are by the batch's statistics \
and the gradients by the file's, where RoIs are pooled; live gradients are by the batch's, of the RPN's losses back to \
the first layer, and of the heads of RoIs back to the pooled features. Without detectron2 itself, its gradients are in \
float32."""


def results(folder, models):
    """Results that compare.py wrote of the models, `{name: dict or None}`."""
    paths = {model.name: folder / "results" / f"{model.name}.json" for model in models}
    return {name: json.loads(path.read_text()) if path.is_file() else None for name, path in paths.items()}


def row(result):
    """`[(text, is inside)]` of a model."""
    cells = []
    for stage, bound in BOUNDS.items():
        value = result["differences"].get(stage)
        cells.append(("", True) if value is None else (_number(value), value <= bound))
    for name in LISTS:
        found = result["matches"].get(name)
        cells.append(("", True) if found is None else _boxes(found, result["counts"][name]))
    for name in SCORED:
        found = result["matches"].get(name)
        cells.append(("", True) if found is None else (_number(found["scores"]), found["scores"] <= SCORE))
    return cells


def _number(value):
    return "0" if value == 0 else f"{value:.1e}"


def _boxes(found, count):
    inside = found["boxes"] <= BOX and found["unmatched"] == 0 and found["gap"] <= ORDER
    text = f"{found['boxes']:.4f} px"
    notes = []
    if found["swapped"]:
        notes.append(f"{found['swapped']} of {count} swapped by {_number(found['gap'])}")
    if found["excused"]:
        notes.append(f"{found['excused']} excused")
    text += f" ({', '.join(notes)})" if notes else ""
    if found["unmatched"]:
        text += f", {found['unmatched']} unmatched"
    return text, inside


def headings():
    return ["model", *BOUNDS, *LISTS.values(), *SCORED.values()]


def show(found):
    """Print the tables; returns the names of the models that are outside or were not compared."""
    console = Console(width=max(Console().width, LEGIBLE))  # no name cut short, and no figure
    bad = [name for name, result in found.items() if result is None]
    rows, instance_rows = _rows(found)
    for title, names, cells in (
        ("Differences from the reference", headings(), rows + [[(name, True), ("no result", False)] for name in bad]),
        ("Of each detection", instance_table.HEADINGS, instance_rows),
    ):
        table = Table(title=title)
        for heading in names:
            table.add_column(heading, no_wrap=heading == "model")
        for row_cells in cells:
            table.add_row(*(text if inside else f"[bold red]{text} OUTSIDE[/]" for text, inside in row_cells))
            if not all(inside for _, inside in row_cells):
                bad.append(row_cells[0][0])
        if cells:
            console.print(table)
    console.print(NOTE)
    console.print(instance_table.NOTE)
    return list(dict.fromkeys(bad))


def _rows(found):
    """Of both tables, `[[(text, is inside)]]`, of the models that were compared."""
    done = {name: result for name, result in found.items() if result is not None}
    instance_rows = [cells for result in done.values() for cells in instance_table.results(result)]
    return [[(name, True), *row(result)] for name, result in done.items()], instance_rows


def markdown(found):
    """The tables as Markdown, under them what they were made with."""
    done = [result for result in found.values() if result is not None]
    rows, instance_rows = _rows(found)
    bounds = ["bound", *map(_number, BOUNDS.values()), *[f"{BOX} px"] * len(LISTS), *[_number(SCORE)] * len(SCORED)]
    lines = [*_markdown(headings(), bounds, rows), "", NOTE]
    if instance_rows:
        lines += ["", *_markdown(instance_table.HEADINGS, instance_table.bounds(), instance_rows)]
        lines += ["", instance_table.NOTE]
    made = sorted({f"{result['reference']} (torch {result['torch']})" for result in done})
    ours = sorted({f"Keras {result['keras']}, TensorFlow {result['tensorflow']}" for result in done})
    date = datetime.date.today().isoformat()
    return "\n".join([*lines, "", f"{'; '.join(ours)} against {'; '.join(made)}; CPU, {date}.", ""])


def _markdown(names, bounds, rows):
    texts = [[text if inside else f"**{text} outside**" for text, inside in cells] for cells in rows]
    return [f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), bounds, *texts)]
