"""COCO annotation files: read, checked and brought to the conventions of this package.

COCO writes boxes as x, y, width, height and gives categories any ids (1..90 with gaps in COCO itself). Here
boxes become x1, y1, x2, y2 clipped to the image, and classes become 0..K-1 in ascending order of the category
id. Whatever is wrong in a file is told in one line that names the file, the annotation or image, and the
mend.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_fpn.data import segmentations
from keras_fpn.errors import UserError

log = logging.getLogger(__name__)

_ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox")


@dataclass(frozen=True)
class Record:
    """One image and its objects.

    Attributes:
        path: the image file.
        file_name: the name the annotation file gives it.
        image_id: COCO's id.
        height, width: pixels, as the annotation file says; the file is held to it when it is decoded.
        boxes: [n, 4] float32 x1, y1, x2, y2 in pixels, clipped to the image, width and height above zero.
        classes: [n] int32 in 0..K-1.
        is_crowd: [n] int32, 1 where the box bounds a crowd rather than one object.
        masks: [n, 392] uint8, a bit for each of the 56 x 56 bins of each box (`segmentations.unpack`); None if they
            were not asked for.
    """

    path: str
    file_name: str
    image_id: int
    height: int
    width: int
    boxes: np.ndarray
    classes: np.ndarray
    is_crowd: np.ndarray
    masks: np.ndarray | None = None


@dataclass(frozen=True)
class CocoDataset:
    """A checked annotation file: the K `class_names`, their `category_ids` in the file, and the `records`.

    `proposals`, where there are some: the `proposal_files.ImageProposals` of its images.
    """

    annotations: str
    images: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    records: tuple[Record, ...]
    dropped: tuple[int, ...] = ()  # ids of the annotations left out by invalid_boxes="drop"
    proposals: object = None

    def __len__(self) -> int:
        return len(self.records)


@dataclass(frozen=True)
class CocoLayout:
    """Where a COCO-format folder keeps its four parts."""

    train_annotations: str
    train_images: str
    val_annotations: str
    val_images: str


def read_coco(
    annotations: str | os.PathLike,
    images: str | os.PathLike,
    *,
    category_ids: Sequence[int] | None = None,
    invalid_boxes: str = "refuse",
    masks: bool = False,
) -> CocoDataset:
    """Read and check an annotation file ("instances" format) and the presence of its image files.

    Args:
        annotations: JSON file with "images", "annotations" and "categories".
        images: folder that holds the "file_name" of each image.
        category_ids: the categories a model was trained on, in the order of its classes; the file's
            categories by ascending id if None. Give it when evaluating, so that class numbers agree with the
            model.
        invalid_boxes: "refuse" (an error) or "drop" boxes without width or height, with values that are not
            finite numbers, or wholly outside their image. COCO's own train2017 holds a few without height. With
            masks also objects that cover nothing of their box.
        masks: also read each object's "segmentation": polygons, or run lengths, compressed or not.

    Returns:
        the records in the order of "images"; images without objects are kept.

    Raises:
        UserError: anything in the file that training or evaluation could not trust.
    """
    if invalid_boxes not in ("refuse", "drop"):
        raise UserError(f'invalid_boxes must be "refuse" or "drop", not {invalid_boxes!r}')
    annotations, images = Path(annotations), Path(images)
    document = _read_json(annotations)
    names, ids = _read_categories(annotations, document["categories"], category_ids)
    entries = _read_images(annotations, document["images"], images)
    columns = _read_annotations(annotations, document["annotations"])
    rows, classes = _look_up(annotations, columns, entries, ids)
    boxes, good = _convert_boxes(annotations, columns, entries, rows, invalid_boxes)
    packed = np.zeros((len(good), 0), np.uint8)
    if masks:
        packed, good = _read_masks(annotations, document["annotations"], entries, rows, boxes, good, invalid_boxes)
    dropped = tuple(columns["id"][~good].tolist())
    if dropped:
        log.warning("%s: dropped %d of %d boxes as invalid", annotations, len(dropped), len(good))
    is_crowd = columns["iscrowd"].astype(np.int32)
    records = _gather(entries, images, rows[good], *(column[good] for column in (boxes, classes, is_crowd, packed)))
    return CocoDataset(str(annotations), str(images), names, ids, records, dropped)


# ------------------------------------------------------------------------------------- parts of the file


def _read_json(path: Path) -> dict:
    try:
        with open(path, "rb") as file:
            document = json.load(file)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such annotation file; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read the annotation file ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a whole JSON file ({error}); write or download it again") from None
    if isinstance(document, list):
        raise UserError(
            f"{path}: holds a list (a results file?); give a COCO instances file, an object with "
            f'"images", "annotations" and "categories"'
        )
    for key in ("images", "annotations", "categories"):
        value = document.get(key) if isinstance(document, dict) else None
        if not isinstance(value, list):
            what = "is missing" if value is None else "is not a list"
            raise UserError(
                f'{path}: "{key}" {what}; a COCO instances file has "images", "annotations" and "categories"'
            )
        wrong = next((index for index, item in enumerate(value) if not isinstance(item, dict)), None)
        if wrong is not None:
            raise UserError(f'{path}: entry {wrong} of "{key}" is not an object; correct it')
    return document


def _read_categories(path: Path, categories: list[dict], wanted: Sequence[int] | None):
    """Class names and category ids in class order."""
    names = {}
    for index, category in enumerate(categories):
        number, name = category.get("id"), category.get("name")
        if not _is_whole(number):
            raise UserError(f'{path}: entry {index} of "categories" has no whole number as "id"; add it')
        if not isinstance(name, str) or not name.strip():
            raise UserError(f'{path}: category {number} has no "name"; add it')
        if number in names:
            raise UserError(f"{path}: category id {number} is given twice; make the ids unique")
        names[number] = name.strip()
    if not names:
        raise UserError(f'{path}: "categories" is empty; list the classes that the annotations use')
    # Exporters that also list the super-category can give two categories one name: keep both apart.
    count = Counter(names.values())
    names = {number: name if count[name] == 1 else f"{name} ({number})" for number, name in names.items()}
    if wanted is None:
        ids = tuple(sorted(names))
    else:
        ids = tuple(int(number) for number in wanted)
        unknown = sorted(set(names) - set(ids))
        if unknown:
            raise UserError(
                f"{path}: category {unknown[0]} ({names[unknown[0]]!r}) is not one of the model's "
                f"category ids {_short(ids)}; evaluate on the categories of the training data"
            )
    return tuple(names.get(number, str(number)) for number in ids), ids


def _read_images(path: Path, entries: list[dict], folder: Path) -> list[dict]:
    if not entries:
        raise UserError(f'{path}: "images" is empty; there is nothing to train or evaluate on')
    seen = set()
    for index, entry in enumerate(entries):
        if not _is_whole(entry.get("id")):
            raise UserError(f'{path}: entry {index} of "images" has no whole number as "id"; add it')
        image = f"{path}: image {entry['id']}"
        if entry["id"] in seen:
            raise UserError(f"{image} is listed twice; make the image ids unique")
        seen.add(entry["id"])
        if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            raise UserError(f'{image} has no "file_name"; add it')
        for key in ("height", "width"):
            value = entry.get(key)
            if not _is_number(value) or not 1 <= value < 2**31 or not float(value).is_integer():
                raise UserError(
                    f'{image} has "{key}" {_short(value)}; write the size of {entry["file_name"]} in pixels'
                )
    _check_files(path, entries, folder)
    return entries


def _check_files(path: Path, entries: list[dict], folder: Path) -> None:
    """Every image file is there. Lists each folder once: much faster than asking for every file by itself."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such image folder (the images of {path}); check the path")
    listed, missing = {}, []
    for entry in entries:
        parent, name = os.path.split(os.path.join(folder, entry["file_name"]))
        if parent not in listed:
            listed[parent] = set(os.listdir(parent)) if os.path.isdir(parent) else set()
        if name not in listed[parent]:
            missing.append(entry)
    if missing:
        first = missing[0]
        more = f" (and {len(missing) - 1} more of {len(entries)} images)" if len(missing) > 1 else ""
        raise UserError(
            f"{folder / first['file_name']}: image {first['id']} of {path} is not there{more}; "
            f"check the image folder, or remove the entry"
        )


