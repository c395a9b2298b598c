"""A file from a web server: in parts if need be, checked, and under its name only once it is whole.

The standard library's client, which knows the system's proxies and certificates. `keras.utils.get_file` begins anew
after every break, checks whole digests only, and needs TensorFlow to be imported.
"""

import contextlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from keras_fpn import __version__
from keras_fpn.checkpoints.published_files import Digest
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import errors_name, sync
from keras_fpn.console.progress import Count

SILENCE = 30.0  # seconds without a byte, after which a connection counts as broken
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt after a break
_CHUNK = 1 << 18
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers of a server that may give another one soon
_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml)", re.I)


class _Broken(Exception):
    """The connection broke; what came is kept, and another attempt may go on from there."""


def part_of(path: Path) -> Path:
    """Where a file is until it is whole."""
    return path.with_name(f"{path.name}.part")


def download(url: str, path: Path, digest: Digest) -> None:
    """Download a file to `path`; what an earlier call left of it is gone on with. No one else may do so meanwhile.

    Raises:
        UserError: the server cannot be reached or has no such file, the connection breaks again and again, the answer
            is a web page or another file, or the disk has too little room.
        OSError: the file cannot be written.
    """
    part = part_of(path)
    is_resumed = _size(part) > 0
    if is_resumed:
        print(f"{_size(part) / 1e6:.1f} MB are here from an earlier call; going on from there", flush=True)
    _receive(url, part, path)
    found = digest.of(part)
    if found != digest and is_resumed:
        print(f"{part}: did not become the published file; downloading all of it", flush=True)
        part.unlink()
        _receive(url, part, path)
        found = digest.of(part)
    if found != digest:
        part.unlink()
        raise UserError(
            f"{url}: what came is not the published file ({found}, not {digest}) and was deleted; try again, and if it"
            f" stays so, download it elsewhere and put it at {path}"
        )
    with errors_name(path):
        sync(part)
        part.replace(path)
        sync(path.parent)


def _receive(url, part, path):
    """Bring `part` to the whole length; where that is stopped, say what is kept."""
    try:
        _try_again_and_again(url, part, path)
    except KeyboardInterrupt:
        print(f"{_size(part) / 1e6:.1f} MB are kept, and the same command goes on", flush=True)
        raise


def _try_again_and_again(url, part, path):
    for pause in (*PAUSES, None):
        try:
            return _attempt(url, part, path)
        except _Broken as broken:
            if pause is None:
                kept = f"; {_size(part) / 1e6:.1f} MB are kept, and the same command goes on" if _size(part) else ""
                raise UserError(f"{url}: {broken}{kept}; try again later") from None
            print(f"{broken}; trying again in {pause:g} s", flush=True)
            time.sleep(pause)


def _attempt(url, part, path, resume=True):
    begin = _size(part) if resume else 0
    with _answer(url, begin, path) as answer:
        if answer is None:  # nothing is left to come
            return None
        is_rest = answer.status == 206
        if is_rest and not answer.headers.get("Content-Range", "").startswith(f"bytes {begin}-"):
            if not resume:
                raise _Broken("the server answers with another part of the file than was asked for")
            return _attempt(url, part, path, resume=False)
        begin = begin if is_rest else 0
        chunk = _read(answer)
        if "html" in answer.headers.get("Content-Type", "") or (not begin and _PAGE.match(chunk)):
            raise UserError(
                f"{url}: the answer is a web page and not the file, as of a proxy or a login; open it in a browser, or"
                f" download the file there and put it at {path}"
            )
        length = answer.headers.get("Content-Length", "")
        total = begin + int(length) if length.isdigit() else None
        _check_room(part, begin, total)
        _write(answer, chunk, part, begin, total)
    if total is not None and _size(part) < total:
        raise _Broken(f"the connection broke after {_size(part) / 1e6:.1f} of {total / 1e6:.1f} MB")


@contextlib.contextmanager
def _answer(url: str, begin: int, path: Path) -> Iterator[http.client.HTTPResponse | None]:
    """The server's answer, from byte `begin` on if it can do that; None where the file ends there."""
    headers = {"User-Agent": f"keras-fpn/{__version__}"} | ({"Range": f"bytes={begin}-"} if begin else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=SILENCE)
    except urllib.error.HTTPError as error:
        with error:
            told = f"HTTP {error.code} {error.reason}"
            if error.code in _PASSING:
                raise _Broken(f"the server answers {told}") from None
            if error.code != 416 or not begin:
                raise UserError(
                    f"{url}: the server answers {told}; look in a browser whether the file is there, and put it at"
                    f" {path}"
                ) from None
        yield None
        return
    except (OSError, http.client.HTTPException, ValueError) as error:  # the last for an impossible name of a host
        reason = getattr(error, "reason", None) or error
        if begin:
            raise _Broken(f"no connection ({reason})") from None
        raise UserError(
            f"{url}: cannot be reached ({reason}); with a network try again, or download the file elsewhere and put it"
            f" at {path}"
        ) from None
    with answer:
        yield answer


def _read(answer):
    try:
        return answer.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"the connection broke ({error})") from None


def _check_room(part, begin, total):
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - begin > free:
        raise UserError(
            f"{part.parent}: {(total - begin) / 1e6:.0f} MB are to come, and its disk has {free / 1e6:.0f} MB left;"
            " make room, or set KERAS_FPN_HOME to a folder on another disk"
        )


def _write(answer, chunk, part, begin, total):
    done = begin
    count = Count("download", None if total is None else round(total / 1e6), "MB")
    with errors_name(part), open(part, "ab" if begin else "wb") as file, count:
        while chunk:
            file.write(chunk)
            done += len(chunk)
            count(round(done / 1e6))
            chunk = _read(answer)


def _size(path):
    return os.path.getsize(path) if path.exists() else 0
