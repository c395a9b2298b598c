"""Where programs lay COCO's files and the images that belong to them.

    COCO, CVAT, Datumaro     annotations/instances_train*.json beside train*/ or images/train*/; instances_default.json
    others of this kind      annotations/train.json, and the images in folders of the same names or all in images/
    Roboflow                 train/_annotations.coco.json among its images, valid/, test/
    FiftyOne, by halves      train/labels.json and train/data/
    Supervisely              a folder of each data set: annotations/instances.json (or ann/) and images/ (or img/)
    Label Studio             result.json and images/, which the file names include
    FiftyOne, VIA, labelme2coco
                             labels.json and data/, via_export_coco.json, annotations.json and JPEGImages/

Capital letters do not matter, and `val`, `valid` and `validation` are the same. A file of another name than COCO's own
is looked into: it counts where it has COCO's three lists. The image folder of such a file is the one in which its first
images are.
"""

import json
import mmap
import os
import re
from collections.abc import Mapping
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.format import Half
from keras_fpn.data.formats.half_files import divided, folders, half_folders
from keras_fpn.data.formats.half_names import half_in
from keras_fpn.data.formats.json_files import json_files
from keras_fpn.data.formats.picture_places import places_beside
from keras_fpn.data.formats.shards import INDEX
from keras_fpn.data.listing import folders_in, names_ending
from keras_fpn.data.objects import shown

_INSIDE = "_annotations.coco.json"
_NAMES = {"train": ["train"], "val": ["val", "valid", "validation"], "test": ["test"]}
_OTHER_TASKS = ("person_keypoints_", "captions_", "panoptic_", "stuff_", "image_info_")
_SECTIONS = tuple(re.compile(rb'"%s"\s*:\s*\[' % name) for name in (b"images", b"annotations", b"categories"))
_FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')
_LOOKED_AT = 5  # images of a file


def find(folder: Path) -> dict[str, Half] | None:
    """The halves of a folder; see `AnnotationFormat.find`."""
    for look in (_in_annotations, _roboflow, _in_folders_of_halves, _of_data_sets, _at_the_root):
        halves = look(folder)
        if halves is not None:
            return halves
    return None


def _in_annotations(root: Path) -> dict[str, Half] | None:
    annotations = _one(_folders(root, "annotations"), f"{root}: more than one folder of annotations")
    if annotations is None:
        return None
    named = _instances_files(annotations)
    if not named:
        return _by_content(annotations, f"{annotations}: COCO files")
    if len(named) == 1 and half_in(named[0].stem) is None:  # CVAT's instances_default.json, where nobody divided them
        return {"all": Half(str(named[0]), str(_image_folder(root, named[0], "default")))}
    halves = {split: _one_annotation_file(annotations, split) for split in ("train", "val")}
    found = {half: Half(str(file), str(_image_folder(root, file, half))) for half, file in halves.items()}
    return found | _test_half(root, annotations)


def _roboflow(root: Path) -> dict[str, Half] | None:
    parts = {split: _self_contained(root, split) for split in _NAMES}
    if parts["train"] is None:
        return None
    if parts["val"] is None:
        raise UserError(f"{root / 'valid' / _INSIDE}: not there; add a validation split")
    return {half: Half(str(part / _INSIDE), str(part)) for half, part in parts.items() if part}


def _in_folders_of_halves(root: Path) -> dict[str, Half] | None:
    places = half_folders(root)
    inside = {name: _only(_unnamed_files(folder), folder) for name, folder in places.items()}
    unread = {name: file for name, folder in places.items() if inside[name] is None for file in _damaged(folder)}
    found = {name: file for name, file in inside.items() if file}
    return _halves(found, f"{root}: folders with COCO files", unread)


def _of_data_sets(root: Path) -> dict[str, Half] | None:
    """Folders with annotations and images of their own, as Supervisely exports data sets."""
    inside: dict[str, Path | None] = {}
    unread: dict[str, Path] = {}
    for folder in folders(root):
        names = {each.name.lower(): each for each in folders(folder)}
        if "images" in names or "img" in names:
            files = [file for name in ("annotations", "ann") if name in names for file in _unnamed_files(names[name])]
            inside[folder.name] = _only([file for file in files if file.stem.lower() == "instances"], folder)
            others = [file for name in ("annotations", "ann") if name in names for file in _damaged(names[name])]
            unread.update((folder.name, file) for file in others if file.stem.lower() == "instances")
    found = {name: file for name, file in inside.items() if file}
    return _halves(found, f"{root}: data sets with COCO files", unread)


def _at_the_root(root: Path) -> dict[str, Half] | None:
    return _by_content(root, f"{root}: COCO files")


# ------------------------------------------------------------------------------------------------ by content


def _unnamed_files(folder: Path) -> list[Path]:
    """The files of a folder that are COCO's by content, and of its instances; an index of shards is one, and more."""
    return [file for file in _candidates(folder) if _is_coco(file)]


