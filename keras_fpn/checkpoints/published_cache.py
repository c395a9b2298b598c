"""Published files on this machine: a folder of them, filled by name and only when a name is asked for.

Three environment variables: `KERAS_FPN_HOME` is the folder instead of the platform's for caches, `KERAS_FPN_OFFLINE=1`
lets nothing be downloaded, `KERAS_FPN_MIRROR=https://HOST/PATH` takes the place of the sources' hosts.
"""

import os
import sys
import urllib.parse
from pathlib import Path

from keras_fpn.checkpoints.published_files import PublishedFile
from keras_fpn.console.errors import UserError
from keras_fpn.console.locking import locked

HOME, OFFLINE, MIRROR = "KERAS_FPN_HOME", "KERAS_FPN_OFFLINE", "KERAS_FPN_MIRROR"


def folder() -> Path:
    """The folder of the published files, which may not be there yet.

    Raises:
        UserError: nothing tells where it could be.
    """
    home = os.environ.get(HOME)
    try:
        return (Path(home).expanduser().absolute() if home else _platform_caches() / "keras_fpn") / "weights"
    except RuntimeError:  # no home
        raise UserError(f"you have no home folder for downloads; set {HOME} to a folder of your own") from None


def _platform_caches():
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"


def place(file: PublishedFile) -> Path:
    """Where a published file is, or would be; it keeps the name that it is published under."""
    return folder() / file.file_name


def is_here(file: PublishedFile) -> bool:
    """Whether a file of its name is in the folder; `fetch` looks into it."""
    return place(file).is_file()


def url_of(file: PublishedFile) -> str:
    """Where a published file is downloaded from.

    Raises:
        UserError: `KERAS_FPN_MIRROR` is no address of a web server.
    """
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return file.url
    if not mirror.startswith(("http://", "https://")):
        raise UserError(f"{MIRROR}={mirror}: is no address of a web server; write https://HOST/PATH")
    return mirror.rstrip("/") + urllib.parse.urlsplit(file.url).path


def fetch(file: PublishedFile) -> Path:
    """The path of a published file, which is downloaded if it is not here. The digest is checked in any case.

    Raises:
        UserError: it is not here and cannot be had, or the file of its name here is another one.
    """
    path = place(file)
    if not path.is_file():
        _download(file, path)
        return path
    found = file.digest.of(path)
    if found != file.digest:
        raise UserError(
            f"{path}: is not {file.name} as it is published ({found}, not {file.digest}); remove it, and it is"
            " downloaded when it is asked for"
        )
    return path


def _download(file, path):
    url = url_of(file)
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        raise UserError(
            f"{file.name}: is not here, and {OFFLINE} forbids to download {url}; unset it, or put the file at {path}"
        )
    from keras_fpn.checkpoints import downloading  # imports the client, which takes longer than a look into the folder

    _make_folder(path.parent)
    waiting = f"{file.name}: another process downloads it; waiting for that"
    with locked(path.with_name(f".{path.name}.lock"), lambda: print(waiting, flush=True)):
        if not path.is_file():
            size = f" ({file.megabytes:.0f} MB)" if file.megabytes else ""
            print(f"downloading {file.name}{size} from {url}", flush=True)
            downloading.download(url, path, file.digest)


def _make_folder(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be made ({error.strerror}); set {HOME} to a folder of your own"
        ) from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: is read-only; set {HOME} to a folder of your own")
