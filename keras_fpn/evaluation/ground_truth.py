"""The ground truth as pycocotools takes it: annotations copied, checked, numbered anew, masks encoded."""

import contextlib
import io
import json
import math
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_fpn.console.errors import UserError
from keras_fpn.evaluation.checked_results import four_numbers
from keras_fpn.ops import masks

if TYPE_CHECKING:
    from pycocotools.coco import COCO


def read_annotations(annotations: str | os.PathLike | dict) -> tuple[str, Any]:
    """(a name for messages, the content) of a path or a dict."""
    if isinstance(annotations, dict):
        return "annotations", annotations
    path = Path(annotations)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such annotation file; give the path of a COCO instances JSON") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a readable JSON file ({error}); give a COCO instances JSON") from None
    return str(path), content


def clean_annotations(
    content: Any, source: str, leave_out: Collection[int]
) -> tuple[dict[str, list[dict]], list[dict]]:
    """A copy with what pycocotools needs and nothing it changes in the caller's dict; and the entries that it is of."""
    keys = content if isinstance(content, dict) else {}
    for key in ("images", "annotations", "categories"):
        if not isinstance(keys.get(key), list):
            raise UserError(f"{source}: no COCO instances file, it lacks a list {key!r}; give instances JSON")
        if key != "annotations" and not all("id" in item for item in content[key]):
            raise UserError(f"{source}: an entry of {key!r} lacks 'id'; number them")
    images = [{key: image[key] for key in ("id", "height", "width") if key in image} for image in content["images"]]
    categories = [dict(category) for category in content["categories"]]
    image_ids = {image["id"] for image in images}
    category_ids = {category["id"] for category in categories}
    annotations = []
    kept = [item for item in content["annotations"] if item.get("id") not in leave_out]
    # Numbered anew from 1: pycocotools takes an object with id 0 for "unmatched" and merges equal ids.
    for number, annotation in enumerate(kept, start=1):
        clean = _clean_annotation(annotation, source, image_ids, category_ids)
        annotations.append({"id": number, "name": annotation.get("id", "without id"), **clean})
    return {"images": images, "categories": categories, "annotations": annotations}, kept


def _clean_annotation(annotation, source, image_ids, category_ids):
    name = f"{source}: annotation {annotation.get('id', '(without id)')}"
    missing = [key for key in ("image_id", "category_id", "bbox") if key not in annotation]
    if missing:
        raise UserError(f"{name} lacks {missing[0]!r}; add it or drop the annotation")
    if annotation["image_id"] not in image_ids:
        raise UserError(f"{name}: image id {annotation['image_id']!r} is not in 'images'; drop or mend it")
    if annotation["category_id"] not in category_ids:
        category_id = annotation["category_id"]
        raise UserError(f"{name}: category id {category_id!r} is not in 'categories'; drop or mend it")
    bbox = four_numbers(annotation["bbox"], f"{name}: bbox")
    area = annotation.get("area")
    if area is not None and (not isinstance(area, int | float) or isinstance(area, bool) or not 0 <= area < math.inf):
        raise UserError(f"{name}: area is {shorten([area])[1:-1]}; write the object's pixels, or leave it out")
    return {
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "bbox": bbox,
        "area": bbox[2] * bbox[3] if area is None else float(area),
        "iscrowd": int(annotation.get("iscrowd") or 0),
        "has_area": area is not None,
        "segmentation": annotation.get("segmentation"),
    }


def encode_ground_truth(dataset: dict[str, list[dict]], source: str) -> dict[str, list[dict]]:
    """The data set with every "segmentation" as a segment; UserError where one is missing or wrong."""
    sizes: dict[int, Any] = {image["id"]: (image.get("height"), image.get("width")) for image in dataset["images"]}
    unsized = next((image_id for image_id, size in sizes.items() if None in size), None)
    if unsized is not None:
        raise UserError(f"{source}: image {unsized} has no height and width, which its masks need; add them")
    sizes = {image_id: (int(height), int(width)) for image_id, (height, width) in sizes.items()}  # 480.0 is good, too
    annotations = []
    for item in dataset["annotations"]:
        try:
            segment = masks.from_annotation(item["segmentation"], *sizes[item["image_id"]])
        except ValueError as problem:
            raise UserError(
                f'{source}: "segmentation" of annotation {item["name"]} {problem}; masks are needed here: add it'
            ) from None
        area = item["area"] if item["has_area"] else float(masks.areas([segment])[0])
        annotations.append(item | {"segmentation": segment, "area": area})
    return dataset | {"annotations": annotations}


def indexed(dataset: dict[str, list[dict]]) -> "COCO":
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def unique_names(categories: Iterable[dict]) -> dict[int, str]:
    """{category id: name}; a name used twice gets its id, and a missing one is its id."""
    names = {category["id"]: str(category.get("name", category["id"])) for category in categories}
    twice = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {key: f"{name} ({key})" if name in twice else name for key, name in names.items()}


def shorten(values: Sequence, most: int = 8) -> str:
    return str(list(values)) if len(values) <= most else f"[{', '.join(map(str, values[:most]))}, ...]"
