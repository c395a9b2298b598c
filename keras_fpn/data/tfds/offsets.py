"""Where the records of a TFRecord file begin; nothing but the lengths before them is read."""

import os

from keras_fpn.console.errors import UserError
from keras_fpn.data.tfrecord_files import AROUND


def record_offsets(file: str | os.PathLike, count: int) -> list[int]:
    """The bytes at which the records of a file begin.

    Args:
        count: of the records that it is said to have.

    Raises:
        UserError: it cannot be read, is cut short, or has more or fewer.
    """
    offsets, place = [], 0
    try:
        with open(file, "rb", buffering=0) as stream:
            size = os.fstat(stream.fileno()).st_size
            while place < size:
                offsets.append(place)
                stream.seek(place)
                place += AROUND + int.from_bytes(stream.read(8), "little")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); prepare the data set again") from None
    if place != size or len(offsets) != count:
        found = "is cut short" if place > size else f"has {len(offsets)} examples and is said to have {count}"
        raise UserError(f"{file}: {found}; download it or prepare the data set again")
    return offsets
