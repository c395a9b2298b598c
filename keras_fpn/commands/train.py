"""`keras-fpn train`: its options, and its lines on the screen."""


import argparse
from pathlib import Path

from keras_fpn.commands.arguments import (
    add_extension,
    add_set,
    check_one_choice,
    class_choice,
    positive,
    with_extensions,
)
from keras_fpn.commands.endings import told
from keras_fpn.console.errors import UserError
from keras_fpn.console.exits import INTERRUPTED
from keras_fpn.console.screen import import_quietly
from keras_fpn.console.signals import ends_at_once
from keras_fpn.metrics.table import metrics_table

HELP = "train a detector on a data set of annotated images"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("config", metavar="CONFIG", nargs="?", help="shipped configuration or YAML file")
    parser.add_argument(
        "--data", metavar="DIR", nargs="+", action="extend",
        help="folder of a data set (COCO, VOC, YOLO, CSV ...), or several that are one; sets data.train and data.val",
    )  # fmt: skip
    parser.add_argument(
        "--classes", metavar="NAME", nargs="+", action="extend",
        help="classes to learn; NEW=OLD,OLD renames and merges: --classes person vehicle=car,bus",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=positive, metavar="N", help="pixels of the shorter side of all images: --set size=N"
    )
    parser.add_argument("--out", metavar="RUN", help="run folder (default: runs/CONFIG, runs/CONFIG-2 ...)")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped")
    parser.add_argument(
        "--weights", metavar="MODEL",
        help=".keras file, run folder or name that keras-fpn weights lists, to start from: what fits is taken",
    )  # fmt: skip
    parser.add_argument(
        "--four-step", action="store_true",
        help="train RPN, Fast R-CNN on its proposals, and both again on shared features: one Faster R-CNN",
    )  # fmt: skip
    parser.add_argument(
        "--accept-changes", action="store_true",
        help="with --resume: go on although settings or annotations have changed since the run began",
    )  # fmt: skip
    add_set(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.config is None and arguments.resume is None and len(arguments.data or ()) > 1:
        raise UserError(f"train needs a CONFIG before --data: keras-fpn train CONFIG --data {' '.join(arguments.data)}")
    if (arguments.config is None) == (arguments.resume is None):
        raise UserError(
            "train needs a CONFIG (for example faster_rcnn_r50_fpn) or --resume RUN, and not both"
        )
    named = ("data.train.annotations=", "data.train.images=", "data.val.annotations=", "data.val.images=")
    twice = [item for item in arguments.overrides if item.startswith(named)]
    if arguments.data is not None and twice:
        raise UserError(f"--data {arguments.data[0]} and --set {twice[0]} both name the data; give one of them")
    check_one_choice(arguments)
    if arguments.resume is not None:
        return _resume(arguments)
    if arguments.accept_changes:
        raise UserError("--accept-changes goes with --resume: a new run has not changed")
    from keras_fpn.config.loading import load_config

    sized = [] if arguments.size is None else [f"size={arguments.size}"]
    chosen = [("data.classes", class_choice(arguments.classes))] if arguments.classes else []
    config = load_config(arguments.config, [*with_extensions(arguments), *sized, *chosen])
    if arguments.weights and any(item.startswith("training.weights=") for item in arguments.overrides):
        raise UserError("--weights and --set training.weights both name weights; give one of them")
    from keras_fpn.training import four_step_rules, named_files, new_run

    if arguments.four_step:
        four_step_rules.check(config, arguments.config)
    config = named_files.with_data(config, arguments.data)
    named_files.check_data(config)
    new_run.check_place(arguments.out)
    config = named_files.with_weights(config, arguments.weights)  # last, as it may download
    with ends_at_once("stopped", INTERRUPTED):
        import_quietly()
        from keras_fpn.training import four_step, training

    with new_run.new_run_folder(arguments.out, arguments.config) as run_dir:
        outcome = (four_step.run if arguments.four_step else training.train)(config, run_dir)
    return told(outcome, metrics_table)


def _resume(arguments):
    options = {"out": "out", "size": "size", "classes": "classes", "weights": "weights", "four_step": "four-step"}
    for option, name in options.items():
        if getattr(arguments, option):
            raise UserError(
                f"--{name} does not go with --resume: a run goes on with the settings it began with"
            )
    from keras_fpn.data.layout import find_layout
    from keras_fpn.training import four_step_rules, restart

    for name in arguments.data or ():
        find_layout(name)
    is_four_step = four_step_rules.is_four_step(arguments.resume)
    if not is_four_step:
        restart.check_begun(Path(arguments.resume))
    with ends_at_once("stopped", INTERRUPTED):
        import_quietly()
        from keras_fpn.training import four_step, training

    resume = four_step.resume if is_four_step else training.resume
    outcome = resume(
        arguments.resume,
        data_dir=arguments.data,
        overrides=arguments.overrides,
        accept_changes=arguments.accept_changes,
    )
    return told(outcome, metrics_table)
