"""The `keras-fpn` command: arguments in, a sub-command at work, an exit code out.

0: done. 1: the work failed. 2: the call, the configuration or the data is wrong; one line on stderr says
how to mend it. 130: stopped by Ctrl-C or SIGTERM.
Nothing heavy is imported before a sub-command runs, so `--help` answers at once.
"""

import errno
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
from keras_fpn.commands.endings import INTERRUPTED
from keras_fpn.commands.parser import Parser, parse
from keras_fpn.console import disk
from keras_fpn.console.errors import UserError
from keras_fpn.console.memory import is_out_of_memory, out_of_memory
from keras_fpn.console.screen import plain_output
from keras_fpn.console.signals import sigterm_as_ctrl_c
from keras_fpn.console.text import plain
from keras_fpn.parts import extensions

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of a disk; nothing is wrong with the call


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (`keras-fpn` is this function)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    # Set before anything imports Keras. Level 3 keeps TensorFlow's C++ notes off the screen.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with plain_output():
        return _told(argv)


def _told(argv):
    parser = _build_parser()
    try:
        if not argv:
            parser.print_help()
            return 2
        arguments = parse(parser, argv)
        with sigterm_as_ctrl_c():
            arguments.extensions = extensions.load(getattr(arguments, "extensions", []))
            code = arguments.run(arguments) or 0
            print(end="", flush=True)  # here, where an error of it is told, and not when the interpreter ends
            return code
    except UserError as error:
        print(f"error: {plain(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our lines went away, as `head` does
        _write_nothing_more()
        return 1
    except Exception as error:
        if getattr(error, "filename", None) == "stdout":
            _write_nothing_more()
        line, code = _of_the_machine(error)
        if line is None:
            raise
        print(f"error: {plain(line)}", file=sys.stderr)
        return code


def _of_the_machine(error):
    """(line, exit code) of an error of its files, its disk or its memory; (None, None) of another."""
    number = disk.reason(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", 1 if error.errno in _FULL else 2
    if number is not None:
        return f"{os.strerror(number)}; {disk.MENDS[number]}", 1 if number in _FULL else 2
    if is_out_of_memory(error):
        return str(out_of_memory(error)), 1
    return None, None


def _write_nothing_more():
    """Let the lines that stdout still holds go nowhere: the interpreter would fail on them when it ends."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


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
