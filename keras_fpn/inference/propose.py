"""Proposals of a model for a whole data set, written to disk (`proposal_files`): what Fast R-CNN is trained on."""

import os

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.console.progress import Count
from keras_fpn.data.batches import with_sizes
from keras_fpn.data.coco import CocoDataset
from keras_fpn.data.decode import readable_errors
from keras_fpn.data.picture_contents import length_of
from keras_fpn.data.pipeline import load_coco
from keras_fpn.data.proposal_files import check_proposals_output, write_proposals
from keras_fpn.models.detector import Detector
from keras_fpn.stages.propose import ProposeStage


def check_proposing(model: Detector, name: str = "") -> None:
    """Refuse a model without a region proposal network.

    Raises:
        UserError: the model proposes nothing.
    """
    if _proposing(model) is None:
        name = f"{name}: " if name else ""
        raise UserError(f"{name}{model.title}: it proposes no boxes itself; give an RPN or a Faster R-CNN")


def propose(
    model: Detector,
    data_set: CocoDataset,
    out: str | os.PathLike,
    *,
    count: int = 2000,
    batch_size: int = 1,
    name: str = "",
) -> tuple[int, int]:
    """Write what a model proposes in the images of a `CocoDataset`, in pixels of the original images.

    The layers run as in inference, the numbers are those of training: `proposals.pre_nms_top_k_train` before
    suppression and `post_nms_top_k_train` after it (the paper: 2000 each).

    Args:
        model: an `RPN` or a `FasterRCNN`.
        out: the folder to write; absent or empty.
        count: boxes of an image, at most, the best.
        batch_size: images in one forward pass.
        name: of the model, for the file.

    Returns:
        `(images, proposals)` that were written.

    Raises:
        UserError: see `check_proposing` and `check_proposals_output`; an image cannot be read; the model proposes
            nothing in any of them, or what is not finite. Nothing is written then.
    """
    check_proposing(model, name)
    check_proposals_output(out)
    dataset = load_coco(data_set, batch_size=batch_size, group_by_padded_size=True, **model.settings["resize"])
    names = {record.image_id: record.name for record in data_set.records}
    image_bytes = {record.image_id: length_of(record) for record in data_set.records}
    about = {"model": str(name), "annotations": data_set.annotations, "most": count}
    with Count("propose", len(data_set)) as progress, readable_errors():
        return write_proposals(out, _rows(model, dataset, names, count, progress), about, image_bytes)


def _rows(model, dataset, names, count, progress):
    """Yield `(image id, boxes, scores)` of each image, and tell the progress."""
    proposals = tf.function(lambda inputs: _proposals(model, inputs), input_signature=[dataset.element_spec[0]])
    done = total = 0
    for inputs, targets in dataset:
        found = {key: value.numpy() for key, value in proposals(inputs).items()}
        ratios = targets["original_sizes"].numpy() / inputs["image_sizes"].numpy()  # [B, 2] of height and width
        for index, image_id in enumerate(targets["image_ids"].numpy().tolist()):
            number = found["num_proposals"][index]
            boxes, scores = found["boxes"][index, :number], found["scores"][index, :number]
            _check_finite(names[image_id], image_id, boxes, scores)
            boxes = _in_original_pixels(boxes, ratios[index], targets["original_sizes"][index].numpy())
            is_box = (boxes[:, 2:] > boxes[:, :2]).all(1)
            total += int(is_box.sum())
            yield image_id, boxes[is_box][:count], scores[is_box][:count]
        done += len(found["num_proposals"])
        progress(done)
    if not total:  # of some images none is an answer
        raise UserError(
            f"the model proposes nothing in any of the {done} images; give one with a lower"
            " proposals.score_threshold and proposals.min_size, or train it anew"
        )


def _proposing(model):
    """The stage that proposes boxes, or None."""
    return next((stage for stage in model.stages if isinstance(stage, ProposeStage)), None)


def _proposals(model, inputs):
    inputs = with_sizes(inputs)
    stage = _proposing(model)
    found = stage.propose(stage.score_anchors(model.features(inputs), inputs), inputs, training=True)
    return found | {"scores": tf.sigmoid(found["scores"])}


def _in_original_pixels(boxes, ratio, size):
    scale, edges = np.tile(ratio[::-1], 2), np.tile(size[::-1], 2)
    return np.clip(boxes * scale, 0, edges).astype(np.float32)


def _check_finite(file, image_id, boxes, scores):
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise UserError(f"{file}: image {image_id}: the model's proposals are not finite; train it anew")
