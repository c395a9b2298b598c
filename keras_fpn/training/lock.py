"""One run, one process: a file in the run folder says whose it is.

The file comes with its content or not at all, and only where there is none. One whose process is gone is replaced by
renaming, so there is no moment without a file; a folder beside it lets one process at a time do that. Nothing of this
needs more of a file system than that it makes files and folders once.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import clear_leftovers, errors_name
from keras_fpn.console.processes import start_of

NAME = "run.lock"
_PATIENCE = 10.0  # seconds; replacing takes thousandths of one
_held: dict[tuple[str, int, int], int] = {}  # how many times a thread has entered a folder


@contextlib.contextmanager
def held(run_dir: str | os.PathLike) -> Iterator[None]:
    """Keep a run folder for this process; what another one that was killed left half-written there is cleared.

    Raises:
        UserError: another process, or another thread of this one, trains there.
    """
    run_dir = Path(run_dir)
    key = os.path.realpath(run_dir), os.getpid(), threading.get_ident()
    if not _held.get(key):
        _take(run_dir)
        clear_leftovers(run_dir)
    _held[key] = _held.get(key, 0) + 1
    try:
        yield
    finally:
        _held[key] -= 1
        if not _held[key]:
            del _held[key]
            _give_back(run_dir)


def refuse_if_held(run_dir: str | os.PathLike) -> None:
    """Refuse a folder that a living process, not this thread, trains in."""
    run_dir = Path(run_dir)
    key = os.path.realpath(run_dir), os.getpid(), threading.get_ident()
    owner = _owner(run_dir / NAME)
    if owner is not None and not _held.get(key) and not _is_gone(owner):
        raise UserError(_refusal(run_dir, owner))


def _take(run_dir):
    file = run_dir / NAME
    mine = file.with_name(f".{NAME}-{threading.get_ident()}.{os.getpid()}.tmp")
    begun = time.monotonic()
    try:
        with errors_name(file):
            mine.write_text(json.dumps(_myself()), encoding="utf-8")
            while not _put(mine, file):
                owner = _owner(file)
                if owner is not None and not _is_gone(owner):
                    raise UserError(_refusal(run_dir, owner))
                if owner is not None and _replace(mine, file, owner):
                    whose = f"process {owner['pid']}, which is gone" if "pid" in owner else "nobody who can be told"
                    print(f"{file}: of {whose}; taken over", flush=True)
                    return
                if time.monotonic() - begun > 2 * _PATIENCE:
                    raise UserError(f"{file}: cannot be taken; if no process trains in {run_dir}, remove it")
                time.sleep(0.02)
    finally:
        mine.unlink(missing_ok=True)


def _put(mine, file):
    """Give the lock its name where there is none, content and all."""
    try:
        os.link(mine, file)
        return True
    except FileExistsError:
        return False
    except (OSError, NotImplementedError, AttributeError):  # no hard links here
        try:
            handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        with os.fdopen(handle, "wb") as written:
            written.write(mine.read_bytes())
        return True


def _replace(mine, file, owner):
    """Replace the lock of a process that is gone, unless another does; whether that was done."""
    door = file.with_name(f".{NAME}.replacing")
    try:
        door.mkdir()
    except FileExistsError:
        with contextlib.suppress(OSError):
            if time.time() - door.stat().st_mtime > _PATIENCE:  # killed in between
                door.rmdir()
        return False
    try:
        if _owner(file) != owner:  # another was faster
            return False
        mine.replace(file)
        return True
    finally:
        door.rmdir()


def _give_back(run_dir):
    file, myself = run_dir / NAME, _myself()
    owner = _owner(file) or {}
    if all(owner.get(key) == myself[key] for key in ("pid", "started", "thread")):  # the host may be called anew
        with contextlib.suppress(OSError):
            file.unlink()


def _myself():
    pid = os.getpid()
    return {"pid": pid, "host": socket.gethostname(), "started": start_of(pid), "thread": threading.get_ident()}


def _owner(file):
    """Return whose lock it is, or None where there is none; {} stands for one that is damaged."""
    for _ in range(10):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        except FileNotFoundError:
            return None
        except ValueError:  # made and not yet written, where there are no hard links
            time.sleep(0.02)
    return {}


def _is_gone(owner):
    if not isinstance(owner.get("pid"), int):
        return True
    if owner.get("host") != socket.gethostname():
        return False  # nobody here can tell
    started = start_of(owner["pid"])
    return started is None or started != owner.get("started")


def _refusal(run_dir, owner):
    pid, host = owner["pid"], owner.get("host")
    if host != socket.gethostname():
        return (
            f"{run_dir}: process {pid} on {host} trains there; wait for its end, or choose another folder; if it is"
            f" gone, remove {run_dir / NAME}"
        )
    return f"{run_dir}: process {pid} trains there; wait for its end, stop it (kill {pid}), or choose another folder"
