"""The Keras side of detectors that propose regions and classify them: the RPN, its proposals, pooling, the box head.

The box head gets the reference's proposals, so that the same RoIs are pooled.
"""

import matching
import numpy as np
import tensorflow as tf
from comparison import of_all, padded

from keras_fpn.ops import boxes as box_ops


class Proposals:
    """See `stages.KINDS`: the RPN on our features, and the proposals that we make of what it says."""

    def is_in(self, model):
        return hasattr(model, "rpn_head")

    def compare(self, comparison, model, features, inputs, batch):
        stage = model.stages[0]
        rpn = stage.score_anchors(features, inputs)
        proposals = stage.propose(rpn, inputs)
        for name in features:
            comparison.relative("RPN logits", f"{batch}/objectness/{name}", rpn["objectness"][name])
            comparison.relative("RPN deltas", f"{batch}/rpn_deltas/{name}", rpn["deltas"][name])
            comparison.exact("anchors", f"{batch}/anchors/{name}", rpn["anchors"][name].numpy())
        for image in range(len(inputs["image_sizes"])):
            _compare_proposals(comparison, model, batch, image, inputs["image_sizes"], rpn, proposals)

    def suppression(self, model):
        settings = model.settings["proposals"]
        return settings["nms_threshold"], settings["post_nms_top_k_test"]


class BoxHead:
    """See `stages.KINDS`: pooling and the box head on the reference's proposals."""

    def is_in(self, model):
        return hasattr(model, "box_head")

    def compare(self, comparison, model, features, inputs, batch):
        rois = [comparison.kept[f"{batch}/proposals/{image}/boxes"] for image in range(len(inputs["image_sizes"]))]
        pooled = model.roi_pooling(features, padded(rois))
        logits, deltas = comparison.graph(model.box_head)(pooled)
        comparison.relative("pooled", f"{batch}/pooled", of_all(rois, pooled))
        comparison.relative("class logits", f"{batch}/class_logits", of_all(rois, logits))
        comparison.relative("box deltas", f"{batch}/box_deltas", of_all(rois, deltas))

    def suppression(self, model):
        return suppression_of_detections(model)


def suppression_of_detections(model):
    """See `stages.KINDS`."""
    settings = model.settings["detections"]
    return settings["nms_threshold"], settings["max_detections"], settings["score_threshold"]


def note_ties(comparison, model, inputs, batch):
    """Note as `Comparison.edges` what is detected in proposals that our graph or the reference alone has.

    The graph of the whole model rounds in another way than its stages run one by one. Its proposals are compared, too,
    so that none is lone without an excuse.
    """
    stage, features = model.stages[0], comparison.graph(model.features)(inputs)
    graph = tf.function(model.inference, input_signature=[model.input_specs()])
    rpn, proposals = stage.score_anchors(features, inputs), graph(inputs)["proposals"]
    for image in range(len(inputs["image_sizes"])):
        sides = _compare_proposals(comparison, model, batch, image, inputs["image_sizes"], rpn, proposals)
        lone = matching.lone_boxes(*sides)
        found = [_detected_in(model, features, inputs, image, boxes) for boxes in lone]
        before = comparison.edges.get((batch, image), [np.zeros((0, 4))] * 2)
        comparison.edges[batch, image] = [np.concatenate(pair) for pair in zip(before, found, strict=True)]


def _detected_in(model, features, inputs, image, proposals):
    """`[E, 4]` boxes that each of `[N, 4]` proposals of an image would give without the others."""
    (stage,) = (stage for stage in model.stages if "detections" in stage.outputs)
    found = [np.zeros((0, 4))]
    for proposal in proposals:
        boxes = np.zeros([len(inputs["image_sizes"]), 1, 4], np.float32)
        boxes[image, 0] = proposal
        alone = {"boxes": tf.constant(boxes), "num_proposals": tf.ones(len(boxes), tf.int32)}
        detections = stage.infer(features, {"proposals": alone, "inputs": inputs})["detections"]
        found.append(detections["boxes"][image, : int(detections["num_detections"][image])].numpy())
    return np.concatenate(found)


def _compare_proposals(comparison, model, batch, image, sizes, rpn, proposals):
    """Note how the proposals of an image match, and return both sides, `matching.Ranked`."""
    count, settings = int(proposals["num_proposals"][image]), model.settings["proposals"]
    theirs = [comparison.kept[f"{batch}/proposals/{image}/{part}"] for part in ("boxes", "scores")]
    ours = [proposals[part][image, :count].numpy() for part in ("boxes", "scores")]
    edges = _edges(model, image, sizes, rpn)
    sides = [
        matching.Ranked(boxes, comparison.sorting(scores), edge=edge)
        for (boxes, scores), edge in zip((ours, theirs), edges, strict=True)
    ]
    least = settings["score_threshold"] or -np.inf
    comparison.matches["proposals"] |= matching.match(
        *sides, settings["nms_threshold"], settings["post_nms_top_k_test"], least
    )
    return sides


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
