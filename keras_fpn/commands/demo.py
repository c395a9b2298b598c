"""`keras-fpn demo`: its options, and its lines on the screen."""


import argparse

from keras_fpn.commands.arguments import add_extension, add_set, positive, with_extensions
from keras_fpn.commands.endings import told
from keras_fpn.console.errors import UserError
from keras_fpn.console.screen import import_quietly

_DEFAULT = "shapes"
HELP = "write the embedded data set, train on it, measure, and leave a report"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options and what runs it to the parser of the command."""
    parser.add_argument("--out", metavar="RUN", help="run folder (default: runs/demo, runs/demo-2 ...)")
    parser.add_argument("--images", type=positive, metavar="N", help="training images")
    parser.add_argument("--val-images", type=positive, metavar="N", default=200, help="held-out (200)")
    parser.add_argument("--size", type=positive, metavar="S", default=256, help="side in pixels (256)")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--task", metavar="TASK", help="what to find of each object besides its box: masks, keypoints")
    chosen.add_argument("--config", help="configuration (shapes)")
    add_set(parser)
    add_extension(parser)
    parser.set_defaults(run=run)


def _configuration(arguments):
    """The name of the configuration: the one that is named, or the demo's for a task, `shapes_TASK`."""
    from keras_fpn.config.loading import shipped_configs

    if arguments.task is None:
        return arguments.config or _DEFAULT
    start = f"{_DEFAULT}_"
    tasks = [name.removeprefix(start) for name in shipped_configs() if name.startswith(start)]
    if arguments.task not in tasks:
        raise UserError(f"--task {arguments.task}: there is none of this name; valid are {', '.join(tasks)}")
    return start + arguments.task


def run(arguments: argparse.Namespace) -> int:
    from keras_fpn.config.loading import load_config
    from keras_fpn.data.shapes import check_arguments
    from keras_fpn.training import new_run

    config = load_config(_configuration(arguments), with_extensions(arguments))
    new_run.check_place(arguments.out)
    check_arguments(arguments.images or 1, arguments.val_images, arguments.size)
    import_quietly()
    from keras_fpn.commands.demonstration import NUM_TRAIN, run_demo

    return told(
        run_demo(
            arguments.out,
            config=config,
            num_train=arguments.images or NUM_TRAIN,
            num_val=arguments.val_images,
            size=arguments.size,
        )
    )
