"""Pictures of a table: the same few images in every row, each object with the proposal that fits it best."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from keras_fpn.console.files import read_json
from keras_fpn.console.picture_files import FORMATS
from keras_fpn.data import segmentations
from keras_fpn.data.coco import read_coco
from keras_fpn.data.picture_contents import content_of
from keras_fpn.metrics import PROPOSALS, SEGMENTS, family_of
from keras_fpn.ops import masks
from keras_fpn.ops.boxes import pairwise_iou
from keras_fpn.paper.tables import Table
from keras_fpn.parts.output_fields import Masks
from keras_fpn.reporting import visualize
from keras_fpn.reporting.report import Section

if TYPE_CHECKING:
    from keras_fpn.paper.experiments import Experiment

NUM_IMAGES, NUM_PROPOSALS = 3, 100
_FEW_OBJECTS = 2  # images with more of them come first
_FOUND_IOU, _LEAST_SCORE = 0.5, 0.5
_FOUND, _MISSED = visualize.class_color(2), visualize.class_color(5)  # green and red

_OF_PROPOSALS = (
    "For each object the best of the first {number} {kind} and its overlap ({overlap}): green from {found:g}, red"
    " below. First seed of each row."
)


def sections(table: Table, planned: "Mapping[str, Sequence[Experiment]]") -> list[Section]:
    """A `Section` for each image: the ground truth, and what the first seed of every row finds.

    A row that proposes boxes or segments shows, for each object, the best of its first 100 proposals and their overlap;
    one that detects shows its detections.
    """
    val: Any = next(iter(planned.values()))[0].config.data.val
    draw, text = _kind(table)
    fields = ("masks",) if draw is _best_segments else ()
    val_set = read_coco(val.annotations, val.images, invalid_boxes="drop", fields=fields)
    records = sorted(val_set.records, key=lambda record: len(record.boxes) <= _FEW_OBJECTS)
    records = [record for record in records if len(record.boxes)][:NUM_IMAGES]
    found = {}
    for row, experiments in planned.items():
        results = read_json(experiments[0].part_dir / "results.json")
        found[row] = {record.image_id: _of_image(results, record.image_id) for record in records}
    return [_section(table, record, val_set, found, draw, text) for record in records]


def _kind(table):
    """How the rows of a table are drawn, and the words for it."""
    family = family_of(next(iter(table.metrics.values())))
    numbers = {"number": NUM_PROPOSALS, "found": _FOUND_IOU}
    if family is PROPOSALS:
        return _best_boxes, _OF_PROPOSALS.format(kind="proposals", overlap="IoU", **numbers)
    if family is SEGMENTS:
        return _best_segments, _OF_PROPOSALS.format(kind="segments", overlap="IoU of the masks", **numbers)
    return _detections, f"First seed of each row; detections that score {_LEAST_SCORE:g} or more."


def _of_image(results, image_id):
    return [result for result in results if result["image_id"] == image_id][:NUM_PROPOSALS]


def _section(table, record, val_set, found, draw, text):
    image = np.asarray(Image.open(BytesIO(content_of(record)), formats=FORMATS).convert("RGB"))
    objects = visualize.draw_ground_truth(image, _ground_truth(record), val_set.class_names, (Masks(),))
    drawn = [("ground truth", objects)]
    for row in table.rows:
        picture, words = draw(image, record, val_set, found[row.name][record.image_id])
        drawn.append((f"{row.label}: {words}", picture))
    return Section(f"Image {record.file_name}", text, pictures=tuple(drawn))


def _ground_truth(record):
    ground_truth = {"boxes": record.boxes, "classes": record.classes, "is_crowd": record.is_crowd}
    packed = record.fields.get("masks")
    return ground_truth if packed is None else ground_truth | {"masks": segmentations.unpack(packed)}


def _best_boxes(image, record, val_set, results):
    boxes = _corners(results)
    objects = np.asarray(record.boxes, np.float32)[_is_object(record)]
    overlaps = np.asarray(pairwise_iou(objects, boxes)) if len(boxes) else np.zeros((len(objects), 0))
    return _best(image, overlaps, boxes)


def _best_segments(image, record, val_set, results):
    rows = _is_object(record)
    grids = segmentations.unpack(record.fields["masks"])[rows]
    objects = masks.paste_all(grids, record.boxes[rows], record.height, record.width)
    found = [result["segmentation"] for result in results]
    return _best(image, masks.overlaps(found, objects).T, _corners(results), found)


def _is_object(record):
    return np.asarray(record.is_crowd) == 0


def _best(image, overlaps, boxes, segments=None):
    """The picture of the proposals that fit the objects best, and the words for it.

    Args:
        overlaps: `[objects, proposals]`.
        boxes: `[proposals, 4]`.
        segments: of the proposals, drawn in place of the boxes.
    """
    if not overlaps.size:
        return visualize.draw_boxes(image, [], []), f"0 of {len(overlaps)} objects"
    best, values = overlaps.argmax(axis=1), overlaps.max(axis=1)
    best, values = best[values > 0], values[values > 0]
    found = {"boxes": boxes[best]} | ({} if segments is None else {"masks": [segments[index] for index in best]})
    colors = [_FOUND if value >= _FOUND_IOU else _MISSED for value in values]
    picture = visualize.draw_found(image, found, (Masks(),), [f"{value:.2f}" for value in values], colors=colors)
    return picture, f"{sum(values >= _FOUND_IOU)} of {len(overlaps)} objects"


def _detections(image, record, val_set, results):
    results = [result for result in results if result["score"] >= _LEAST_SCORE]
    classes = [val_set.category_ids.index(result["category_id"]) for result in results]
    labels = [val_set.class_names[index] for index in classes]
    scores = [result["score"] for result in results]
    picture = visualize.draw_boxes(image, _corners(results), labels, scores, classes=classes)
    return picture, f"{len(results)} found"


def _corners(results):
    boxes = np.array([result["bbox"] for result in results], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes
