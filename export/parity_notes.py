"""Sentences that explain a parity table."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_fpn.reporting.report import environment_facts

if TYPE_CHECKING:
    import numpy as np

    from keras_fpn.data.coco import CocoDataset
    from keras_fpn.export.parity_table import Row


def notes(
    rows: "Sequence[Row]", data_set: "CocoDataset | None", pictures: "Sequence[np.ndarray]", timed: Sequence[int]
) -> tuple[str, ...]:
    """The notes below a table.

    Args:
        rows: its rows.
        data_set: a `CocoDataset` or None.
        pictures: the real pictures that the answers were compared on.
        timed: height and width of the image that was timed, before it was resized.
    """
    lines = list(_differences(rows, pictures))
    if data_set is not None:
        name = Path(data_set.annotations).name
        lines.append(f"{len(data_set)} images of {name} for AP, each resized as keras-fpn detect does.")
    if any(row.frame and row.format == "keras" for row in rows):
        lines.append("keras with a size: the model itself on the letterboxed pixels that TFLite sees.")
    lines.append(_timing(rows, timed))
    if any(row.arena_bytes for row in rows):
        lines.append("arena: the part of it in which LiteRT plans its tensors.")
    return tuple(lines)


def failures(rows: "Iterable[Row]") -> tuple[str, ...]:
    """A sentence for each row of a file that could not be written, with the reason."""
    return tuple(f"{row.name} {row.precision} is not there: {row.refusal}." for row in rows)


def _differences(rows, pictures):
    real = f"{len(pictures)} real pictures" if pictures else "drawn pictures"
    compared = [row for row in rows if row.compared is not None]
    yield (
        f"box, score: largest difference of a detection from the model's on the same pixels, {real} and the hard cases"
        " of the verification"
        + (
            "; below float32, of those that score 0.3 or more."
            if {row.precision for row in rows} != {"float32"}
            else "."
        )
    )
    if compared:
        counts = ", ".join(f"{row.format} {row.precision} {row.alone} of {row.compared}" for row in compared)
        yield f"detections without a partner to differ from: {counts}."
    for row in rows:
        if row.refusal:
            yield f"{row.format} {row.precision} fails the verification: {row.refusal}."


def _timing(rows, timed):
    runs = [one.runs for row in rows for one in row.measurements]
    passes = f"{min(runs)} to {max(runs)}" if min(runs) < max(runs) else f"{max(runs)}"
    return (
        f"ms: median of {passes} passes of one {timed[0]}x{timed[1]} image, without its resize;"
        " peak: memory of a fresh process that runs the file, with Python and the runtime;"
        f" {environment_facts()['device']}."
    )
