"""`keras-fpn paper`: its options, and its lines on the screen."""


import argparse

from keras_fpn.commands.arguments import add_extension, add_set, check_annotated, positive
from keras_fpn.console.exits import INTERRUPTED
from keras_fpn.console.files import check_output
from keras_fpn.console.screen import import_quietly

HELP = "train the rows of a table of the FPN paper, and write it beside the paper's own"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("table", metavar="TABLE", help="table1, table2, table3, table5 or table6")
    parser.add_argument(
        "--data", metavar="DIR", help="folder in a COCO layout to train on; without data: the embedded data set"
    )
    parser.add_argument("--annotations", metavar="F", help="COCO instances JSON of the images to measure on")
    parser.add_argument("--images", metavar="DIR", help="folder of those images")
    parser.add_argument("--seeds", type=positive, metavar="N", default=3, help="runs of each row (3)")
    parser.add_argument(
        "--out", metavar="DIR", default="runs/paper", help="of all runs and tables; what is finished stays (runs/paper)"
    )
    parser.add_argument(
        "--weights", metavar="BACKBONE=FILE", nargs="+", action="extend", default=[],
        help="what rows start from: resnet50=resnet50.keras (random weights)",
    )  # fmt: skip
    add_set(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from keras_fpn.paper import given, tables

    tables.table(arguments.table)
    check_output(arguments.out, folder=True)
    for train_or_val in given.find_data(arguments.data, arguments.annotations, arguments.images) or ():
        check_annotated(*train_or_val)
    for text in arguments.weights:
        given.start(text)
    import_quietly()
    from keras_fpn.paper.command import run_table

    finished = run_table(
        arguments.table,
        out=arguments.out,
        data=arguments.data,
        annotations=arguments.annotations,
        images=arguments.images,
        seeds=arguments.seeds,
        overrides=arguments.overrides,
        weights=arguments.weights,
    )
    if finished:
        return 0
    print("stopped; the same command goes on where it was")
    return INTERRUPTED
