"""Outputs of the stages after the box head for each detection: given the reference's boxes, and of our own.

Given its boxes, the heads' logits are compared, and what becomes of them in the picture. Of our own detections those
are compared that have a counterpart among the reference's. Another head is another module with a class in `HEADS`.
"""

import dataclasses

import keypoints
import masks
import numpy as np
import recording
import tensorflow as tf
from agreement import Agreement
from comparison import of_all, padded
from PIL import Image

from keras_fpn.parts.output_fields import OutputField, Place

HEADS = (masks.Masks(), keypoints.Keypoints())


@dataclasses.dataclass(frozen=True)
class Answers:
    """Ours about the reference's boxes in a picture.

    Attributes:
        field: the `OutputField` of them.
        values: `[N, ...]` as the stage gives them, in pixels of the network's input.
        logits: `[N, m, m, C]` before them.
        boxes: `[N, 4]` in pixels of the network's input.
        place: of them in the picture.
        verdicts: N, see `agreement.Verdict`.
    """

    field: OutputField
    values: np.ndarray
    logits: np.ndarray
    boxes: np.ndarray
    place: Place
    verdicts: list


def heads_of(model):
    """`[(our stage, head)]` of a model."""
    stages = {stage.name: stage for stage in model.stages}
    return [(stages[head.stage], head.of_model(model)) for head in HEADS if head.stage in stages]


def compare_given(comparison, model, features, inputs, batch, paths):
    """The heads on the reference's detections."""
    for stage, head in heads_of(model):
        keys = [f"{batch}/{head.name}/{image}" for image in range(len(paths))]
        rois = [comparison.kept[f"{key}/boxes"] for key in keys]
        boxes = padded(rois)
        logits = of_all(rois, head.logits(stage, features, boxes))
        comparison.relative(head.title, f"{batch}/{head.name}/logits", logits)
        classes = [_classes(comparison, model, batch, image) for image in range(len(paths))]
        found = {
            "boxes": boxes,
            "classes": tf.constant([np.pad(each, (0, boxes.shape[1] - len(each))) for each in classes]),
            "num_detections": tf.constant([len(each) for each in classes], tf.int32),
        }
        values = of_all(rois, stage.infer(features, {"detections": found})["detections"][head.name])
        ends = np.cumsum([len(each) for each in rois])[:-1]
        parts = zip(np.split(values, ends), np.split(logits, ends), rois, strict=True)
        for image, (image_values, image_logits, image_boxes) in enumerate(parts):
            place = _place(comparison, batch, image, paths[image], inputs["image_sizes"][image].numpy())
            ours = Answers(stage.fields[0], image_values, image_logits, image_boxes, place, [])
            comparison.answers[head.name, batch, image] = ours
            _judge_given(comparison, head, ours, keys[image])


def _judge_given(comparison, head, ours, key):
    theirs = recording.values(comparison.kept, f"{key}/values")
    answers = ours.field.to_original(ours.values, ours.place)
    agreement = Agreement()
    for row, (one, other) in enumerate(zip(answers, theirs, strict=True)):
        ours.verdicts.append(head.verdict(one, other, ours, row, ours.place.boxes[row]))
        agreement.add(ours.verdicts[-1])
    comparison.agreements[f"{head.name}, given"] |= agreement
    head.compare_scores(comparison, key, answers, theirs, ours.verdicts)


def compare_found(comparison, model, batch, image, found, pairs):
    """Our own detections of a picture, an `ImageDetections`, of which `pairs` `[P, 2]` are the reference's, too."""
    for _, head in heads_of(model):
        ours = comparison.answers[head.name, batch, image]
        theirs = recording.values(comparison.kept, f"{batch}/{head.name}/{image}/values")
        agreement = Agreement()
        for row, other in pairs:
            agreement.add(head.verdict(found.further[head.name][row], theirs[other], ours, other, found.boxes[row]))
        comparison.agreements[f"{head.name}, found"] |= agreement


def summary(comparison):
    """`{head: what instance_table.py shows of it}`, of the heads that were compared."""
    return {
        head.name: {
            "unit": head.unit,
            "logits": comparison.differences[head.title],
            "scores": comparison.differences[head.scores] if head.scores else None,
            **{step: _plain(comparison.agreements[f"{head.name}, {step}"]) for step in ("given", "found")},
        }
        for head in HEADS
        if f"{head.name}, given" in comparison.agreements
    }


def _plain(agreement):
    return vars(agreement) | {"share": agreement.share}


def _classes(comparison, model, batch, image):
    """`[N]` int32 0..K-1 of the reference's detections."""
    labels = comparison.kept[f"{batch}/detections/{image}/labels"]
    if comparison.source == "torchvision":
        labels = np.searchsorted(model.category_ids, labels)
    return labels.astype(np.int32)


def _place(comparison, batch, image, path, size):
    with Image.open(path) as picture:
        width, height = picture.size
    ratio = (np.array([height, width], np.float32) / size)[::-1].astype(np.float32)
    return Place((height, width), ratio, comparison.kept[f"{batch}/detections/{image}/boxes"])
