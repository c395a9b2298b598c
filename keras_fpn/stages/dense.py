"""Objects are found on every level at once, without proposals (RetinaNet; Lin et al., ICCV 2017).

    features -> score every anchor -> detections
    features -> score every anchor -> label every anchor -> focal loss, box loss

B images, A_l anchors of a level, N of all levels, K classes, D detections.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_fpn.data.batches import check_classes
from keras_fpn.heads.dense_head import DenseHead
from keras_fpn.layers.anchors import AnchorGenerator
from keras_fpn.layers.loss_normalizer import LossNormalizer
from keras_fpn.metrics import DETECTIONS
from keras_fpn.ops import boxes as box_ops
from keras_fpn.ops.focal import sigmoid_focal_loss
from keras_fpn.ops.giou import giou_loss
from keras_fpn.ops.losses import smooth_l1
from keras_fpn.parts.output_fields import STANDARD
from keras_fpn.stages.dense_settings import DENSE_SUPPRESSIONS
from keras_fpn.stages.dense_targets import anchor_labels
from keras_fpn.stages.propose_settings import of_levels
from keras_fpn.stages.recall import recall
from keras_fpn.stages.stage import Stage, State, Tensors, Trained

if TYPE_CHECKING:
    import keras


class DenseStage(Stage):
    """Anchors, a `DenseHead` and a `DenseDetectionLayer`: gives "detections".

    Learns from all anchors that are not ignored; nothing is sampled. `class_recall` is the share of the positive
    anchors whose own class is the likeliest.
    """

    name, title = "dense", "dense head"
    gives = outputs = ("detections",)
    fields = STANDARD
    families = {"detections": (DETECTIONS,)}
    loss_names: tuple[str, ...] = ("class_loss", "box_loss")
    recall_names = ("class_recall",)
    parts = ("dense_head",)
    suppressions = DENSE_SUPPRESSIONS

    def __init__(self, context, name=None):
        super().__init__(context, name)
        settings, self.num_classes = context.settings, len(context.classes)
        self.anchors = self.make_anchors(context)
        self.dense_head = self.make_head(settings["dense_head"])
        losses = settings["dense_losses"]
        self.loss_normalizer = LossNormalizer(
            losses["normalizer"], losses["initial"], losses["momentum"], name="loss_normalizer"
        )
        options = dict(settings["detections"])
        self.detections = self.suppressions[options.pop("suppression")].build(name="detections", **options)
        self.max_detections = self.detections.max_detections
        self.score_threshold = float(self.detections.score_threshold)

    @staticmethod
    def make_anchors(context: Any) -> AnchorGenerator:
        """The layer that gives the anchors of every level."""
        sizes = of_levels(context.settings["anchors"], context.strides)
        return AnchorGenerator(strides=dict(context.strides), name="anchors", **sizes)

    def make_head(self, settings: Mapping[str, Any]) -> DenseHead:
        """The head, of its group of settings."""
        number = next(iter(self.anchors.num_anchors.values()))
        return DenseHead(self.num_classes, number, name="dense_head", **settings)

    def layers(self) -> "dict[str, keras.layers.Layer]":
        return {
            "anchors": self.anchors,
            "dense_head": self.dense_head,
            "loss_normalizer": self.loss_normalizer,
            "detections": self.detections,
        }

    def build(self) -> None:
        self.dense_head.build({level: (None, None, None, number) for level, number in self.context.channels.items()})
        self.loss_normalizer.build((None,))
        super().build()

    def detect(
        self, predictions: dict[str, dict[str, tf.Tensor]], anchors: dict[str, tf.Tensor], inputs: Tensors
    ) -> dict[str, tf.Tensor]:
        """Detections of what the head gave, see `DenseDetectionLayer`."""
        return self.detections(
            predictions, anchors=anchors, image_sizes=inputs["image_sizes"], num_classes=self.num_classes
        )

    def infer(self, features: Tensors, state: State) -> dict[str, Any]:
        anchors = self.anchors.on(features, state["inputs"]["images"])
        return {"detections": self.detect(self.dense_head(features), anchors, state["inputs"])}

    def train(
        self, features: Tensors, state: State, targets: Tensors, seed: tf.Tensor, training: bool = True
    ) -> Trained:
        check_classes(targets["classes"], self.num_classes)
        by_level = self.anchors.on(features, state["inputs"]["images"])
        predictions = {
            name: tf.cast(tf.concat(list(each.values()), axis=1), tf.float32)
            for name, each in self.dense_head(features).items()
        }
        labelled = self.label(by_level, targets)
        return {}, *self.losses(predictions, tf.concat(list(by_level.values()), axis=0), labelled, training)

    def label(self, anchors: Mapping[str, tf.Tensor], targets: Tensors) -> dict[str, tf.Tensor]:
        """Targets of the anchors of all levels, see `anchor_labels`."""
        together = tf.concat(list(anchors.values()), axis=0)
        return anchor_labels(together, targets, **self.context.settings["anchor_targets"])

    def losses(
        self, predictions: Tensors, anchors: tf.Tensor, labelled: Tensors, training: bool = True
    ) -> tuple[dict[str, tf.Tensor], dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        """The losses of predictions `{name: [B, N, ...]}` of anchors `[N, 4]`, and the recall of the positives.

        Args:
            labelled: see `anchor_labels`.
            training: whether the moving average of the normaliser goes on.
        """
        is_positive = labelled["classes"] >= 0
        counts = tf.reduce_sum(tf.cast(is_positive, tf.float32), axis=1)
        divisors = self.loss_normalizer(counts, training=training)
        logits = tf.boolean_mask(predictions["class_logits"][..., : self.num_classes], is_positive)
        own = tf.boolean_mask(labelled["classes"], is_positive)
        is_right = tf.argmax(logits, axis=-1, output_type=tf.int32) == own
        sums = self.sums(predictions, anchors, labelled, self.context.settings["dense_losses"])
        losses = {name: tf.reduce_sum(of_images / divisors) for name, of_images in sums.items()}
        return losses, {"class_recall": recall(is_right, tf.ones_like(is_right))}

    def sums(
        self, predictions: Tensors, anchors: tf.Tensor, labelled: Tensors, settings: Mapping[str, Any]
    ) -> dict[str, tf.Tensor]:
        """`{loss: [B]}`, summed over the anchors of each image; see `losses`."""
        box_loss = self._box_loss(predictions["box_deltas"], anchors, labelled, settings)
        return {
            "class_loss": self.class_loss(predictions["class_logits"], labelled, settings),
            "box_loss": settings["box_weight"] * box_loss,
        }

    @staticmethod
    def class_loss(logits: tf.Tensor, labelled: Tensors, settings: Mapping[str, Any]) -> tf.Tensor:
        """The focal loss `[B]`, summed over all anchors that are trained and all logits."""
        labels = tf.one_hot(labelled["classes"], tf.shape(logits)[-1])  # of -1 all zeros
        losses = sigmoid_focal_loss(logits, labels, settings["alpha"], settings["gamma"])
        return tf.reduce_sum(tf.where(labelled["is_trained"], tf.reduce_sum(losses, axis=-1), 0.0), axis=-1)

    def _box_loss(self, deltas, anchors, labelled, settings):
        """`[B]`, summed over the positive anchors."""
        is_positive, weights = labelled["classes"] >= 0, self.detections.box_weights
        deltas = tf.where(is_positive[..., None], deltas, 0.0)  # of the others the target is the anchor: no loss
        if settings["box_loss"] == "giou":
            losses = giou_loss(box_ops.decode(deltas, anchors, weights), labelled["boxes"])
            losses = tf.where(is_positive, losses, 0.0)
        else:
            error = deltas - box_ops.encode(labelled["boxes"], anchors, weights)
            error = tf.where(is_positive[..., None], error, 0.0)
            losses = tf.reduce_sum(smooth_l1(error, settings["box_beta"]), axis=-1)
        return tf.reduce_sum(losses, axis=-1)

    def timed_steps(
        self, features: Tensors, state: State
    ) -> Iterator[tuple[str, tuple[Callable, Any]]]:
        yield self.title, (self.dense_head, features)
        inputs = state["inputs"]
        given = self.dense_head(features), self.anchors.on(features, inputs["images"]), inputs
        yield "detections", (lambda given: self.detect(*given), given)
