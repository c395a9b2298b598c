"""Where the annotation files and image folders of a COCO-format folder are."""

import os
from dataclasses import dataclass
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.objects import shown

_INSIDE = "_annotations.coco.json"
_NAMES = {"train": ["train"], "val": ["val", "valid", "validation"]}


@dataclass(frozen=True)
class CocoLayout:
    """Where a COCO-format folder keeps its four parts."""

    train_annotations: str
    train_images: str
    val_annotations: str
    val_images: str


# ---------------------------------------------------------------------------------------- finding a layout


def find_coco_layout(data_dir: str | os.PathLike) -> CocoLayout:
    """Find the annotation files and image folders of a COCO-format folder.

    Two layouts are known: `annotations/instances_train*.json` and `instances_val*.json` beside `train*/` and
    `val*/` (COCO's own, images also under `images/`), and `train/_annotations.coco.json` with
    `valid/_annotations.coco.json`. Capital letters do not matter (CVAT writes `instances_Train.json`), and `val`,
    `valid` and `validation` are the same.

    Raises:
        UserError: neither layout is there, or it is there twice.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder; check the path")
    folder = _one(_folders(root, "annotations"), f"{root}: more than one folder of annotations")
    if folder is not None:
        train, val = (_one_annotation_file(folder, split) for split in ("train", "val"))
        return CocoLayout(
            str(train),
            str(_image_folder(root, train, "train")),
            str(val),
            str(_image_folder(root, val, "val")),
        )
    parts = [_self_contained(root, split) for split in ("train", "val")]
    if parts[0] is not None and parts[1] is not None:
        return CocoLayout(*(str(path) for part in parts if part for path in (part / _INSIDE, part)))
    if parts[0] is not None:
        raise UserError(f"{root / 'valid' / _INSIDE}: not there; add a validation split")
    hint = " (data.yaml is there: this looks like a YOLO folder)" if (root / "data.yaml").is_file() else ""
    raise UserError(
        f"{root}: no COCO layout found{hint}; wanted annotations/instances_train*.json and "
        f"instances_val*.json beside train*/ and val*/, or train/_annotations.coco.json and "
        f"valid/_annotations.coco.json; name files that lie elsewhere by --set data.train.annotations=FILE "
        f"data.train.images=DIR and the same for data.val"
    )


def _self_contained(root: Path, split: str) -> Path | None:
    """The folder of a half that holds its annotations and its images."""
    found = [folder for name in _NAMES[split] for folder in _folders(root, name) if (folder / _INSIDE).is_file()]
    return _one(found, f"{root}: more than one {split} folder with {_INSIDE}")


def _one_annotation_file(folder: Path, split: str) -> Path:
    entries = sorted(file for file in folder.iterdir() if file.name.lower().startswith("instances_"))
    entries = [file for file in entries if file.suffix.lower() == ".json"]
    found = [file for file in entries if file.name.lower().startswith(f"instances_{split}")]
    if found:
        return _one(found, f"{folder}: more than one {split} file") or found[0]
    if [file.stem.lower() for file in entries] == ["instances_default"]:
        raise UserError(
            f"{folder}: only {entries[0].name}, of one subset, and training needs two; divide the images among subsets"
            " Train and Validation (in CVAT, or in two files) and export again"
        )
    raise UserError(f"{folder}: no instances_{split}*.json; add it, or name the files in the config")


def _image_folder(root: Path, annotations: Path, split: str) -> Path:
    name = annotations.stem[len("instances_") :]  # train2017
    what = f"{root}: more than one image folder for {annotations.name}"
    places = [root, *_folders(root, "images")]
    for wanted in ([name], _NAMES[split]):
        for place in places:
            if (place / wanted[0]).is_dir():
                return place / wanted[0]
            folder = _one([folder for each in wanted for folder in _folders(place, each)], what)
            if folder is not None:
                return folder
    for place in places:
        others = [each for each in place.iterdir() if each.is_dir() and each.name.lower().startswith(split)]
        folder = _one(others, what)
        if folder is not None:
            return folder
    raise UserError(
        f"{root / name}: no image folder for {annotations.name}; make it, or name it in the config"
    )


def _folders(place: Path, name: str) -> list[Path]:
    """The folders of a name at a place, in whatever letters."""
    return sorted(folder for folder in place.iterdir() if folder.name.lower() == name.lower() and folder.is_dir())


def _one(found: list[Path], what: str) -> Path | None:
    """The only one; None if there is none, and several are refused with `what` and their names."""
    if len(found) > 1:
        names = ", ".join(sorted(shown(path.name) for path in found))
        raise UserError(f"{what} ({names}); name one in the config, or rename the others")
    return found[0] if found else None