def _read_annotations(path: Path, items: list[dict]) -> dict[str, np.ndarray]:
    """Columns "id", "image_id", "category_id", "iscrowd" [n] int64 and "bbox" [n, 4] float64 (x y w h)."""
    try:
        columns = {key: np.array([item[key] for item in items]) for key in _ANNOTATION_KEYS}
        columns["iscrowd"] = np.array([item.get("iscrowd", 0) for item in items])
        sound = (
            all(columns[key].dtype.kind == "i" for key in ("id", "image_id", "category_id"))
            and columns["iscrowd"].dtype.kind in "bi"
            and columns["bbox"].dtype.kind in "if"
            and columns["bbox"].shape == (len(items), 4)
            and set(np.unique(columns["iscrowd"]).tolist()) <= {0, 1}
        )
    except (KeyError, ValueError, OverflowError):
        sound = False
    if not items:
        columns, sound = {key: np.zeros(0) for key in (*_ANNOTATION_KEYS, "iscrowd")}, True
    if not sound:
        _refuse_annotations(path, items)
    ids, count = np.unique(columns["id"], return_counts=True)
    if (count > 1).any():
        twice = ids[np.argmax(count > 1)]
        raise UserError(f"{path}: annotation id {twice} is given twice; make the annotation ids unique")
    columns = {key: column.astype(np.int64) for key, column in columns.items() if key != "bbox"} | {
        "bbox": columns["bbox"].astype(np.float64).reshape(-1, 4)
    }
    return columns


