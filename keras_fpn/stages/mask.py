"""Each detection gets a mask of its own (Mask R-CNN, section 3).

    features, detections -> pool -> mask head -> sigmoid of the class's channel
    features, positive samples -> pool -> mask head -> the loss against the mask of each one's object

B images, D detections, P positive samples, s side of a mask.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.data.fields.bitmaps import Bitmaps
from keras_fpn.heads.mask_head import MaskHead
from keras_fpn.layers.leading_rows import LeadingRows
from keras_fpn.metrics.instance_masks import INSTANCE_MASKS
from keras_fpn.ops.mask_losses import mask_loss
from keras_fpn.parts.mask_fields import InstanceMasks
from keras_fpn.stages.mask_targets import bitmap_targets, polygon_targets
from keras_fpn.stages.pooling import build_on_crops, build_pooling, trained
from keras_fpn.stages.stage import Stage, State, Tensors, Trained

if TYPE_CHECKING:
    import keras

    from keras_fpn.data.fields import ObjectField

# What is learnt from, by `mask_targets.rule`; detectron2 resizes bitmaps as Pillow does, torchvision as torch.
FIELDS: "Mapping[str, str | ObjectField]" = {
    "polygon": "polygons", "bitmask": Bitmaps("pillow"), "soft": Bitmaps("torchvision")
}  # fmt: skip
WORDS = {
    "polygons": '"polygons" [B, G, V, 3], x and y of each vertex and the number of its part, padded with -1',
    "bitmaps": '"bitmaps" [B, G, H, W], 0 or 1 of each object on the pixels of the image',
}


class MaskStage(Stage):
    """RoI pooling and a `MaskHead`: reads "detections", and "samples" in training; adds "masks" to the detections.

    Masks are `[B, D, s, s]` float32 probabilities of the class that was detected, in the equal bins of the box; 0 past
    the last detection. The boxes that are pooled are those of the detections, in pixels of the network's input.
    """

    name, title = "mask", "RoI pooling, mask head"
    reads = ("detections", "samples")
    gives = ("detections",)
    loss_names = ("mask_loss",)
    families = {"detections": (INSTANCE_MASKS,)}
    parts = ("mask_head",)

    def __init__(self, context, name=None):
        super().__init__(context, name)
        options = dict(context.settings["mask_head"])
        size = options.pop("pooling_size")
        self.side, self.rule = 2 * size, context.settings["mask_targets"]["rule"]
        self.mask_pooling = build_pooling(
            context.settings["roi_pooling"], context.strides, "mask_pooling", size
        )
        self.parts = (*type(self).parts, *trained(self.mask_pooling))
        self.mask_head = MaskHead(len(context.classes), name="mask_head", **options)
        self.mask_rows = LeadingRows(name="mask_rows")
        self.fields = (InstanceMasks(self.side, **context.settings["mask_pasting"]),)

    @classmethod
    def fields_to_learn(cls, settings: Mapping[str, Mapping]) -> "tuple[str | ObjectField, ...]":
        return (FIELDS[settings["mask_targets"]["rule"]],)

    def layers(self) -> "dict[str, keras.layers.Layer]":
        return {"mask_rows": self.mask_rows, "mask_pooling": self.mask_pooling, "mask_head": self.mask_head}

    def build(self) -> None:
        build_on_crops(self.mask_head, self.mask_pooling, self.context.channels)
        super().build()

    def segment(
        self,
        features: Tensors,
        boxes: tf.Tensor,
        classes: tf.Tensor,
        training: bool = False,
        is_valid: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Mask logits `[B, R, s, s]` of RoIs, float32, of one class each.

        Args:
            features: `{level: [B, h, w, C]}`.
            boxes: `[B, R, 4]` pixels of the network's input.
            classes: `[B, R]` int32; any number where the row is padding.
            training, is_valid: see `MaskHead`.
        """
        crops = self.mask_pooling(features, boxes, training=training, is_valid=is_valid)
        logits = self.mask_head(crops, training=training, is_valid=is_valid)
        shape = tf.shape(boxes)
        masks = tf.reshape(logits, [-1, self.side**2, self.mask_head.num_masks])
        channel = tf.zeros_like(classes) if self.mask_head.class_agnostic else classes
        channel = tf.clip_by_value(tf.reshape(channel, [-1, 1]), 0, self.mask_head.num_masks - 1)
        own = tf.gather(masks, channel, axis=2, batch_dims=1)
        return tf.cast(tf.reshape(own, [shape[0], shape[1], self.side, self.side]), tf.float32)

    def masks(self, features: Tensors, found: Tensors) -> tf.Tensor:
        """Masks `[B, D, s, s]` of detections; none is computed of rows that are padding in all images."""
        return self.mask_rows.compute(
            lambda boxes, classes: tf.sigmoid(self.segment(features, boxes, classes)),
            found["num_detections"],
            found["boxes"],
            found["classes"],
        )

    def infer(self, features: Tensors, state: State) -> dict[str, Any]:
        found = state["detections"]
        return {"detections": found | {"masks": self.masks(features, found)}}

    def train(
        self, features: Tensors, state: State, targets: Tensors, seed: tf.Tensor, training: bool = True
    ) -> Trained:
        samples = state["samples"]
        is_object = samples["objects"] >= 0
        # Those of objects come first among the samples of an image.
        count = tf.maximum(tf.reduce_max(tf.reduce_sum(tf.cast(is_object, tf.int32), axis=1)), 1)
        boxes, classes, objects, is_object = (
            rows[:, :count] for rows in (samples["boxes"], samples["classes"], samples["objects"], is_object)
        )
        # Without any object the statistics are those of the first crop of each image: zeros would draw them to zero.
        is_counted = is_object | ~tf.reduce_any(is_object)
        logits = self.segment(features, boxes, classes, training, is_counted)
        truth = self.truth(targets, state["inputs"]["image_sizes"], boxes, objects)
        return {}, {"mask_loss": mask_loss(logits, truth, is_object)}, {}

    def truth(self, targets: Tensors, image_sizes: tf.Tensor, boxes: tf.Tensor, objects: tf.Tensor) -> tf.Tensor:
        """`[B, P, s, s]`: what the masks of RoIs are to be, 0 where an RoI is of no object.

        Args:
            targets: see `Detector`, with "polygons" or "bitmaps", as `mask_targets.rule` wants.
            image_sizes: `[B, 2]` height and width of the valid part of each image, pixels.
            boxes: `[B, P, 4]` the RoIs.
            objects: `[B, P]` int32, the row of each one's object among the targets, -1 of none.

        Raises:
            UserError: the targets hold no such masks.
        """
        name = "polygons" if self.rule == "polygon" else "bitmaps"
        if name not in targets:
            raise UserError(
                f"targets: hold no {name}, and mask_targets.rule={self.rule} learns from them; give {WORDS[name]}"
                f' (load_coco with fields=("{name}",) does)'
            )
        if name == "polygons":
            return polygon_targets(targets[name], boxes, objects, self.side)
        return bitmap_targets(targets[name], image_sizes, boxes, objects, self.side, self.rule)

    def timed_steps(
        self, features: Tensors, state: State
    ) -> Iterator[tuple[str, tuple[Callable, Any]]]:
        yield self.title, (lambda given: self.masks(*given), (features, state["detections"]))
