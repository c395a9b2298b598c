"""The command of `keras_fpn.export.parity`: arguments in, the files of every format written, the table out.

Exit codes: 0 done; 2 the call, the model or the data is wrong.
"""

import argparse
import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from keras_fpn.console import files
from keras_fpn.console.errors import UserError
from keras_fpn.console.exits import exit_code
from keras_fpn.console.naming import nearest
from keras_fpn.console.screen import import_quietly
from keras_fpn.export import parity
from keras_fpn.export.arguments import Parser, positive
from keras_fpn.export.description import PRECISIONS
from keras_fpn.export.request import ENDINGS, Request
from keras_fpn.inference import images as image_files


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return exit_code(lambda: _run(_parser().parse_args(argv)))


def _run(arguments):
    _check(arguments)
    import_quietly()
    _print_table(arguments)


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
    add("--formats", metavar="F", nargs="+", type=_variants, default=None,
        help="of saved_model, tflite and onnx (all); tflite:int8 for one precision of it")  # fmt: skip
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


def _print_table(arguments):
    from keras_fpn.data.coco import read_coco
    from keras_fpn.models.files import load_model

    pictures = image_files.list_images([arguments.images]) if arguments.images else []
    data_set = None
    if arguments.annotations:
        data_set = read_coco(arguments.annotations, arguments.images)
        data_set = dataclasses.replace(data_set, records=data_set.records[: arguments.limit])
    model = load_model(arguments.model)
    path = Path(arguments.model)
    with _folder(arguments.out) as folder:
        exports = [parity.Export(file) for file in _write(model, folder, arguments)]
        table = parity.measure(
            model,
            path / "model.keras" if path.is_dir() else path,
            exports,
            data_set=data_set,
            files=pictures,
            threads=arguments.threads,
        )
    print(f"\n{table.to_text()}")
    if arguments.json:
        files.write_json(arguments.json, table.to_json())
    if arguments.markdown:
        files.write_text(arguments.markdown, table.to_markdown())


def _write(model, folder, arguments):
    """Yield the path of each file that was asked for; what cannot be written is told in a line."""
    from keras_fpn.export.exporting import run

    asked = arguments.formats or [[(name, precision) for name in PRECISIONS for precision in PRECISIONS[name]]]
    for name, precision in dict.fromkeys(variant for variants in asked for variant in variants):
        request = Request(
            format=name,
            out=folder / f"{name}_{precision}{ENDINGS.get(name, '')}",
            size=arguments.size if name == "tflite" else None,
            precision=precision,
            calibration=tuple(arguments.calibration) if arguments.calibration and precision == "int8" else None,
            verify=False,  # the table tells how far it is off
            force=True,
        )
        try:
            dataclasses.replace(request, verify=True).check()  # the runtime has to be there, too
            yield run(request, model, lambda line: print(line, flush=True)).path
        except UserError as error:
            print(f"left out: {name} {precision}: {error}", flush=True)


def _folder(path):
    return contextlib.nullcontext(Path(path)) if path else _temporary_folder()


@contextlib.contextmanager
def _temporary_folder():
    with tempfile.TemporaryDirectory(prefix="keras_fpn_parity") as folder:
        yield Path(folder)


def _variants(text):
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
