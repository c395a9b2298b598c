"""RoIs are refined by a row of heads, each trained at a higher IoU than the one before (Cascade R-CNN, CVPR 2018).

    features, proposals -> pool, head 1 -> boxes -> pool, head 2 -> boxes -> pool, head 3 -> boxes
                                         the mean of the three heads' probabilities -> detections
    features, proposals -> sample -> pool, head 1 -> boxes -> match -> pool, head 2 -> ... -> two losses of each head

The conventions are those of detectron2's `CascadeROIHeads`. B images, R RoIs, K classes, S samples.
"""

from typing import TYPE_CHECKING

import tensorflow as tf

from keras_fpn.heads.cascade_head_names import name_in_row
from keras_fpn.ops import boxes as box_ops
from keras_fpn.stages.cascade_targets import refined_targets
from keras_fpn.stages.classify import ClassifyStage, build_detections, build_head
from keras_fpn.stages.pooling import build_on_crops, trained
from keras_fpn.stages.stage import State, Tensors, Trained

if TYPE_CHECKING:
    import keras

TINY = 1e-30  # a probability whose logarithm is still finite


class CascadeStage(ClassifyStage):
    """A `ClassifyStage` with several heads on the same pooling; each takes the boxes that the one before refined.

    In training the first head has the samples of a `ClassifyStage`, and leaves them as "samples"; each later one has
    all of them that are not empty, refined, clipped and matched anew (`refined_targets`). Boxes carry no gradient from
    head to head. The heads' losses add up, and each head's gradient into the pooled features is divided by the number
    of heads.

    In inference boxes are clipped between the heads; those of the last become detections, with the mean of the
    probabilities of all heads, each of which saw boxes of its own.
    """

    def __init__(self, context, name=None):
        super().__init__(context, name)
        further = context.settings["cascade"]
        self.positive_ious = [context.settings["roi_targets"]["positive_iou"], *further["positive_ious"]]
        self.box_weights = [context.settings["detections"]["box_weights"], *further["box_weights"]]
        self._names = [self.name, *(f"{self.name}_{number + 2}" for number in range(len(further["positive_ious"])))]
        heads = [self.parts[0], *(f"{self.parts[0]}_{number + 2}" for number in range(len(self._names) - 1))]
        self.heads = [self.box_head, *(build_head(context, place) for place in heads[1:])]
        for number, head in enumerate(self.heads):
            name_in_row(head, number)
        self.detections = build_detections(context, self.detections.name, box_weights=self.box_weights[-1])
        self.loss_names = tuple(f"{name}_{kind}_loss" for name in self._names for kind in ("class", "box"))
        self.recall_names = tuple(f"{name}_recall" for name in self._names)
        self.parts = (*heads, *trained(self.roi_pooling))

    def layers(self) -> "dict[str, keras.layers.Layer]":
        return super().layers() | dict(zip(self.parts, self.heads, strict=False))

    def build(self) -> None:
        for head in self.heads[1:]:
            build_on_crops(head, self.roi_pooling, self.context.channels)
        super().build()

    def refine(self, boxes: tf.Tensor, deltas: tf.Tensor, number: int, image_sizes: tf.Tensor) -> tf.Tensor:
        """Boxes `[B, R, 4]` that a head makes of its RoIs, clipped.

        Args:
            boxes: `[B, R, 4]` the RoIs.
            deltas: `[B, R, 1, 4]` of them.
            number: of the head, from 0.
            image_sizes: `[B, 2]` height and width of the valid part of each image, pixels.
        """
        decoded = box_ops.decode(tf.cast(deltas[:, :, 0], tf.float32), boxes, self.box_weights[number])
        return box_ops.clip(decoded, image_sizes)

    def predict(self, features: Tensors, proposals: Tensors, inputs: Tensors) -> tuple[Tensors, tf.Tensor, tf.Tensor]:
        """The RoIs of the last head, the logarithms of the heads' mean probabilities, and the last head's deltas."""
        boxes, probabilities = proposals["boxes"], []
        for number, head in enumerate(self.heads):
            logits, deltas = head(self.roi_pooling(features, boxes))
            probabilities.append(tf.nn.softmax(tf.cast(logits, tf.float32)))
            if number + 1 < len(self.heads):
                boxes = self.refine(boxes, deltas, number, inputs["image_sizes"])
        mean = tf.add_n(probabilities) / len(self.heads)
        # Logits whose softmax is the mean.
        return {**proposals, "boxes": boxes}, tf.math.log(tf.maximum(mean, TINY)), deltas

    def train(
        self, features: Tensors, state: State, targets: Tensors, seed: tf.Tensor, training: bool = True
    ) -> Trained:
        samples = rois = self.sample(state, targets, seed)
        is_roi = samples["is_valid"]
        losses: dict[str, tf.Tensor] = {}
        recalls: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        for number, (name, head) in enumerate(zip(self._names, self.heads, strict=True)):
            crops = self.roi_pooling(features, rois["boxes"], training=training, is_valid=rois["is_valid"])
            crops = scale_gradient(crops, 1.0 / len(self.heads))
            logits, deltas = head(crops, training=training, is_valid=rois["is_valid"])
            own_losses, own_recalls = self.learn(name, logits, deltas, rois)
            losses, recalls = losses | own_losses, recalls | own_recalls
            if number + 1 < len(self.heads):
                boxes = self.refine(rois["boxes"], deltas, number, state["inputs"]["image_sizes"])
                is_roi &= box_ops.larger_than(boxes, 0.0)
                rois = self._targets(boxes, is_roi, targets, number + 1)
        return {"samples": samples}, losses, recalls

    def _targets(self, boxes, is_roi, targets, number):
        return refined_targets(
            boxes,
            is_roi,
            targets,
            num_classes=self.num_classes,
            positive_iou=self.positive_ious[number],
            crowd_ioa=self.context.settings["roi_targets"]["crowd_ioa"],
            box_weights=self.box_weights[number],
        )


def scale_gradient(values: tf.Tensor, factor: float) -> tf.Tensor:
    """The values as they are, whose gradient is multiplied by the factor."""
    fixed = tf.stop_gradient(values)
    return fixed + (values - fixed) * factor
