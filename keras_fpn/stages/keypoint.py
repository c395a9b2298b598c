"""Each detection gets its keypoints (Mask R-CNN, section 5).

    features, detections -> pool -> keypoint head -> the highest place of each heat map
    features, positive samples -> pool -> keypoint head -> the loss against the cells of each one's object

B images, D detections, R RoIs, K keypoints, m side of a heat map.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_fpn.data.fields.keypoints import Keypoints
from keras_fpn.heads.keypoint_head import UPSAMPLED, KeypointHead
from keras_fpn.layers.leading_rows import LeadingRows
from keras_fpn.metrics.keypoints import KEYPOINTS
from keras_fpn.ops.keypoints import decode
from keras_fpn.parts.keypoint_fields import KeypointPlaces
from keras_fpn.stages.keypoint_settings import check_keypoints_of_classes, named_keypoints
from keras_fpn.stages.keypoint_targets import are_near, check_keypoints, flat_maps, keypoint_loss, keypoint_rois
from keras_fpn.stages.pooling import build_on_crops, build_pooling, trained
from keras_fpn.stages.recall import recall
from keras_fpn.stages.stage import Stage, State, Tensors, Trained

if TYPE_CHECKING:
    import keras

    from keras_fpn.data.fields import ObjectField


class KeypointStage(Stage):
    """RoI pooling and a `KeypointHead`: reads "detections", and "samples" in training; adds "keypoints".

    Keypoints are `[B, D, K, 3]` float32 x, y and score, in pixels of the image given; 0 past the last detection. The
    boxes that are pooled are those of the detections. `keypoint_recall` is the share of the keypoints that are placed
    within a cell of their own.
    """

    name, title = "keypoint", "RoI pooling, keypoint head"
    reads = ("detections", "samples")
    gives = ("detections",)
    loss_names, recall_names = ("keypoint_loss",), ("keypoint_recall",)
    families = {"detections": (KEYPOINTS,)}
    parts = ("keypoint_head",)

    def __init__(self, context, name=None):
        super().__init__(context, name)
        self.settings = settings = context.settings
        options = dict(settings["keypoint_head"])
        size = options.pop("pooling_size")
        self.side, (names, skeleton) = UPSAMPLED * size, named_keypoints(settings)
        check_keypoints_of_classes(settings, len(context.classes))
        options["num_keypoints"] = len(names)
        self.keypoint_pooling = build_pooling(
            context.settings["roi_pooling"], context.strides, "keypoint_pooling", size
        )
        self.parts = (*type(self).parts, *trained(self.keypoint_pooling))
        self.keypoint_head = KeypointHead(name="keypoint_head", **options)
        self.keypoint_rows = LeadingRows(name="keypoint_rows")
        places = settings["keypoint_places"]
        of_classes, skeletons = places["of_classes"], places["skeletons"]
        self.fields = (KeypointPlaces(names, skeleton, places["offset"], of_classes, skeletons),)

    @classmethod
    def fields_to_learn(cls, settings: Mapping[str, Mapping]) -> "tuple[str | ObjectField, ...]":
        return (Keypoints(offset=settings["keypoint_places"]["offset"]),)

    def layers(self) -> "dict[str, keras.layers.Layer]":
        return {
            "keypoint_rows": self.keypoint_rows,
            "keypoint_pooling": self.keypoint_pooling,
            "keypoint_head": self.keypoint_head,
        }

    def build(self) -> None:
        build_on_crops(self.keypoint_head, self.keypoint_pooling, self.context.channels)
        super().build()

    def heat_maps(
        self, features: Tensors, boxes: tf.Tensor, training: bool = False, is_valid: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Logits `[B, R, m, m, K]` of RoIs `[B, R, 4]`, float32; `training`, `is_valid`: see `RoIPooling.call`."""
        return self.keypoint_head(self.keypoint_pooling(features, boxes, training=training, is_valid=is_valid))

    def keypoints(self, features: Tensors, found: Tensors) -> tf.Tensor:
        """Keypoints `[B, D, K, 3]` of detections; none is computed of rows that are padding in all images."""
        return self.keypoint_rows.compute(
            functools.partial(self._located, features), found["num_detections"], found["boxes"]
        )

    def _located(self, features, boxes):
        """Keypoints `[B, R, K, 3]` of RoIs `[B, R, 4]`."""
        number = self.keypoint_head.num_keypoints
        logits = tf.reshape(self.heat_maps(features, boxes), [-1, self.side, self.side, number])
        settings = self.settings["keypoint_places"]
        places = decode(logits, tf.reshape(boxes, [-1, 4]), settings["score"], settings["least_pixels"])
        return tf.reshape(places, [*tf.unstack(tf.shape(boxes)[:2]), number, 3])

    def infer(self, features: Tensors, state: State) -> dict[str, Any]:
        found = state["detections"]
        return {"detections": found | {"keypoints": self.keypoints(features, found)}}

    def train(
        self, features: Tensors, state: State, targets: Tensors, seed: tf.Tensor, training: bool = True
    ) -> Trained:
        check_keypoints(targets, self.keypoint_head.num_keypoints)
        boxes, labels, is_valid = keypoint_rois(state["samples"], targets["keypoints"], self.side)
        logits = self.heat_maps(features, boxes, training, tf.reduce_any(is_valid, axis=-1))
        sampling = self.settings["roi_targets"]
        most = sampling["samples_per_image"] * sampling["positive_fraction"]
        options = self.settings["keypoint_losses"]
        loss = keypoint_loss(logits, labels, is_valid, positives_per_image=most, **options)
        is_right = are_near(tf.argmax(flat_maps(logits), axis=-1, output_type=tf.int32), labels, self.side)
        return {}, {"keypoint_loss": loss}, {"keypoint_recall": recall(is_right, is_valid)}

    def timed_steps(
        self, features: Tensors, state: State
    ) -> Iterator[tuple[str, tuple[Callable, Any]]]:
        yield self.title, (lambda given: self.keypoints(*given), (features, state["detections"]))
