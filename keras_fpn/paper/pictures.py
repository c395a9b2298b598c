"""Pictures of a table: the same few images in every row, each object with the proposal that fits it best."""

import numpy as np
from PIL import Image

from keras_fpn import visualize
from keras_fpn.boxes import pairwise_iou
from keras_fpn.data.coco import read_coco
from keras_fpn.files import read_json
from keras_fpn.report import Section

NUM_IMAGES, NUM_PROPOSALS = 3, 100
_FOUND_IOU = 0.5
_FOUND, _MISSED = 2, 5  # green and red of `visualize.class_color`


def sections(table, planned):
    """A `Section` for each image: the truth, and what the first seed of every row finds.

    A row that proposes boxes shows, for each object, the best of its first 100 proposals and their overlap; one that
    detects shows its detections.
    """
    config = next(iter(planned.values()))[0].config
    val_set = read_coco(config.data.val.annotations, config.data.val.images, invalid_boxes="drop")
    records = [record for record in val_set.records if len(record.boxes) > 2][:NUM_IMAGES]
    found = {}
    for row, experiments in planned.items():
        results = read_json(experiments[0].part_dir / "results.json")
        found[row] = {record.image_id: _of_image(results, record.image_id) for record in records}
    return [_section(table, record, val_set, found) for record in records]


def _of_image(results, image_id):
    return [result for result in results if result["image_id"] == image_id][:NUM_PROPOSALS]


def _section(table, record, val_set, found):
    image = np.asarray(Image.open(record.path).convert("RGB"))
    drawn = [("truth", _truth(image, record, val_set))]
    draws_proposals = all("/AR" in name for name in table.metrics.values())
    for row in table.rows:
        results = found[row.name][record.image_id]
        draw = _best_proposals if draws_proposals else _detections
        picture, words = draw(image, record, val_set, results)
        drawn.append((f"{row.label}: {words}", picture))
    text = (
        f"For each object the best of the first {NUM_PROPOSALS} proposals and its overlap (IoU): green from"
        f" {_FOUND_IOU}, red below. First seed of each row."
        if draws_proposals
        else "First seed of each row; detections that score 0.5 or more."
    )
    return Section(f"Image {record.file_name}", text, pictures=tuple(drawn))


def _truth(image, record, val_set):
    labels = [val_set.class_names[index] for index in record.classes]
    return visualize.draw_boxes(image, record.boxes, labels, classes=record.classes, truth=True)


def _best_proposals(image, record, val_set, results):
    objects = np.asarray(record.boxes, np.float32)[np.asarray(record.is_crowd) == 0]
    boxes = _corners(results)
    overlaps = np.asarray(pairwise_iou(objects, boxes)) if len(boxes) else np.zeros((len(objects), 0))
    if not overlaps.size:
        return visualize.draw_boxes(image, [], []), f"0 of {len(objects)} objects"
    best, values = overlaps.argmax(axis=1), overlaps.max(axis=1)
    classes = [_FOUND if value >= _FOUND_IOU else _MISSED for value in values]
    labels = [f"{value:.2f}" for value in values]
    picture = visualize.draw_boxes(image, boxes[best], labels, classes=classes)
    return picture, f"{sum(values >= _FOUND_IOU)} of {len(objects)} objects"


def _detections(image, record, val_set, results):
    results = [result for result in results if result["score"] >= 0.5]
    classes = [val_set.category_ids.index(result["category_id"]) for result in results]
    labels = [val_set.class_names[index] for index in classes]
    scores = [result["score"] for result in results]
    picture = visualize.draw_boxes(image, _corners(results), labels, scores, classes=classes)
    return picture, f"{len(results)} found"


def _corners(results):
    boxes = np.array([result["bbox"] for result in results], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes
