"""The Keras side: a converted model run stage by stage on the reference's files, each compared with what it kept.

Every stage is fed with what our own stage before it gave, from the picture file on; only the box head gets the
reference's proposals, so that the same RoIs are pooled.
"""

import instances
import matching
import numpy as np
import tensorflow as tf
from comparison import of_all, padded, read

from keras_fpn.inference import detecting
from keras_fpn.ops import boxes as box_ops


def compare_backbone(comparison, model, pixels, resize, batch, paths):
    inputs = read(paths, resize)
    normalised = pixels(inputs["images"], inputs["image_sizes"])
    comparison.relative("pixels", f"{batch}/pixels/all", normalised)
    for name, tensor in model(normalised, training=False).items():
        if f"{batch}/taps/{name}" in comparison.kept:
            comparison.relative("taps", f"{batch}/taps/{name}", tensor)


def compare_stages(comparison, model, batch, paths):
    """All stages of a detector in inference."""
    inputs = read(paths, model.settings["resize"])
    np.testing.assert_array_equal(inputs["image_sizes"], comparison.kept[f"{batch}/image_sizes"], "image sizes")
    compare_backbone(comparison, model.backbone, model.pixels, model.settings["resize"], batch, paths)
    features = model.features(inputs)
    for name, tensor in features.items():
        comparison.relative("pyramid", f"{batch}/pyramid/{name}", tensor)
    stage = model.stages[0]
    rpn = stage.score_anchors(features, inputs)
    proposals = stage.propose(rpn, inputs)
    for name in features:
        comparison.relative("RPN logits", f"{batch}/objectness/{name}", rpn["objectness"][name])
        comparison.relative("RPN deltas", f"{batch}/rpn_deltas/{name}", rpn["deltas"][name])
        comparison.exact("anchors", f"{batch}/anchors/{name}", rpn["anchors"][name].numpy())
    for image in range(len(paths)):
        compare_proposals(comparison, model, batch, image, inputs["image_sizes"], rpn, proposals)
    if hasattr(model, "box_head"):
        compare_heads(comparison, model, features, batch, len(paths))
    instances.compare_given(comparison, model, features, inputs, batch, paths)


def compare_proposals(comparison, model, batch, image, sizes, rpn, proposals):
    count, settings = int(proposals["num_proposals"][image]), model.settings["proposals"]
    theirs = [comparison.kept[f"{batch}/proposals/{image}/{part}"] for part in ("boxes", "scores")]
    ours = [proposals[part][image, :count].numpy() for part in ("boxes", "scores")]
    edges = _edges(model, image, sizes, rpn)
    sides = (
        matching.Ranked(boxes, comparison.sorting(scores), edge=edge)
        for (boxes, scores), edge in zip((ours, theirs), edges, strict=True)
    )
    least = settings["score_threshold"] or -np.inf
    comparison.matches["proposals"] |= matching.match(
        *sides, settings["nms_threshold"], settings["post_nms_top_k_test"], least
    )


def _edges(model, image, sizes, rpn):
    """`[E, 4]` our boxes at the cut of each level: the last that the suppression sees, and the first that it does not.

    Within and beyond are ours to tell: there the reference may differ, by what is in a tie with the cut.
    """
    count, edges = model.settings["proposals"]["pre_nms_top_k_test"], ([], [])
    for level, anchors in rpn["anchors"].items():
        logits = rpn["objectness"][level][image].numpy()
        order = np.argsort(-logits, kind="stable")
        if len(order) <= count:
            continue
        for edge, rows in zip(edges, (order[:count], order[count:]), strict=True):
            rows = rows[np.abs(logits[rows] - logits[order[count - 1]]) < matching.TIE]
            deltas = tf.gather(rpn["deltas"][level][image], rows)
            boxes = box_ops.decode(deltas, tf.gather(anchors, rows), model.proposals.box_weights)
            edge.append(box_ops.clip(boxes, sizes[image]).numpy())
    return [np.concatenate([np.zeros((0, 4)), *edge]) for edge in edges]


def compare_heads(comparison, model, features, batch, count):
    """Pooling and the box head on the reference's proposals."""
    rois = [comparison.kept[f"{batch}/proposals/{image}/boxes"] for image in range(count)]
    pooled = model.roi_pooling(features, padded(rois))
    logits, deltas = model.box_head(pooled)
    comparison.relative("pooled", f"{batch}/pooled", of_all(rois, pooled))
    comparison.relative("class logits", f"{batch}/class_logits", of_all(rois, logits))
    comparison.relative("box deltas", f"{batch}/box_deltas", of_all(rois, deltas))


def compare_detections(comparison, model, batch, paths):
    """Picture files in, detections in their own pixels out, through the public door."""
    found = detecting.detect_together(model, [str(path) for path in paths], threshold=0.0)
    for image, ours in enumerate(found):
        theirs = [comparison.kept[f"{batch}/detections/{image}/{part}"] for part in ("boxes", "scores", "labels")]
        labels = np.array(ours.category_ids) if comparison.source == "torchvision" else ours.classes
        sides = matching.Ranked(ours.boxes, ours.scores, labels), matching.Ranked(*theirs)
        comparison.matches["detections"] |= matching.match(*sides, *_suppression(model))
        instances.compare_found(comparison, model, batch, image, ours, matching.pairs(*sides))


def _suppression(model):
    """Overlap, count and least score that detections went through."""
    if hasattr(model, "box_head"):
        settings = model.settings["detections"]
        return settings["nms_threshold"], settings["max_detections"], settings["score_threshold"]
    settings = model.settings["proposals"]
    return settings["nms_threshold"], settings["post_nms_top_k_test"]
