"""TFDS data sets on disk: the folder of a name, and its splits, without importing anything of TFDS."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import read_json
from keras_fpn.data.listing import folders_in
from keras_fpn.data.objects import shown
from keras_fpn.data.tfds.known import Known, known

_INFO = "dataset_info.json"
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_VAL = ("validation", "val", "valid", "test")


def data_dir() -> Path:
    """Return where TFDS itself prepares data sets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find_prepared(data: str, tfds_dir: str | os.PathLike | None = None) -> Path:
    """The folder of a prepared data set: the one that holds its files, of several versions the newest.

    Args:
        data: the folder or one that holds its versions; or a name, such as "voc/2012", or "voc/2012:5.0.0".
        tfds_dir: where data sets are prepared; TFDS's own folder by default.

    Raises:
        UserError: there is none, or its configuration must be named.
    """
    given = Path(data).expanduser()
    name, _, version = data.partition(":")
    places = [(given, "")] if given.is_dir() else []
    root = data_dir() if tfds_dir is None else Path(tfds_dir)
    if not given.is_absolute():
        places.append((root / name, version))
    for place, wanted in places:
        found = _inside(place, wanted)
        if len(found) > 1:
            names = ", ".join(folder.parent.name for folder in found)
            raise UserError(f"tfds:{data}: has several configurations ({names}); write tfds:{data}/{_last(found)}")
        if found:
            return found[0].absolute()
    if given.is_dir() or given.is_absolute():
        raise UserError(f"{given}: no TFDS data set lies there (no {_INFO}); check the path")
    raise UserError(
        f"tfds:{shown(data)}: not prepared in {root}; check the name, name another folder by --tfds-dir or"
        f" TFDS_DATA_DIR, or prepare it: keras-fpn data from-tfds {shown(data)} OUT --download"
    )


def _last(found):
    return found[-1].parent.name


def _inside(place: Path, version: str) -> list[Path]:
    """The data sets at a place: the newest version of each configuration."""
    if (place / _INFO).is_file():
        return [place]
    newest = _newest(place, version)
    if newest is not None or not place.is_dir():
        return [newest] if newest is not None else []
    found = (_newest(folder, version) for folder in folders_in(place))
    return [folder for folder in found if folder is not None]


def _newest(place, version):
    inside = folders_in(place) if place.is_dir() else []
    folders = {each.name: each for each in inside if _VERSION.fullmatch(each.name)}
    names = [name for name, folder in folders.items() if (folder / _INFO).is_file() and version in ("", name)]
    return folders[max(names, key=lambda name: [int(part) for part in name.split(".")])] if names else None


def holds_prepared(folder: Path) -> bool:
    """Whether a folder is a prepared data set, or holds versions of one."""
    return bool(_inside(folder, ""))


class Prepared:
    """A prepared data set, as its `dataset_info.json` describes it.

    Attributes:
        folder: that holds its files.
        name: of the data set, with its configuration: "voc/2012".
        known: what is known of it.
        splits: `{name: number of examples}`.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._info = _info(folder)
        name, config = self._info["name"], self._info.get("configName", "")
        self.name = f"{name}/{config}" if config else name
        self.known: Known = known(name, config)
        lengths = ((each["name"], each.get("shardLengths", [])) for each in self._info["splits"])
        self.splits: Mapping[str, int] = {split: sum(map(int, numbers)) for split, numbers in lengths}

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name}:{self._info.get('version', self.folder.name)}"

    @property
    def is_tfrecord(self) -> bool:
        """Whether the examples lie in TFRecord files, TFDS's default."""
        return self._info.get("fileFormat", "tfrecord") == "tfrecord"

    def halves(self) -> dict[str, str]:
        """The labelled splits by what they are: `{"train": split, "val": split, other splits by their own names}`.

        "val" is the first of validation, val, valid and test that there is.
        """
        labelled = [name for name in self.splits if name not in self.known.unlabelled]
        val = next((name for name in _VAL if name in labelled), None)
        halves = {"train": "train"} if "train" in labelled else {}
        if val is not None:
            halves["val"] = val
        return halves | {name: name for name in labelled if name not in ("train", val)}

    def described_by(self) -> Iterator[Path]:
        """The files that say what is in it: its splits with the bytes and the number of examples, features, classes."""
        yield self.folder / _INFO
        yield from (path for path in sorted(self.folder.iterdir()) if path.suffix in (".json", ".txt") and
                    path.name != _INFO)  # fmt: skip


def _info(folder) -> dict[str, Any]:
    path, mend = folder / _INFO, "prepare the data set again"
    info = read_json(path, mend)
    is_right = isinstance(info, dict) and isinstance(info.get("name"), str) and isinstance(info.get("splits"), list)
    if not is_right or not all(isinstance(each, dict) and "name" in each for each in info["splits"]):
        raise UserError(f'{path}: has no "name" and "splits"; {mend}')
    return info
