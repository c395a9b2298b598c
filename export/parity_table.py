"""The parity table: what each artefact of a detector answers and costs, as text, Markdown, JSON or part of a report."""

import dataclasses
import io
import textwrap
from collections.abc import Iterable
from typing import Any

from keras_fpn.reporting.report import Section

_DASH = "–"
_WIDEST = 200  # columns; a narrower console would cut figures short


@dataclasses.dataclass(frozen=True)
class Row:
    """One model file.

    Attributes:
        format: "keras" (the model itself), "saved_model", "tflite" or "onnx".
        precision: of its weights and arithmetic.
        frame: (height, width) into which images are letterboxed, pixels; None where any size will do.
        path: the file or folder; None for a row that only tells what the model itself finds in letterboxed images.
        size_bytes: of the file, or of all files in the folder.
        max_box, max_score: largest differences from the model on the same pixels, pixels and 0..1.
        compared, alone: detections looked at, and those of them without a partner, which no difference tells of.
        refusal: why the verification would not keep the file, or why there is none; then there are no differences.
        metric: the model's main metric, 0..1; None where it was not measured.
        measurements: `measuring.Measurement`s, one for each number of threads.
        further: `{name: value}` of the main metrics of the model's other families, measured with it.
    """

    format: str
    precision: str
    frame: tuple[int, int] | None = None
    path: str | None = None
    size_bytes: int | None = None
    max_box: float | None = None
    max_score: float | None = None
    compared: int | None = None
    alone: int | None = None
    refusal: str | None = None
    metric: float | None = None
    measurements: tuple = ()
    further: dict = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """ "tflite 320x320": format, and frame if it has one."""
        return self.format if self.frame is None else f"{self.format} {self.frame[0]}x{self.frame[1]}"

    def latency(self, threads: int) -> float | None:
        """Median milliseconds with so many threads, or None."""
        return next((one.median_ms for one in self.measurements if one.threads == threads), None)

    @property
    def peak_bytes(self) -> int | None:
        """The largest of the processes, or None."""
        return max((one.peak_bytes for one in self.measurements), default=None)

    @property
    def arena_bytes(self) -> int | None:
        """Of a TFLite file, else None."""
        return max((one.arena_bytes or 0 for one in self.measurements), default=0) or None


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows and what must be known to read them.

    Attributes:
        title: what was compared.
        rows: the model itself first.
        metric: name of its main metric; None where nothing was measured.
        notes: sentences: pictures, images, input of the timings, machine.
    """

    title: str
    rows: tuple
    metric: str | None
    notes: tuple

    def to_text(self) -> str:
        """The table and its notes for a terminal of 80 columns, without control characters."""
        import rich.console
        import rich.table

        table = rich.table.Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for index, (head, _) in enumerate(self._columns()):
            table.add_column(head, justify="left" if index < 2 else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*(cell(row) for _, cell in self._columns()))
        written = io.StringIO()
        console = rich.console.Console(file=written, width=_WIDEST)
        console.print(table)
        lines = [line.rstrip() for line in written.getvalue().splitlines()]
        notes = [textwrap.fill(note, 80, initial_indent="* ", subsequent_indent="  ") for note in self.notes]
        return "\n".join([self.title, *lines, *notes])

    def to_markdown(self) -> str:
        """The table and its notes for a README."""
        heads, rows = self._cells()
        lines = [heads, ("---", "---", *["---:"] * (len(heads) - 2)), *rows]
        table = ["".join(f"| {cell} " for cell in line) + "|" for line in lines]
        return "\n".join([*table, "", *(f"* {note}" for note in self.notes), ""])

    def to_json(self) -> dict:
        """Everything that was measured, as plain values."""
        return dataclasses.asdict(self)

    def to_section(self, heading: str, text: str, pictures: Iterable[tuple[str, Any]] = ()) -> Section:
        """The table as a part of the report; `pictures`: (caption, picture)."""
        heads, rows = self._cells()
        return Section(heading, text, heads, rows, self.notes, tuple(pictures))

    def _cells(self):
        """Headings, and the cells of each row, as text."""
        columns = self._columns()
        heads = tuple(head.replace("\n", " ") for head, _ in columns)
        return heads, tuple(tuple(cell(row) for _, cell in columns) for row in self.rows)

    def _columns(self):
        """`[(heading, function of a row that gives the cell's text)]`; columns that no row fills are left out."""
        columns = [
            ("format", lambda row: row.name),
            ("precision", lambda row: row.precision),
            ("box\npx", lambda row: _difference(row.max_box)),
            ("score\n0..1", lambda row: _difference(row.max_score)),
        ]
        if self.metric:
            columns.append((f"{self.metric.rpartition('/')[2]}\n%", lambda row: _percent(row.metric)))
        for name in dict.fromkeys(name for row in self.rows for name in row.further):
            columns.append((f"{name}\n%", lambda row, name=name: _percent(row.further.get(name))))
        columns.append(("file\nMB", lambda row: _megabytes(row.size_bytes)))
        for threads in sorted({one.threads for row in self.rows for one in row.measurements}):
            head = f"ms, {threads}\nthread{'s' if threads > 1 else ''}"
            columns.append((head, lambda row, threads=threads: _milliseconds(row.latency(threads))))
        columns.append(("peak\nMB", lambda row: _megabytes(row.peak_bytes)))
        if any(row.arena_bytes for row in self.rows):
            columns.append(("arena\nMB", lambda row: _megabytes(row.arena_bytes)))
        return columns


def _difference(value):
    return _DASH if value is None else f"{value:.0e}" if 0 < value < 1e-3 else f"{value:.2g}"


def _percent(value):
    return _DASH if value is None or value < 0 else f"{100 * value:.1f}"


def _megabytes(value):
    return _DASH if value is None else f"{value / 1e6:.1f}" if value < 100e6 else f"{value / 1e6:.0f}"


def _milliseconds(value):
    return _DASH if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"