def _damaged(folder: Path) -> list[Path]:
    """The files of a folder that may have been COCO's: of other content, but no list, as results are, or empty."""
    files = [file for file in _candidates(folder) if not _is_coco(file)]
    return [file for file in files if (text := _mapped(file)) is None or _first_of(text) == b"{"]


def _candidates(folder: Path) -> list[Path]:
    files = [file for file in json_files(folder) if not file.name.lower().startswith(_OTHER_TASKS)]
    return [file for file in files if not file.name.endswith(INDEX)]


def _by_content(folder: Path, what: str) -> dict[str, Half] | None:
    files = {file.stem: file for file in _unnamed_files(folder)}
    return _halves(files, what, {file.stem: file for file in _damaged(folder)} if files else {})


def _halves(found: Mapping[str, Path], what: str, unread: Mapping[str, Path]) -> dict[str, Half] | None:
    halves = divided(found, what, unread)
    if halves is None:
        return None
    return {half: Half(str(file), str(_folder_with(file, half))) for half, file in halves.items()}


def _folder_with(file: Path, half: str) -> Path:
    """The folder in which the images of a file are, by the names that it has for them."""
    places = places_beside(file, half)
    for place in places:
        if any((place / name.replace("\\", "/")).is_file() for name in _image_names(file)):
            return place
    return places[0]


def _is_coco(file: Path) -> bool:
    """Whether a file has COCO's three lists; it is not read as JSON, which takes seconds where it is large."""
    text = _mapped(file)
    return text is not None and _first_of(text) == b"{" and all(section.search(text) for section in _SECTIONS)


def _first_of(text: mmap.mmap) -> bytes:
    """The first character, a mark of the byte order and spaces passed over."""
    return text[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]


def _image_names(file: Path) -> list[str]:
    found: list[str] = []
    for match in _FILE_NAME.finditer(_mapped(file) or b""):
        found.append(json.loads(match[1]))
        if len(found) == _LOOKED_AT:
            break
    return found


def _mapped(file: Path) -> mmap.mmap | None:
    try:
        with open(file, "rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if os.path.getsize(file) else None
    except OSError:
        return None


def _only(files: list[Path], folder: Path) -> Path | None:
    return _one(files, f"{folder}: more than one COCO file")


# ------------------------------------------------------------------------------------------------ by COCO's names


def _self_contained(root: Path, split: str) -> Path | None:
    """The folder of a half that holds its annotations and its images."""
    found = [folder for name in _NAMES[split] for folder in _folders(root, name) if (folder / _INSIDE).is_file()]
    return _one(found, f"{root}: more than one {split} folder with {_INSIDE}")


def _instances_files(folder: Path) -> list[Path]:
    return [folder / name for name in names_ending(folder, ".json") if name.lower().startswith("instances_")]


def _one_annotation_file(folder: Path, split: str) -> Path:
    found = [file for file in _instances_files(folder) if file.name.lower().startswith(f"instances_{split}")]
    if found:
        return _one(found, f"{folder}: more than one {split} file") or found[0]
    raise UserError(f"{folder}: no instances_{split}*.json; add it, or name the files in the config")


def _test_half(root: Path, annotations: Path) -> dict[str, Half]:
    """The third half, where it is whole: nothing needs it."""
    try:
        file = _one_annotation_file(annotations, "test")
        return {"test": Half(str(file), str(_image_folder(root, file, "test")))}
    except UserError:
        return {}


def _image_folder(root: Path, annotations: Path, split: str) -> Path:
    name = annotations.stem[len("instances_") :]  # train2017
    what = f"{root}: more than one image folder for {annotations.name}"
    places = [root, *_folders(root, "images")]
    for wanted in ([name], _NAMES.get(split, [split])):
        for place in places:
            if (place / wanted[0]).is_dir():
                return place / wanted[0]
            folder = _one([folder for each in wanted for folder in _folders(place, each)], what)
            if folder is not None:
                return folder
    for place in places:
        others = [each for each in folders_in(place) if each.name.lower().startswith(split)]
        folder = _one(others, what)
        if folder is not None:
            return folder
    undivided = next((place for place in places[1:] if any(each.is_file() for each in place.iterdir())), None)
    if undivided is not None:
        return undivided
    raise UserError(f"{root / name}: no image folder for {annotations.name}; make it, or name it in the config")


def _folders(place: Path, name: str) -> list[Path]:
    """The folders of a name at a place, in whatever letters."""
    return [folder for folder in folders_in(place) if folder.name.lower() == name.lower()]


def _one(found: list[Path], what: str) -> Path | None:
    """The only one; None if there is none, and several are refused with `what` and their names."""
    if len(found) > 1:
        names = ", ".join(sorted(shown(path.name) for path in found))
        raise UserError(f"{what} ({names}); name one in the config, or rename the others")
    return found[0] if found else None
