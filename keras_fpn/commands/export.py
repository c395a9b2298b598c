"""`keras-fpn export`: its options, and its lines on the screen."""

import argparse
import functools
import sys
from pathlib import Path

from keras_fpn.commands.arguments import add_extension, check_model, positive, size
from keras_fpn.console.screen import import_quietly

HELP = "write a model for TF Serving, TFLite or ONNX, and hold the file against the model"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("model", metavar="MODEL", help=".keras file or run folder")
    parser.add_argument("--format", metavar="F", required=True, help="saved_model, tflite or onnx")
    parser.add_argument(
        "--out", metavar="PATH", required=True, help=".tflite or .onnx file, or the folder of a SavedModel's versions"
    )
    parser.add_argument(
        "--size", type=size, metavar="HxW",
        help="of tflite, whose input is static: images are fitted into it, top left. Default: the model's shorter by"
        " its longer side, 320x640 for 320 and 640. A portrait picture becomes small in a landscape frame: give 640x320"
        " for portraits alone, 640x640 for both, at twice the time",
    )  # fmt: skip
    parser.add_argument(
        "--precision", metavar="P", default="float32",
        help="float32; bfloat16 (saved_model); float16, dynamic_int8, int8 (tflite)",
    )  # fmt: skip
    parser.add_argument(
        "--input-type", metavar="T",
        help="of tflite and onnx: uint8 or float32 (default: what the model's own way to resize yields)",
    )  # fmt: skip
    text = "of tflite and a Fast R-CNN, which is given proposals: most of them (1000)"
    parser.add_argument("--max-proposals", type=positive, metavar="N", help=text)
    text = "of saved_model: images with more are refused by the header of their file (100000000: some 2 GB)"
    parser.add_argument("--max-pixels", type=positive, metavar="N", help=text)
    parser.add_argument(
        "--calibration", metavar="IMAGE_OR_FOLDER", nargs="+", action="extend",
        help="of int8: some 100 images like those it will see",
    )  # fmt: skip
    parser.add_argument(
        "--signature", metavar="NAME", nargs="+", action="extend", default=[], dest="signatures",
        help="of saved_model, besides serving_default and serving_bytes: raw, proposals",
    )  # fmt: skip
    parser.add_argument(
        "--in-image", metavar="FIELD", nargs="+", action="extend", default=[], dest="placed",
        help="of saved_model: outputs that serving_bytes gives on the pixels of each file instead of over the box;"
        " they take a byte for each pixel and detection, see docs/serving.md",
    )  # fmt: skip
    parser.add_argument("--model-version", type=positive, metavar="N", help="of saved_model: PATH/N is written (1)")
    parser.add_argument(
        "--verify", action=argparse.BooleanOptionalAction, default=True,
        help="run the file on pictures and hard cases, and keep it only if it answers as the model does (default)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace what is there")
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from keras_fpn.export import exporting
    from keras_fpn.export.findings import VerificationError

    request = exporting.Request(
        format=arguments.format,
        out=Path(arguments.out),
        size=arguments.size,
        precision=arguments.precision,
        input_type=arguments.input_type,
        max_proposals=arguments.max_proposals,
        max_pixels=arguments.max_pixels,
        calibration=arguments.calibration,
        signatures=arguments.signatures,
        version=arguments.model_version,
        verify=arguments.verify,
        force=arguments.force,
        placed=tuple(arguments.placed),
    )
    request.check()
    check_model(arguments.model, "export")
    import_quietly()
    try:
        outcome = exporting.run(request, arguments.model, tell=functools.partial(print, flush=True))
    except VerificationError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(exporting.summary(outcome))
    return 0
