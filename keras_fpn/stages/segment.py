"""Masks of whatever may be an object, at positions of the pyramid (paper, section 6, appendix A).

    features -> score positions -> the best -> masks there
    features -> sampled positions -> scores, masks -> losses

B images, N positions, S samples, D detections, m side of a mask.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_fpn.data.batches import check_masks
from keras_fpn.heads.segment_head import SegmentHead
from keras_fpn.metrics import SEGMENTS
from keras_fpn.ops.losses import segment_losses
from keras_fpn.ops.nms import best
from keras_fpn.parts.output_fields import SCORES, WINDOWS, Masks
from keras_fpn.stages.recall import recall
from keras_fpn.stages.segment_grid import Layout, SegmentGrid
from keras_fpn.stages.segment_targets import segment_targets
from keras_fpn.stages.stage import Stage, State, Tensors, Trained

if TYPE_CHECKING:
    import keras

_TARGETS = ("mask_size", "samples_per_image", "positive_fraction", "crowd_ioa")


class SegmentStage(Stage):
    """5x5 and 7x7 MLPs over the pyramid: gives "detections" with masks, see `SegmentProposals`."""

    name = "segment"
    gives = ("detections",)
    outputs = ("detections",)
    families = {"detections": (SEGMENTS,)}
    loss_names = ("segment_score_loss", "segment_mask_loss")
    recall_names = ("segment_recall",)
    object_fields = ("masks",)
    parts = ("segment_head",)
    seed_number = 0

    def __init__(self, context, name=None):
        super().__init__(context, name)
        self.settings = settings = context.settings["segments"]
        self.max_detections = settings["max_detections"]
        self.fields = (WINDOWS, SCORES, Masks(settings["mask_size"]))
        kernel_sizes = settings["kernel_sizes"]
        self.grid = SegmentGrid(context.strides, kernel_sizes, settings["canonical_size"])
        self.segment_head = SegmentHead(settings["units"], settings["mask_size"], kernel_sizes, name="segment_head")

    def layers(self) -> "dict[str, keras.layers.Layer]":
        return {"segment_head": self.segment_head}

    def build(self) -> None:
        shapes = {level: (None, None, None, number) for level, number in self.context.channels.items()}
        self.segment_head.build(shapes)
        super().build()

    def lay_out(self, features: Tensors) -> Layout:
        """The `Layout` of all positions of the features."""
        return self.grid.lay_out([tuple(tf.unstack(tf.shape(feature)[1:3])) for feature in features.values()])

    def best_positions(
        self, features: Tensors, inputs: Tensors
    ) -> dict[str, tf.Tensor]:
        """The positions of the highest scores inside the images.

        Returns:
            `{"indices": [B, D] int32 into the layout, "boxes", "scores", "num_detections": see `SegmentProposals`}`.
        """
        layout = self.lay_out(features)
        logits = self.segment_head(features)
        logits = tf.cast(tf.concat([logits[level] for level in features], axis=1), tf.float32)  # [B, N]
        sizes = tf.cast(tf.reverse(inputs["image_sizes"], [1]), tf.float32)
        is_inside = tf.reduce_all(layout.centres < sizes[:, None], axis=-1)
        logits = tf.where(is_inside, logits, float("-inf"))
        windows = tf.tile(layout.windows[None], [tf.shape(logits)[0], 1, 1])
        windows, logits, indices, count = best(windows, logits, self.settings["max_detections"])
        is_valid = tf.sequence_mask(count, tf.shape(logits)[1])
        # Sorted again: the logistic of float32 is off by one bit here and there, not alike at all places of a vector.
        scores = tf.sort(tf.where(is_valid, tf.sigmoid(logits), 0.0), direction="DESCENDING")
        return {"indices": indices, "boxes": windows, "scores": scores, "num_detections": count}

    def segment(self, features: Tensors, found: Tensors) -> dict[str, tf.Tensor]:
        """Result of `best_positions`, with the masks there in place of the indices."""
        layout = self.lay_out(features)
        # Padding lies behind the last position, where there is nothing to gather.
        indices = tf.minimum(found["indices"], tf.shape(layout.centres)[0] - 1)
        _, masks = self.segment_head.at(features, self.grid.places(indices, layout))
        is_valid = tf.sequence_mask(found["num_detections"], tf.shape(indices)[1])[..., None, None]
        masks = tf.where(is_valid, tf.sigmoid(masks), 0.0)
        return {
            "boxes": found["boxes"],
            "scores": found["scores"],
            "masks": masks,
            "num_detections": found["num_detections"],
        }

    def infer(self, features: Tensors, state: State) -> dict[str, Any]:
        return {"detections": self.segment(features, self.best_positions(features, state["inputs"]))}

    def train(
        self, features: Tensors, state: State, targets: Tensors, seed: tf.Tensor, training: bool = True
    ) -> Trained:
        check_masks(targets)
        layout = self.lay_out(features)
        sizes = state["inputs"]["image_sizes"]
        options = {key: self.settings[key] for key in _TARGETS}
        sampled = segment_targets(self.grid, layout, targets, sizes, seed, **options)
        scores, masks = self.segment_head.at(features, self.grid.places(sampled["indices"], layout))
        losses = segment_losses(
            scores,
            masks,
            sampled["masks"],
            sampled["is_positive"],
            sampled["is_valid"],
            mask_weight=self.settings["mask_loss_weight"],
        )
        return {}, losses, {"segment_recall": recall(scores > 0, sampled["is_positive"])}

    def timed_steps(
        self, features: Tensors, state: State
    ) -> Iterator[tuple[str, tuple[Callable, Any]]]:
        inputs = state["inputs"]
        yield "segment scores", (lambda given: self.best_positions(*given), (features, inputs))
        yield "segment masks", (lambda given: self.segment(*given), (features, self.best_positions(features, inputs)))
