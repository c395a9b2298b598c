"""RoIs of the features are classified and refined (Fast R-CNN; paper, section 4.2).

    features, proposals -> pool -> classify -> detections
    features, proposals -> sample -> pool -> classify -> the two losses of the head

B images, R RoIs, K classes, S samples, D detections.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_fpn.data.batches import check_classes
from keras_fpn.layers.detections import DetectionLayer
from keras_fpn.metrics import DETECTIONS
from keras_fpn.ops.losses import roi_losses
from keras_fpn.parts.output_fields import STANDARD
from keras_fpn.stages.classify_settings import BOX_HEADS, SUPPRESSIONS
from keras_fpn.stages.pooling import build_on_crops, build_pooling, trained
from keras_fpn.stages.recall import recall
from keras_fpn.stages.stage import Stage, StageContext, State, Tensors, Trained
from keras_fpn.stages.targets import roi_targets

if TYPE_CHECKING:
    import keras


class ClassifyStage(Stage):
    """RoI pooling, a head and a detection layer: reads "proposals", gives "detections", see `DetectionLayer`.

    In inference it also leaves "predictions", what `predict` gave. In training it leaves "samples", what
    `targets.roi_targets` drew: other heads of the RoIs train on the same ones.

    A stage that refines its RoIs before they become detections overrides `predict`, and `train` with `sample` and
    `learn`.

    Args:
        context: see `Stage`.
        name: "roi", or "roi_2" and so on of a further one: its losses and layers are named so, too.
    """

    name = "roi"
    reads = ("proposals",)
    gives = ("predictions", "detections", "samples")
    outputs = ("detections",)
    fields = STANDARD
    families = {"detections": (DETECTIONS,)}

    def __init__(self, context, name=None):
        super().__init__(context, name)
        settings, self.num_classes = context.settings, len(context.classes)
        suffix = "" if self.name == "roi" else f"_{self.name.removeprefix('roi_')}"
        places = [f"{place}{suffix}" for place in ("roi_pooling", "box_head", "detections")]
        self.roi_pooling = build_pooling(settings["roi_pooling"], context.strides, places[0])
        self.box_head = build_head(context, places[1])
        self.detections = build_detections(context, places[2])
        self.max_detections = self.detections.max_detections
        self.score_threshold = float(self.detections.score_threshold)
        self.loss_names = (f"{self.name}_class_loss", f"{self.name}_box_loss")
        self.recall_names, self.parts = (f"{self.name}_recall",), (places[1], *trained(self.roi_pooling))
        self._places = places

    @property
    def seed_number(self) -> int:
        return 1 if self.name == "roi" else super().seed_number

    def layers(self) -> "dict[str, keras.layers.Layer]":
        return dict(zip(self._places, (self.roi_pooling, self.box_head, self.detections), strict=True))

    def build(self) -> None:
        build_on_crops(self.box_head, self.roi_pooling, self.context.channels)
        super().build()

    def classify(
        self,
        features: Tensors,
        boxes: tf.Tensor,
        training: bool = False,
        is_valid: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Class logits `[B, R, K + background_logits]` and deltas `[B, R, K, 4]` of RoIs `[B, R, 4]`.

        In training, RoIs that are not valid (`[B, R]` bool) stay out of the statistics of live batch normalisation.
        """
        crops = self.roi_pooling(features, boxes, training=training, is_valid=is_valid)
        return self.box_head(crops, training=training, is_valid=is_valid)

    def predict(self, features: Tensors, proposals: Tensors, inputs: Tensors) -> tuple[Tensors, tf.Tensor, tf.Tensor]:
        """The RoIs that detections are made of, and their class logits and deltas, see `classify`.

        The RoIs are as many as the proposals, in their order, `{"boxes": [B, R, 4], "num_proposals": [B], ...}`: here
        the proposals themselves.
        """
        return proposals, *self.classify(features, proposals["boxes"])

    def detect(
        self, proposals: Tensors, logits: tf.Tensor, deltas: tf.Tensor, inputs: Tensors
    ) -> dict[str, tf.Tensor]:
        """Detections of what `predict` gave, see `DetectionLayer`."""
        return self.detections(
            proposals["boxes"], proposals["num_proposals"], logits, deltas, inputs["image_sizes"]
        )

    def infer(self, features: Tensors, state: State) -> dict[str, Any]:
        predictions = self.predict(features, state["proposals"], state["inputs"])
        return {"predictions": predictions, "detections": self.detect(*predictions, state["inputs"])}

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        return {"raw": self._raw}

    def _raw(self, features, state):
        """`{"boxes": [B, R, K, 4], "scores": [B, R, K], "num_proposals": [B]}`, what suppression chooses from."""
        rois, logits, deltas = state["predictions"]
        sizes, count = state["inputs"]["image_sizes"], rois["num_proposals"]
        boxes, scores = self.detections.candidates(rois["boxes"], count, logits, deltas, sizes)
        return {"boxes": boxes, "scores": scores, "num_proposals": count}

    def train(
        self, features: Tensors, state: State, targets: Tensors, seed: tf.Tensor, training: bool = True
    ) -> Trained:
        sampled = self.sample(state, targets, seed)
        logits, deltas = self.classify(features, sampled["boxes"], training, sampled["is_valid"])
        return {"samples": sampled}, *self.learn(self.name, logits, deltas, sampled)

    def sample(self, state: State, targets: Tensors, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """The RoIs to be trained on and their targets, see `targets.roi_targets`."""
        check_classes(targets["classes"], self.num_classes)
        return roi_targets(
            state["proposals"],
            targets,
            seed,
            num_classes=self.num_classes,
            box_weights=self.context.settings["detections"]["box_weights"],
            **self.context.settings["roi_targets"],
        )

    def learn(
        self, name: str, logits: tf.Tensor, deltas: tf.Tensor, sampled: Tensors
    ) -> tuple[dict[str, tf.Tensor], dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        """The losses and the recall of RoIs, see `Stage.train`.

        Args:
            name: that they begin with.
            logits, deltas: see `classify`.
            sampled: the RoIs and their targets, see `targets.roi_targets`.
        """
        losses = roi_losses(
            logits,
            deltas,
            sampled["classes"],
            sampled["deltas"],
            sampled["is_valid"],
            num_classes=self.num_classes,
            **self.context.settings["roi_losses"],
        )
        names = (f"{name}_class_loss", f"{name}_box_loss")
        is_right = tf.argmax(logits, axis=-1, output_type=tf.int32) == sampled["classes"]
        is_object = sampled["is_valid"] & (sampled["classes"] < self.num_classes)
        return dict(zip(names, losses.values(), strict=True)), {f"{name}_recall": recall(is_right, is_object)}

    def timed_steps(
        self, features: Tensors, state: State
    ) -> Iterator[tuple[str, tuple[Callable, Any]]]:
        proposals, inputs = state["proposals"], state["inputs"]
        yield "RoI pooling, box head", (lambda given: self.predict(*given), (features, proposals, inputs))
        predictions = self.predict(features, proposals, inputs)
        yield "detections", (lambda given: self.detect(*given), (*predictions, inputs))


def build_head(context: StageContext, name: str) -> "keras.layers.Layer":
    """The layer that `box_head.name` names, under a name of its own."""
    options = dict(context.settings["box_head"])
    part = BOX_HEADS[options.pop("name")]
    return part.build(len(context.classes), context, context.settings["roi_pooling"], name=name, **options)


def build_detections(context: StageContext, name: str, **differences: Any) -> DetectionLayer:
    """The layer that `detections.suppression` names, with the group's settings but for the differences."""
    options = {**context.settings["detections"], **differences}
    part = SUPPRESSIONS[options.pop("suppression")]
    return part.build(len(context.classes), name=name, **options)
