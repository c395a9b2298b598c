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
    demo,
    detect,
    evaluate,
    export,
    paper,
    propose,
    shapes,
    train,
)
from keras_fpn.commands.parser import Parser, parse
from keras_fpn.console.exits import exit_code
from keras_fpn.parts import extensions


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (`keras-fpn` is this function)."""
    argv = sys.argv[1:] if argv is None else list(argv)
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
    demo.add_options(add("demo", demo.HELP))
    data = add("data", "make data sets").add_commands("data commands")
    shapes.add_options(data("shapes", shapes.HELP))
    for command in (train, evaluate, propose, detect, export, convert, benchmark, paper):
        command.add_options(add(command.__name__.rpartition(".")[2], command.HELP))
    return parser


if __name__ == "__main__":
    sys.exit(main())