def _refuse_annotations(path: Path, items: list[dict]) -> None:
    """Find the annotation that could not become a row of numbers, one by one, and name it."""
    for index, item in enumerate(items):
        name = f"{path}: annotation {item.get('id', f'number {index}')}"
        for key in ("id", "image_id", "category_id"):
            if not _is_whole(item.get(key)):
                raise UserError(f'{name} has "{key}" {_short(item.get(key))}; write a whole number')
        box = item.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise UserError(
                f'{name} has "bbox" {_short(box)}; write four numbers x, y, width, height in pixels'
            )
        if item.get("iscrowd", 0) not in (0, 1):
            raise UserError(f'{name} has "iscrowd" {_short(item["iscrowd"])}; write 0 or 1')
    raise UserError(f"{path}: the annotations are not all numbers; check them")


# --------------------------------------------------------------------------------- bringing them together


def _look_up(path: Path, columns, entries, ids) -> tuple[np.ndarray, np.ndarray]:
    """Row of the image and class 0..K-1 of every annotation."""
    row_of = {entry["id"]: row for row, entry in enumerate(entries)}
    class_of = {number: label for label, number in enumerate(ids)}
    rows = np.array([row_of.get(number, -1) for number in columns["image_id"].tolist()], np.int64)
    classes = np.array([class_of.get(number, -1) for number in columns["category_id"].tolist()], np.int32)
    for found, key, where in ((rows, "image_id", "images"), (classes, "category_id", "categories")):
        if (found < 0).any():
            first = int(np.argmax(found < 0))
            known = f" {_short(ids)}" if key == "category_id" else ""
            raise UserError(
                f"{path}: annotation {columns['id'][first]} has {key} {columns[key][first]}, which is "
                f'not in "{where}"{known}; correct it or add the entry'
            )
    return rows, classes


