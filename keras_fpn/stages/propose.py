"""The region proposal network: its stages and its losses (paper, section 4.1).

    features -> score anchors -> propose
    features -> score anchors -> sample -> the two losses of the RPN

B images, A anchors, S samples, P proposals.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.heads.rpn import RPNHead
from keras_fpn.layers.anchors import AnchorGenerator
from keras_fpn.layers.proposals import ProposalLayer
from keras_fpn.metrics import PROPOSALS
from keras_fpn.ops.losses import rpn_losses
from keras_fpn.parts.output_fields import BOXES, SCORES
from keras_fpn.stages.propose_settings import of_levels
from keras_fpn.stages.recall import recall
from keras_fpn.stages.stage import Stage, State, Tensors, Trained
from keras_fpn.stages.targets import anchor_targets

if TYPE_CHECKING:
    import keras


class ProposeStage(Stage):
    """Anchors, an RPN head and a proposal layer: gives "proposals", see `ProposalLayer`."""

    name = "rpn"
    title = "RPN, proposals"
    gives = ("proposals",)
    outputs = ("proposals",)
    families = {"proposals": (PROPOSALS,)}
    loss_names = ("rpn_objectness_loss", "rpn_box_loss")
    recall_names = ("rpn_recall",)
    parts = ("rpn_head",)
    seed_number = 0

    def __init__(self, context, name=None):
        super().__init__(context, name)
        settings = context.settings
        self.anchors = AnchorGenerator(
            strides=dict(context.strides), name="anchors", **of_levels(settings["anchors"], context.strides)
        )
        num_anchors = _same_for_all(self.anchors.num_anchors)
        self.rpn_head = RPNHead(num_anchors=num_anchors, name="rpn_head", **settings["rpn"])
        self.proposals = ProposalLayer(name="proposals", **settings["proposals"])

    def layers(self) -> "dict[str, keras.layers.Layer]":
        return {"anchors": self.anchors, "rpn_head": self.rpn_head, "proposals": self.proposals}

    def build(self) -> None:
        self.rpn_head.build({level: (None, None, None, number) for level, number in self.context.channels.items()})
        super().build()

    def count_anchors(self, height: int, width: int) -> int:
        """Anchors of an image of this size, pixels: 199,974 of the paper's pyramid at 800 x 1000."""
        per_cell = self.anchors.num_anchors
        return sum(
            per_cell[level] * math.ceil(height / stride) * math.ceil(width / stride)
            for level, stride in self.context.strides.items()
        )

    def score_anchors(
        self, features: Tensors, inputs: Tensors
    ) -> dict[str, dict[str, tf.Tensor]]:
        """`{"objectness": {level: [B, A_l]}, "deltas": {level: [B, A_l, 4]}, "anchors": {level: [A_l, 4]}}`."""
        return self.rpn_head(features) | {"anchors": self.anchors.on(features, inputs["images"])}

    def propose(
        self, scored: Mapping[str, Mapping[str, tf.Tensor]], inputs: Tensors, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """The proposals made of what `score_anchors` gave, see `ProposalLayer`."""
        return self.proposals(
            scored["objectness"], scored["deltas"], scored["anchors"], inputs["image_sizes"], training=training
        )

    def infer(self, features: Tensors, state: State) -> dict[str, Any]:
        return {"proposals": self.propose(self.score_anchors(features, state["inputs"]), state["inputs"])}

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        return {"proposals": lambda features, state: state["proposals"]}

    def train(
        self, features: Tensors, state: State, targets: Tensors, seed: tf.Tensor, training: bool = True
    ) -> Trained:
        scored = self.score_anchors(features, state["inputs"])
        additions = {"proposals": self.propose(scored, state["inputs"], training)}
        return additions, *self.losses(scored, targets, seed)

    def losses(
        self, scored: Mapping[str, Mapping[str, tf.Tensor]], targets: Tensors, seed: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tuple[tf.Tensor, tf.Tensor]]]:
        """The losses of what `score_anchors` gave, on anchors sampled for the targets, and the recall of those."""
        settings = self.context.settings
        anchors = tf.concat(list(scored["anchors"].values()), axis=0)
        box_weights = self.proposals.box_weights
        sampled = anchor_targets(anchors, targets, seed, box_weights=box_weights, **settings["anchor_targets"])
        logits = tf.concat([scored["objectness"][level] for level in scored["anchors"]], axis=1)
        deltas = tf.concat([scored["deltas"][level] for level in scored["anchors"]], axis=1)
        logits = tf.gather(logits, sampled["indices"], batch_dims=1)  # [B, S]
        deltas = tf.gather(deltas, sampled["indices"], batch_dims=1)  # [B, S, 4]
        values = rpn_losses(
            logits,
            deltas,
            sampled["deltas"],
            sampled["is_positive"],
            sampled["is_valid"],
            samples_per_image=settings["anchor_targets"]["samples_per_image"],
            **settings["rpn_losses"],
        )
        return values, {"rpn_recall": recall(logits > 0, sampled["is_positive"])}


class ObjectsStage(ProposeStage):
    """The network alone: its proposals are the detections, scored by their probability, without classes."""

    gives = ("detections",)
    outputs = ("detections",)
    fields = (BOXES, SCORES)
    families = {"detections": (PROPOSALS,)}

    @property
    def max_detections(self) -> int:  # type: ignore[override]
        """Rows of its detections."""
        return self.proposals.post_nms_top_k_test

    def infer(self, features: Tensors, state: State) -> dict[str, Any]:
        proposals = super().infer(features, state)["proposals"]
        count = proposals["num_proposals"]
        is_valid = tf.sequence_mask(count, tf.shape(proposals["scores"])[1])
        # Sorted again: the logistic of float32 is off by one bit here and there, not alike at all places of a vector.
        scores = tf.sort(tf.where(is_valid, tf.sigmoid(proposals["scores"]), 0.0), direction="DESCENDING")
        return {"detections": {"boxes": proposals["boxes"], "scores": scores, "num_detections": count}}

    def signatures(self) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
        return {"proposals": lambda features, state: _as_proposals(state["detections"])}

    def train(
        self, features: Tensors, state: State, targets: Tensors, seed: tf.Tensor, training: bool = True
    ) -> Trained:
        return {}, *self.losses(self.score_anchors(features, state["inputs"]), targets, seed)


def _as_proposals(detections):
    found = dict(detections)
    return found | {"num_proposals": found.pop("num_detections")}


def _same_for_all(num_anchors):
    counts = set(num_anchors.values())
    if len(counts) != 1:
        raise UserError(f"anchors.sizes: {num_anchors} anchors a cell; give every level as many, the head is shared")
    return counts.pop()
