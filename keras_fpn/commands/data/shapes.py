"""`keras-fpn data shapes`: its options, and its lines on the screen."""

import argparse
from pathlib import Path

from keras_fpn.commands.arguments import positive

HELP = "write the embedded data set: a COCO-format folder"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("out", metavar="OUT", help="folder to write")
    parser.add_argument("--images", type=positive, metavar="N", default=2000, help="training images (2000)")
    parser.add_argument("--val-images", type=positive, metavar="N", default=200, help="held-out (200)")
    parser.add_argument("--size", type=positive, metavar="S", default=256, help="side in pixels (256)")
    parser.add_argument("--seed", type=int, metavar="K", default=0, help="same seed, same bytes (0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from keras_fpn.console.files import built_aside, check_empty
    from keras_fpn.console.progress import Count
    from keras_fpn.data.shapes import write_shapes

    out = Path(arguments.out)
    check_empty(out)
    num_train, num_val = arguments.images, arguments.val_images
    with Count("draw", num_train + num_val) as count, built_aside(out) as aside:
        write_shapes(
            aside,
            num_train=num_train,
            num_val=num_val,
            size=arguments.size,
            seed=arguments.seed,
            progress=count,
        )
    print(f"wrote {arguments.out}; train on it: keras-fpn train shapes --data {arguments.out}")