def _convert_boxes(path: Path, columns, entries, rows, invalid_boxes: str) -> tuple[np.ndarray, np.ndarray]:
    """xywh -> xyxy clipped to the image [n, 4] float32, and which of them are sound [n] bool."""
    start, extent = columns["bbox"][:, :2], columns["bbox"][:, 2:]
    size = np.array([(entry["width"], entry["height"]) for entry in entries], np.float64)[rows].reshape(-1, 2)
    with np.errstate(invalid="ignore"):
        corners = np.concatenate([start, start + extent], 1)
        boxes = np.clip(corners, 0, np.tile(size, 2)).astype(np.float32)
        finite = np.isfinite(columns["bbox"]).all(1)
        positive = (extent > 0).all(1)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    good = finite & positive & inside
    if good.all() or invalid_boxes == "drop":
        return boxes, good
    first = int(np.argmin(good))
    entry = entries[rows[first]]
    if not finite[first]:
        wrong = "is not finite"
    elif not positive[first]:
        wrong = "has no positive width and height"
    else:
        wrong = f"lies outside the image of {entry['width']} x {entry['height']} pixels (width x height)"
    box = ", ".join(f"{value:g}" for value in columns["bbox"][first])
    where = f"annotation {columns['id'][first]} of image {entry['id']} ({entry['file_name']})"
    raise UserError(
        f"{path}: {where}: box [{box}] {wrong}{_and_more(good)}; correct it (x, y, width, height), "
        f'or leave such boxes out: --set data.invalid_boxes=drop (from Python invalid_boxes="drop")'
    )


def _read_masks(path: Path, items, entries, rows, boxes, good, invalid_boxes: str) -> tuple[np.ndarray, np.ndarray]:
    """Packed masks of the annotations [n, 392] uint8, and which annotations are sound with them [n] bool."""
    rows_of = np.flatnonzero(good)
    items = [items[row] for row in rows_of]
    sizes = np.array([(entry["height"], entry["width"]) for entry in entries], np.int64)[rows[rows_of]].reshape(-1, 2)
    bad = next(segmentations.unusable(items, sizes), None)
    if bad is not None:
        where = _annotation_name(path, items[bad[0]], entries[rows[rows_of[bad[0]]]])
        raise UserError(
            f'{where}: "segmentation" {bad[1]}; segment proposals need masks: add it, polygons or run lengths of every'
            f" object"
        )
    packed = np.zeros((len(good), segmentations.PACKED), np.uint8)
    packed[good] = segmentations.rasterise([item["segmentation"] for item in items], boxes[good], sizes)
    sound = good & packed.any(axis=1)
    if invalid_boxes == "refuse" and (sound != good).any():
        first = int(np.argmax(sound != good))
        where = _annotation_name(path, items[first], entries[rows[first]])
        raise UserError(
            f'{where}: its "segmentation" covers nothing of its box{_and_more(sound)}; correct it, or leave such'
            ' objects out: --set data.invalid_boxes=drop (from Python invalid_boxes="drop")'
        )
    return packed, sound


def _annotation_name(path: Path, item, entry) -> str:
    return f"{path}: annotation {item['id']} of image {entry['id']} ({entry['file_name']})"


def _and_more(good: np.ndarray) -> str:
    count = int((~good).sum()) - 1
    return f" (and {count} more of {len(good)} boxes)" if count else ""


def _gather(entries, folder: Path, rows, *columns) -> tuple[Record, ...]:
    order = np.argsort(rows, kind="stable")  # by image, the file's order within each
    ends = np.cumsum(np.bincount(rows, minlength=len(entries)))[:-1]
    parts = zip(entries, *(np.split(column[order], ends) for column in columns), strict=True)
    return tuple(
        Record(
            path=os.path.join(folder, entry["file_name"]),
            file_name=entry["file_name"],
            image_id=entry["id"],
            height=int(entry["height"]),
            width=int(entry["width"]),
            boxes=image_boxes,
            classes=image_classes,
            is_crowd=image_crowd,
            masks=image_masks if image_masks.shape[1] else None,
        )
        for entry, image_boxes, image_classes, image_crowd, image_masks in parts
    )


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _short(value, limit: int = 60) -> str:
    text = str(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= limit else text[: limit - 4] + " ..."


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
