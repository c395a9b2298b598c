"""`keras-fpn data from-tfds`: its options, and its lines on the screen."""

import argparse
from pathlib import Path

from keras_fpn.console.errors import UserError

HELP = "write a TFDS data set as a COCO-format folder"
_HALVES = ("train", "val", "test")
_MEANINGS = {
    "objects_key": "the objects of an image",
    "box_key": "the box of an object",
    "label_key": "the class of an object",
    "ignore_key": "objects that are neither learnt nor measured, where it is 1 or true",
    "object_id_key": "the id of an object",
    "area_key": "the area of an object, pixels",
    "image_key": "the picture",
    "image_id_key": "the id of a picture",
    "file_name_key": "the name of a picture",
    "class_name": "the one class, where objects have none",
    "box_form": "the form of the boxes: REL_YXYX, REL_XYXY (shares of the image), YXYX, XYXY or XYWH (pixels)",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("data", metavar="NAME_OR_DIR", help="such as coco/2017, or the folder of a data set")
    parser.add_argument("out", metavar="OUT", help="folder to write")
    parser.add_argument("--tfds-dir", metavar="D", help="where TFDS prepares data sets (~/tensorflow_datasets)")
    parser.add_argument("--download", action="store_true", help="let TFDS download and prepare what is not there")
    parser.add_argument(
        "--split", type=_halves, metavar="HALF=SPLIT,...", default={},
        help="what train, val and test are made of, for example train=train[:90%%],val=train[90%%:]",
    )  # fmt: skip
    parser.add_argument(
        "--val-share", type=_share, metavar="S", help="keep this share of the split train, its end, to measure on"
    )
    parser.add_argument(
        "--annotations", metavar="JSON", nargs="+", default=[],
        help="COCO's own instances files, to take in place of what TFDS kept of them; joined by the ids of images",
    )  # fmt: skip
    group = parser.add_argument_group("features of a data set that is not known, where it does not tell by itself")
    for name, meaning in _MEANINGS.items():
        group.add_argument("--" + name.replace("_", "-"), metavar=name.rpartition("_")[2].upper(), help=meaning)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from keras_fpn.console.files import built_aside, check_empty, check_output
    from keras_fpn.data.tfds.keys import read_keys
    from keras_fpn.data.tfds.names import PREFIX
    from keras_fpn.data.tfds.package import check_installed, prepare
    from keras_fpn.data.tfds.prepared import Prepared, find_prepared

    out, data = Path(arguments.out), arguments.data.removeprefix(PREFIX)
    check_empty(out)
    check_output(out, folder=True)
    if arguments.split and arguments.val_share is not None:
        raise UserError("--val-share divides the split train, and --split says what the halves are; leave out one")
    given = {name: getattr(arguments, name) for name in _MEANINGS if getattr(arguments, name) is not None}
    keys = read_keys(given, data)
    check_installed()
    find = prepare if arguments.download else find_prepared
    prepared = Prepared(find(data, arguments.tfds_dir))

    from keras_fpn.data.instances import read_instances
    from keras_fpn.data.tfds.folder import choose_halves, write_folder

    halves = choose_halves(prepared, arguments.split, arguments.val_share)
    originals = [read_instances(path) for path in arguments.annotations]
    with built_aside(out) as aside:
        written = write_folder(prepared, aside, halves, keys, originals)
    for note in () if originals else prepared.known.notes:
        print(f"{prepared.title}: {note}")
    for half, each in written.items():
        print(f"{half}: {each.images} images, {each.objects} objects, of the split {halves[half]}")
    print(f"wrote {arguments.out}; train on it: keras-fpn train CONFIG --data {arguments.out}")


def _halves(text):
    """`{half: split}`."""
    pairs = [item.partition("=") for item in text.split(",")]
    for half, equals, split in pairs:
        if half not in _HALVES or not equals or not split:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not HALF=SPLIT,...; a half is {', '.join(_HALVES)}, for example"
                " train=train[:90%],val=train[90%:]"
            )
    return {half: split for half, _, split in pairs}


def _share(text):
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1, such as 0.1")
    return share
