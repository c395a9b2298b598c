"""A digest of a file inside the file: a flipped bit in weights changes answers and no format notices.

The description has room for it, 64 zeros; the digest is that of the file with the zeros, and then takes their place.
"""

import hashlib
import os
import re

from keras_fpn.console.errors import UserError

PLACE = "0" * 64


def sealed(content: bytes) -> tuple[bytes, str]:
    """The file with its digest in the place of the zeros, and the digest.

    Raises:
        RuntimeError: the zeros are not there, or more than once.
    """
    if content.count(PLACE.encode()) != 1:
        raise RuntimeError("no single place for the digest of the file")
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(PLACE.encode(), digest.encode()), digest


def said_in(content: bytes) -> str | None:
    """The digest that a file says it has, before any runtime reads it; None without."""
    found = re.search(rb'"sha256": "([0-9a-f]{64})"', content)
    return None if found is None else found.group(1).decode()


def check(content: bytes, digest: str | None, source: str | os.PathLike) -> None:
    """Refuse a file that is not as it was written.

    Args:
        content: what `sealed` returned, of a file on disk.
        digest: as the description says.
        source: its path, for the error.

    Raises:
        UserError: it says another digest than the file has, or none.
    """
    kept = digest.encode() if isinstance(digest, str) and len(digest) == len(PLACE) else b""
    as_written = content.replace(kept, PLACE.encode()) if kept else b""
    if not kept or hashlib.sha256(as_written).hexdigest() != digest:
        raise UserError(f"{source}: damaged: it has another digest than keras-fpn export gave it; export it anew")
