"""How much memory the machine has, and what is said where it does not suffice."""

import os
import re

from keras_fpn.console.errors import UserError


def machine_memory() -> int | None:
    """Bytes of the machine's memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is that of Python, NumPy or TensorFlow (on a CPU or a GPU) for want of memory."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def out_of_memory(error: BaseException) -> UserError:
    """A line in the place of such an error."""
    found = re.search(r"shape\s?[\[(]([\d, ]+)[\])]", str(error))
    what = f" for an array of {' x '.join(re.findall(r'[0-9]+', found[1]))}" if found else ""
    return UserError(
        f"out of memory{what}; take fewer images at a time (data.batch_size, --batch-size) or smaller ones (--size)"
    )
