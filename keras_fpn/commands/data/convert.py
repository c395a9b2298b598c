"""`keras-fpn data convert`: its options, and its lines on the screen."""

import argparse
from pathlib import Path
from typing import Any

from keras_fpn.commands.arguments import (
    add_extension,
    add_reading,
    check_one_choice,
    class_choice,
    probability,
    reading,
)
from keras_fpn.console.errors import UserError

HELP = "write a data set in another format: coco, yolo or voc"
_READING = {"boxes": "xywh", "crowds": "ignore", "invalid_boxes": "refuse"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("data", metavar="DATA", help="folder of a data set in any format, tfds:NAME, or annotations")
    parser.add_argument("out", metavar="OUT", help="folder to write, new or empty")
    parser.add_argument("--to", choices=("coco", "yolo", "voc"), default="coco", help="format to write (coco)")
    parser.add_argument("--from", dest="from_format", metavar="FORMAT", help="format of DATA (found out)")
    parser.add_argument("--images", metavar="DIR", help="folder of the pictures, where DATA are annotations")
    text = "share of the pictures to measure on, where none are set aside"
    parser.add_argument("--val-share", type=probability, metavar="P", help=text)
    parser.add_argument("--seed", type=int, metavar="K", default=0, help="another one divides otherwise (0)")
    text = "classes to keep; NEW=OLD,OLD renames and merges: --classes person vehicle=car,bus"
    parser.add_argument("--classes", metavar="NAME", nargs="+", action="extend", default=[], help=text)
    add_reading(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from keras_fpn.console.progress import Count
    from keras_fpn.data.conversion import convert

    if arguments.val_share is not None and not 0 < arguments.val_share < 1:
        raise UserError(f"--val-share {arguments.val_share:g}: give a share above 0 and below 1, for example 0.1")
    check_one_choice(arguments)
    read_as: dict[str, Any] = reading(arguments.overrides, _READING) if arguments.overrides else dict(_READING)
    if arguments.classes:
        read_as["classes"] = class_choice(arguments.classes)
    with Count("convert", 0, "pictures") as count:
        done = convert(
            arguments.data,
            Path(arguments.out),
            arguments.to,
            from_format=arguments.from_format,
            images=arguments.images,
            val_share=arguments.val_share,
            seed=arguments.seed,
            progress=count,
            **read_as,
        )
    for line in _account(done, arguments):
        print(line)


def _account(done, arguments):
    halves = [f"{name} {images} images with {objects} objects" for name, (images, objects) in done.halves.items()]
    yield f"wrote {arguments.out} from {done.title}: {', '.join(halves)}"
    if done.left_out:
        yield f"left out {done.left_out} objects whose boxes are invalid"
    yield from done.rewritten
    if done.renamed:
        yield f"{done.renamed} pictures have new names: two would have met, or the format does not find the old ones"
    if done.crowds and arguments.to == "yolo":
        yield f"{done.crowds} crowds are in keras-fpn.*.json alone: other programs would take them for objects"
    if done.companions:
        keys = ", ".join(f"{key} of {number} objects" for key, number in sorted(done.companions.items()))
        yield f"{arguments.to} has no place for {keys}: kept in keras-fpn.*.json, which keras-fpn alone reads"
    if "train" in done.halves and "val" in done.halves:
        yield f"train on it: keras-fpn train CONFIG --data {arguments.out}"
    else:
        yield f"training needs two halves; --val-share 0.1 divides the images ({', '.join(done.halves)})"
