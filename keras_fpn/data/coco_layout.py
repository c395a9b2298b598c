"""Where the annotation files and image folders of a COCO-format folder are."""

import os
from dataclasses import dataclass
from pathlib import Path

from keras_fpn.console.errors import UserError


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
    `valid/_annotations.coco.json`.

    Raises:
        UserError: neither layout is there, or it is there twice.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder; check the path")
    if (root / "annotations").is_dir():
        train = _one_annotation_file(root, "train")
        val = _one_annotation_file(root, "val")
        return CocoLayout(
            str(train),
            str(_image_folder(root, train, "train")),
            str(val),
            str(_image_folder(root, val, "val")),
        )
    if (root / "train" / "_annotations.coco.json").is_file():
        for name in ("valid", "val"):
            if (root / name / "_annotations.coco.json").is_file():
                parts = (root / "train", root / name)
                return CocoLayout(*(str(p) for d in parts for p in (d / "_annotations.coco.json", d)))
        raise UserError(f"{root / 'valid' / '_annotations.coco.json'}: not there; add a validation split")
    hint = " (data.yaml is there: this looks like a YOLO folder)" if (root / "data.yaml").is_file() else ""
    raise UserError(
        f"{root}: no COCO layout found{hint}; wanted annotations/instances_train*.json and "
        f"instances_val*.json beside train*/ and val*/, or train/_annotations.coco.json and "
        f"valid/_annotations.coco.json; name files that lie elsewhere by --set data.train.annotations=FILE "
        f"data.train.images=DIR and the same for data.val"
    )


def _one_annotation_file(root: Path, split: str) -> Path:
    files = sorted((root / "annotations").glob(f"instances_{split}*.json"))
    if not files:
        raise UserError(
            f"{root / 'annotations'}: no instances_{split}*.json; add it, or name the files in the config"
        )
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise UserError(
            f"{root / 'annotations'}: more than one {split} file ({names}); name one in the config"
        )
    return files[0]


def _image_folder(root: Path, annotations: Path, split: str) -> Path:
    name = annotations.stem.removeprefix("instances_")  # train2017
    for folder in (root / name, root / "images" / name, root / split, root / "images" / split):
        if folder.is_dir():
            return folder
    others = sorted(folder for folder in root.glob(f"{split}*") if folder.is_dir())
    if len(others) == 1:
        return others[0]
    raise UserError(
        f"{root / name}: no image folder for {annotations.name}; make it, or name it in the config"
    )
