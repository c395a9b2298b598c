"""COCO instances files, and where a COCO-format folder has them."""

from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.objects import shown

_INSIDE = "_annotations.coco.json"
_NAMES = {"train": ["train"], "val": ["val", "valid", "validation"]}


class Coco(AnnotationFormat):
    """COCO instances files.

    Two layouts are known: `annotations/instances_train*.json` and `instances_val*.json` beside `train*/` and
    `val*/` (COCO's own, images also under `images/`), and `train/_annotations.coco.json` with
    `valid/_annotations.coco.json`. Capital letters do not matter (CVAT writes `instances_Train.json`), and `val`,
    `valid` and `validation` are the same.
    """

    name, title = "coco", "COCO instances"
    layout = (
        "annotations/instances_train*.json and instances_val*.json beside train*/ and val*/, or"
        " train/_annotations.coco.json and valid/_annotations.coco.json"
    )

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        annotations = _one(_folders(folder, "annotations"), f"{folder}: more than one folder of annotations")
        if annotations is not None and any(file.suffix.lower() == ".json" for file in annotations.iterdir()):
            whole = _undivided(annotations)
            if whole is not None:
                return {"all": Half(str(whole), str(_image_folder(folder, whole, "default")))}
            train, val = (_one_annotation_file(annotations, split) for split in ("train", "val"))
            return {
                half: Half(str(file), str(_image_folder(folder, file, half)))
                for half, file in (("train", train), ("val", val))
            }
        parts = [_self_contained(folder, split) for split in ("train", "val")]
        if parts[0] is not None and parts[1] is not None:
            halves = zip(("train", "val"), (part for part in parts if part), strict=True)
            return {half: Half(str(part / _INSIDE), str(part)) for half, part in halves}
        if parts[0] is not None:
            raise UserError(f"{folder / 'valid' / _INSIDE}: not there; add a validation split")
        return None


def _self_contained(root: Path, split: str) -> Path | None:
    """The folder of a half that holds its annotations and its images."""
    found = [folder for name in _NAMES[split] for folder in _folders(root, name) if (folder / _INSIDE).is_file()]
    return _one(found, f"{root}: more than one {split} folder with {_INSIDE}")


def _instances_files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if file.name.lower().startswith("instances_"))
    return [file for file in files if file.suffix.lower() == ".json"]


def _undivided(folder: Path) -> Path | None:
    """The file of all images that CVAT writes where nobody divided them, and no other is there."""
    files = _instances_files(folder)
    return files[0] if [file.stem.lower() for file in files] == ["instances_default"] else None


def _one_annotation_file(folder: Path, split: str) -> Path:
    found = [file for file in _instances_files(folder) if file.name.lower().startswith(f"instances_{split}")]
    if found:
        return _one(found, f"{folder}: more than one {split} file") or found[0]
    raise UserError(f"{folder}: no instances_{split}*.json; add it, or name the files in the config")


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
        others = [each for each in place.iterdir() if each.is_dir() and each.name.lower().startswith(split)]
        folder = _one(others, what)
        if folder is not None:
            return folder
    raise UserError(f"{root / name}: no image folder for {annotations.name}; make it, or name it in the config")


def _folders(place: Path, name: str) -> list[Path]:
    """The folders of a name at a place, in whatever letters."""
    return sorted(folder for folder in place.iterdir() if folder.name.lower() == name.lower() and folder.is_dir())


def _one(found: list[Path], what: str) -> Path | None:
    """The only one; None if there is none, and several are refused with `what` and their names."""
    if len(found) > 1:
        names = ", ".join(sorted(shown(path.name) for path in found))
        raise UserError(f"{what} ({names}); name one in the config, or rename the others")
    return found[0] if found else None
