"""The `keras-fpn` command: arguments in, a sub-command at work, an exit code out (see `console.exits`).

Nothing heavy is imported before a sub-command runs, so `--help` answers at once.
"""

import os
import sys
from collections.abc import Sequence

from keras_fpn import __version__
from keras_fpn.commands import (
    benchmark,
    convert,
    data,
    demo,
    detect,
    evaluate,
    export,
    paper,
    propose,
    train,
    weights,
)
from keras_fpn.commands.parser import Parser, parse
from keras_fpn.console.exits import exit_code
from keras_fpn.console.screen import look_less_often
from keras_fpn.parts import extensions


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (`keras-fpn` is this function)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    look_less_often()
    # Set before anything imports Keras. Level 3 keeps TensorFlow's C++ notes off the screen.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return exit_code(lambda: _run(argv))


def _run(argv):
    parser = _build_parser()
    if not argv:
        parser.print_help()
        return 2
    arguments = parse(parser, argv)
    arguments.extensions = extensions.load(getattr(arguments, "extensions", []))
    return arguments.run(arguments)


def _build_parser():
    parser = Parser(prog="keras-fpn", description="Feature Pyramid Networks for object detection.")
    parser.add_argument("--version", action="version", version=f"keras-fpn {__version__}")
    add = parser.add_commands("commands")
    _add(add, demo)
    add_data = add("data", "make, read, check and look at data sets").add_commands("data commands")
    for command in data.COMMANDS:
        _add(add_data, command)
    for command in (train, evaluate, propose, detect, export, convert, weights, benchmark, paper):
        _add(add, command)
    return parser


def _add(add, command):
    """Add the command of a module, named as the module is."""
    command.add_options(add(command.__name__.rpartition(".")[2].replace("_", "-"), command.HELP))


if __name__ == "__main__":
    sys.exit(main())
