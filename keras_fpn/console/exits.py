"""How a command ends: an exit code, and one line about what stopped it.

0: done. 1: the work failed. 2: the call, the configuration or the data is wrong, and the line says how to mend it.
130: stopped by Ctrl-C or SIGTERM.
"""

import errno
import os
import sys
from collections.abc import Callable

from keras_fpn.console import disk
from keras_fpn.console.errors import UserError
from keras_fpn.console.memory import is_out_of_memory, out_of_memory
from keras_fpn.console.screen import plain_output
from keras_fpn.console.signals import sigterm_as_ctrl_c
from keras_fpn.console.text import plain

INTERRUPTED = 130  # 128 + SIGINT, what a shell expects
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of a disk; nothing is wrong with the call


def exit_code(work: Callable[[], int | None]) -> int:
    """Do the work of a command, and return its exit code; an error that is nobody's but ours stays one."""
    with plain_output():
        try:
            with sigterm_as_ctrl_c():
                code = work() or 0
                print(end="", flush=True)  # here, where an error of it is told, and not when the interpreter ends
                return code
        except UserError as error:
            return fail(error, 2)
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
            return fail(line, code)


def fail(error: object, code: int) -> int:
    """Tell an error in one line, and return the exit code."""
    print(f"error: {plain(' '.join(str(error).split()))}", file=sys.stderr)
    return code


def _of_the_machine(error):
    """(line, exit code) of an error of its files, its disk or its memory; (None, None) of another."""
    number = disk.reason(error)
    if isinstance(error, OSError) and error.filename is not None:
        mend = f"; {disk.MENDS[number]}" if number in disk.MENDS else ""
        return f"{error.filename}: {error.strerror}{mend}", 1 if error.errno in _FULL else 2
    if number is not None:
        return f"{os.strerror(number)}; {disk.MENDS[number]}", 1 if number in _FULL else 2
    if is_out_of_memory(error):
        return str(out_of_memory(error)), 1
    return None, None


def _write_nothing_more():
    """Let the lines that stdout still holds go nowhere: the interpreter would fail on them when it ends."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
