"""A digest of a file inside the file: a flipped bit in weights changes answers and no format notices.

The description has room for it, 64 zeros; the digest is that of the file with the zeros, and then takes their place.
"""

import hashlib
import os

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


def check(content: bytes, digest: str | None, source: str | os.PathLike, kind: str) -> None:
    """Refuse a file that is not as it was written.

    Args:
        content: what `sealed` returned, of a file on disk.
        digest: as the description says.
        source, kind: its path, and "TFLite" or "ONNX", for the error.

    Raises:
        UserError: it says another digest than the file has, or none.
    """
    kept = digest.encode() if isinstance(digest, str) and len(digest) == len(PLACE) else b""
    as_written = content.replace(kept, PLACE.encode()) if kept else b""
    if not kept or hashlib.sha256(as_written).hexdigest() != digest:
        raise UserError(f"{source}: not a whole {kind} model; export it again (its digest is not that of its content)")
