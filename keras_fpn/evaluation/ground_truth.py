"""The ground truth as pycocotools takes it: annotations copied, checked, numbered anew, masks encoded."""

import contextlib
import dataclasses
import io
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.instances import Instances
from keras_fpn.data.objects import is_finite, read_numbers
from keras_fpn.evaluation.checked_results import refuse_box
from keras_fpn.ops import masks

if TYPE_CHECKING:
    from pycocotools.coco import COCO


def clean_annotations(instances: Instances, leave_out: Collection[int]) -> tuple[dict[str, list[dict]], list[dict]]:
    """A copy with what pycocotools needs and nothing it changes in the caller's dict; and the entries that it is of."""
    kept = [item for item in instances.annotations if item.get("id") not in leave_out]
    instances = dataclasses.replace(instances, annotations=kept)
    instances.rows_of_images()  # refuses an object of no image
    boxes = read_numbers(instances.source, kept, "bbox", "float64", (4,), wanted="four numbers x, y, width, height")
    # Numbered anew from 1: pycocotools takes an object with id 0 for "unmatched" and merges equal ids.
    annotations = [
        {"id": number, "name": annotation.get("id", "without id"), **_clean_annotation(annotation, bbox, instances)}
        for number, (annotation, bbox) in enumerate(zip(kept, boxes.tolist(), strict=True), start=1)
    ]
    images = [{key: image[key] for key in ("id", "height", "width") if key in image} for image in instances.images]
    categories = [dict(category) for category in instances.categories]
    return {"images": images, "categories": categories, "annotations": annotations}, kept


def _clean_annotation(annotation: dict, bbox: list[float], instances: Instances) -> dict[str, Any]:
    name = f"{instances.source}: annotation {annotation.get('id', '(without id)')}"
    category_id = annotation.get("category_id")
    if category_id not in instances.class_names:
        raise UserError(f"{name}: category id {category_id!r} is not in 'categories'; drop or mend it")
    refuse_box(bbox, f"{name}: bbox")
    area = annotation.get("area")
    if area is not None and not (is_finite(area) and area >= 0):
        raise UserError(f"{name}: area is {shorten([area])[1:-1]}; write the object's pixels, or leave it out")
    return {
        "image_id": annotation["image_id"],
        "category_id": category_id,
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


def shorten(values: Sequence, most: int = 8) -> str:
    return str(list(values)) if len(values) <= most else f"[{', '.join(map(str, values[:most]))}, ...]"
