"""The command of `keras_fpn.export.parity`: arguments in, the files of every format written, the table out.

Exit codes: 0 done; 2 the call, the model or the data is wrong.
"""

import argparse
import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_fpn.console import files
from keras_fpn.console.errors import UserError
from keras_fpn.console.exits import exit_code
from keras_fpn.console.naming import nearest
from keras_fpn.console.screen import import_quietly
from keras_fpn.export import parity, parity_notes
from keras_fpn.export.arguments import Parser, positive
from keras_fpn.export.description import PRECISIONS
from keras_fpn.export.parity_table import Row
from keras_fpn.export.request import ENDINGS, Request
from keras_fpn.inference import images as image_files


@dataclasses.dataclass(frozen=True)
class Asked:
    """Model and formats to measure, and how.

    Attributes:
        model: `.keras` file or run folder.
        annotations, images: of the data set that the main metric is measured on, see `read_coco`; None: not measured.
        reading: how they are read, further arguments of `read_coco`.
        formats: `[[(format, precision), ...], ...]`, see `variants`; None: all.
        size: (height, width) of TFLite files, pixels; None: see `exporting.default_frame`.
        calibration: paths of images or folders for int8, which needs them.
        limit: the metric is of the first so many images.
        threads: numbers of threads to time with.
        out: folder that the files are kept in.
        json, markdown: files for the figures and for the table.
    """

    model: str
    annotations: Any = None
    images: Any = None
    reading: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    formats: Sequence[Sequence[tuple[str, str]]] | None = None
    size: tuple[int, int] | None = None
    calibration: Sequence[str] | None = None
    limit: int | None = None
    threads: Sequence[int] = parity.THREADS
    out: str | None = None
    json: str | None = None
    markdown: str | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return exit_code(lambda: _run(_parser().parse_args(argv)))


def _run(arguments):
    asked = Asked(**vars(arguments))
    _check(asked)
    import_quietly()
    print_table(asked)


def _parser():
    parser = Parser(
        prog="python -m keras_fpn.export.parity",
        description="Export a model in every format, and tell of each file how it answers and what it costs.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help=".keras file or run folder")
    add("--annotations", metavar="F", help="COCO instances JSON; without it AP is not measured")
    add("--images", metavar="DIR", help="folder of the images; some are looked at by the verification")
    add("--formats", metavar="F", nargs="+", type=variants, default=None,
        help="of saved_model, tflite and onnx, or all (all); tflite:int8 for one precision of it")  # fmt: skip
    add("--size", type=_size, metavar="HxW", help="frame of tflite (default: see keras-fpn export --help)")
    add("--calibration", metavar="IMAGE_OR_FOLDER", nargs="+", help="images for int8, which is left out without")
    add("--limit", type=positive, metavar="N", help="measure AP on the first N images")
    add("--threads", type=positive, metavar="N", nargs="+", default=parity.THREADS, help="to time with (1 2)")
    add("--out", metavar="DIR", help="keep the exported files here")
    add("--json", metavar="OUT", help="write the figures as JSON")
    add("--markdown", metavar="OUT", help="write the table as Markdown")
    return parser


def _check(arguments):
    if arguments.annotations and not arguments.images:
        raise UserError("--annotations and --images go together")
    for path in filter(None, (arguments.json, arguments.markdown)):
        files.check_output(path)
    if arguments.out:
        files.check_output(arguments.out, folder=True)


def print_table(asked: Asked) -> None:
    """Write the files that are asked for, measure them, and print the table; rows that failed have their reasons."""
    from keras_fpn.models.files import load_model

    data_set, pictures = _images(asked)
    model = load_model(asked.model)
    path = Path(asked.model)
    with _folder(asked.out) as folder:
        written, failed = _write(model, folder, asked)
        table = parity.measure(
            model,
            path / "model.keras" if path.is_dir() else path,
            written,
            data_set=data_set,
            files=pictures,
            threads=asked.threads,
        )
    notes = (*table.notes, *parity_notes.failures(failed))
    table = dataclasses.replace(table, rows=(*table.rows, *failed), notes=notes)
    print(f"\n{table.to_text()}")
    if asked.json:
        files.write_json(asked.json, table.to_json())
    if asked.markdown:
        files.write_text(asked.markdown, table.to_markdown())


def _images(asked):
    """The data set, None without annotations, and the paths of its pictures."""
    from keras_fpn.data.coco import read_coco

    if asked.annotations is None:
        return None, image_files.list_images([asked.images]) if asked.images else []
    data_set = read_coco(asked.annotations, asked.images, **asked.reading)
    data_set = dataclasses.replace(data_set, records=data_set.records[: asked.limit])
    return data_set, [record.path for record in data_set.records]


def _write(model, folder, asked):
    """The files that were asked for, and a row for each that cannot be written; it is told in a line, too."""
    written, failed = [], []
    for name, precision in dict.fromkeys(variant for some in asked.formats or [variants("all")] for variant in some):
        try:
            written.append(parity.Export(_written(model, folder, asked, name, precision)))
        except Exception as error:  # one that fails, however it does, must not take the others along
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            failed.append(Row(name, precision, refusal=reason.strip().splitlines()[0]))
            print(f"left out: {name} {precision}: {failed[-1].refusal}", flush=True)
    return written, failed


def _written(model, folder, asked, name, precision):
    from keras_fpn.export.exporting import run

    request = Request(
        format=name,
        out=folder / f"{name}_{precision}{ENDINGS.get(name, '')}",
        size=asked.size if name == "tflite" else None,
        precision=precision,
        calibration=tuple(asked.calibration) if asked.calibration and precision == "int8" else None,
        verify=False,  # the table tells how far it is off
        force=True,
    )
    dataclasses.replace(request, verify=True).check()  # the runtime has to be there, too
    return run(request, model, lambda line: print(line, flush=True)).path


def _folder(path):
    return contextlib.nullcontext(Path(path)) if path else _temporary_folder()


@contextlib.contextmanager
def _temporary_folder():
    with tempfile.TemporaryDirectory(prefix="keras_fpn_parity") as folder:
        yield Path(folder)


def variants(text: str) -> list[tuple[str, str]]:
    """`[(format, precision), ...]` of "all", a format or "format:precision".

    Raises:
        argparse.ArgumentTypeError: there is none of the name.
    """
    if text == "all":
        return [(name, precision) for name, precisions in PRECISIONS.items() for precision in precisions]
    name, _, precision = text.partition(":")
    if name not in PRECISIONS:
        raise argparse.ArgumentTypeError(f"unknown format {name!r}{nearest(name, PRECISIONS)}")
    if precision and precision not in PRECISIONS[name]:
        raise argparse.ArgumentTypeError(
            f"{name} has no precision {precision!r}{nearest(precision, PRECISIONS[name])}"
        )
    return [(name, one) for one in ([precision] if precision else PRECISIONS[name])]


def _size(text):
    height, _, width = text.lower().partition("x")
    return positive(height), positive(width)
