"""The folder of a new run: made, kept for its process, and removed again where the run leaves nothing to go on from."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from keras_fpn.config.loading import load_run_config
from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output, is_temporary
from keras_fpn.training import lock

# All that a run writes before its first checkpoint, and the folders of the first steps of a four-step run.
_BEGUN = ("config.yaml", "train_batch.jpg", "began.json", lock.NAME, "logs", "results.csv",
          "four_step.json")  # fmt: skip
_STEPS = ("1_rpn", "1_proposals", "2_fast_rcnn", "3_rpn", "3_proposals", "4_fast_rcnn")


@contextlib.contextmanager
def new_run_folder(out: str | os.PathLike | None, config_name: str | os.PathLike | None) -> Iterator[Path]:
    """Make a folder for the run inside: `out`, or runs/<config>, or runs/<config>-2 and so on.

    No other run gets the same one, and this process keeps it until the end of the context (`lock.held`). A run that
    fails before its first checkpoint leaves nothing behind. A folder that a killed run left before its first checkpoint
    may be used again.
    """
    folder, made = _make_run_folder(out, config_name)
    with lock.held(folder):
        _begin_anew(out, folder)
        try:
            yield folder
        except BaseException:
            if not has_checkpoint(folder):  # of the run, or of one of its steps
                shutil.rmtree(folder, ignore_errors=True)
                if folder not in made:  # it was there, empty, before
                    folder.mkdir(exist_ok=True)
                for parent in made[1:]:
                    with contextlib.suppress(OSError):  # another run is in it
                        parent.rmdir()
            raise


def check_place(out: str | os.PathLike | None) -> None:
    """Refuse a place for a new run before any work; without `out` that is runs/.

    Raises:
        UserError: nothing can be written there, it holds something, or another process trains there.
    """
    check_output(out or "runs", folder=True)
    if out and Path(out).exists():
        lock.refuse_if_held(out)
        _refuse_used(out, Path(out))


def folder_of_its_own(run_dir: Path) -> contextlib.AbstractContextManager:
    """Keep a folder for this process, and make it where it is not there yet."""
    return lock.held(run_dir) if run_dir.exists() else new_run_folder(run_dir, None)


def has_checkpoint(folder: Path) -> bool:
    """Whether there is anything to go on from, of a run or of one of its steps."""
    return any(any(folder.rglob(name)) for name in ("last.keras", "previous.keras"))


def _make_run_folder(out, config_name):
    """Return the folder and the ones that were made for it, itself first."""
    if out:
        folder = Path(out)
        if not folder.exists():
            with contextlib.suppress(FileExistsError):  # another process made it just now
                return folder, _make_folders(folder)
        check_place(out)
        return folder, []
    stem = Path("runs") / Path(config_name).stem
    for folder in [stem, *(stem.with_name(f"{stem.name}-{number}") for number in range(2, 10_000))]:
        with contextlib.suppress(FileExistsError):
            return folder, _make_folders(folder)
    raise UserError(f"{stem.parent}: is full of runs of this name; give --out RUN")


def _refuse_used(out, folder):
    if not folder.is_dir() or not _is_only_begun(folder):
        is_run = (folder / "config.yaml").is_file()
        further = f", or train --resume {out} goes on with it" if is_run else ""
        raise UserError(f"{out}: exists already; choose another --out{further}")


def _is_only_begun(folder):
    """Whether a folder is empty or holds nothing but what a run writes before its first checkpoint."""
    for each in folder.iterdir():
        is_step = each.name in _STEPS and (folder / "four_step.json").is_file() and not has_checkpoint(each)
        if each.name not in _BEGUN and not is_temporary(each.name) and not is_step:
            return False
    config = folder / "config.yaml"
    if not config.is_file():
        return not (folder / "logs").exists()  # those of somebody else
    try:
        # One that was written by hand is nobody's to remove.
        return load_run_config(config).to_yaml() == config.read_text(encoding="utf-8")
    except (UserError, OSError):
        return False


def _begin_anew(out, folder):
    """Look again, now that nobody else has the folder, and remove what a run left before its first checkpoint."""
    if out:
        _refuse_used(out, folder)
    left = [each for each in folder.iterdir() if each.name != lock.NAME]
    if left:
        print(f"{folder}: holds a run that was stopped before its first checkpoint; it begins anew", flush=True)
    for each in left:
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink()


def _make_folders(folder):
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(made):
        path.mkdir(exist_ok=path != folder)
    if folder not in made:
        raise FileExistsError(folder)
    return made
