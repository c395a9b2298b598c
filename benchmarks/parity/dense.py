"""The Keras side of detectors without proposals: their head on our features, and the anchors or points of it."""

import matching
import numpy as np
import regions
import tensorflow as tf

from keras_fpn.ops import boxes as box_ops


class Dense:
    """See `stages.KINDS`."""

    # By what the head gives.
    titles = {
        "class_logits": "dense logits",
        "box_deltas": "dense boxes",
        "distances": "dense boxes",
        "centerness": "centre-ness",
    }

    def is_in(self, model):
        return hasattr(model, "dense_head")

    def compare(self, comparison, model, features, inputs, batch):
        predictions, anchors = model.dense_head(features), model.anchors.on(features, inputs["images"])
        for name, levels in predictions.items():
            for level, tensor in levels.items():
                comparison.relative(self.titles[name], f"{batch}/dense/{name}/{level}", tensor)
        for level, boxes in anchors.items():
            comparison.exact("anchors", f"{batch}/anchors/{level}", boxes.numpy())
        for image, size in enumerate(inputs["image_sizes"]):
            own = {name: {level: maps[image] for level, maps in levels.items()} for name, levels in predictions.items()}
            comparison.edges[batch, image] = _edges(model, own, anchors, size)

    def suppression(self, model):
        return regions.suppression_of_detections(model)


def _edges(model, predictions, anchors, size):
    """Boxes at the cut of each level, as `regions` has those of proposals, of pairs of an anchor and a class.

    Args:
        predictions: `{name: {level: [A_l, n]}}` of an image.
    """
    layer, number, edges = model.detections, len(model.class_names), ([], [])
    for level, own in anchors.items():
        of_level = {name: levels[level][None] for name, levels in predictions.items()}
        of_level["class_logits"] = of_level["class_logits"][..., :number]
        scores = layer.score(layer.rank(of_level)).numpy().reshape(-1)
        order = np.argsort(-scores, kind="stable")[: 2 * layer.pre_nms_top_k]
        order = order[scores[order] > layer.score_threshold - matching.TIE]
        if len(order) <= layer.pre_nms_top_k:
            continue
        cut = scores[order[layer.pre_nms_top_k - 1]]
        for edge, pairs in zip(edges, np.split(order, [layer.pre_nms_top_k]), strict=True):
            places = pairs[np.abs(scores[pairs] - cut) < matching.TIE] // number
            chosen = {name: tf.gather(value, places, axis=1) for name, value in of_level.items()}
            edge.append(box_ops.clip(layer.decode(chosen, tf.gather(own, places)[None])[0], size).numpy())
    return [np.concatenate([np.zeros((0, 4)), *edge]) for edge in edges]
