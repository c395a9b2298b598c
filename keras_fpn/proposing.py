"""The region proposal network of a detector: its stages and its losses (paper, section 4.1).

    features -> score_anchors -> propose
    features -> score_anchors -> sample -> the two losses of the RPN

What `RPN` and `FasterRCNN` share. B images, A anchors, S samples, P proposals.
"""

import math

import tensorflow as tf

from keras_fpn.anchors import AnchorGenerator
from keras_fpn.detector import Detector, share
from keras_fpn.errors import UserError
from keras_fpn.losses import RPN_NORMALIZERS, rpn_losses
from keras_fpn.naming import nearest
from keras_fpn.proposals import ProposalLayer
from keras_fpn.rpn import RPNHead
from keras_fpn.targets import anchor_targets


class Proposing(Detector):
    """A `Detector` with anchors, an RPN head and a proposal layer on its features."""

    GROUPS = (*Detector.GROUPS, "anchors", "rpn", "proposals", "anchor_targets", "losses")
    loss_names = ("rpn_objectness_loss", "rpn_box_loss")
    recall_names = ("rpn_recall",)

    def _make_stages(self, settings):
        super()._make_stages(settings)
        normalizer = settings["losses"]["rpn_normalizer"]
        if normalizer not in RPN_NORMALIZERS:
            near = nearest(normalizer, RPN_NORMALIZERS)
            raise UserError(f"losses.rpn_normalizer: unknown value {normalizer!r}{near}")
        anchors = _anchors(settings["anchors"], settings["pyramid"]["levels"])
        self.anchors = AnchorGenerator(strides=dict(self.strides), name="anchors", **anchors)
        self.rpn_head = RPNHead(num_anchors=_same_for_all(self.anchors.num_anchors), name="rpn_head", **settings["rpn"])
        self.proposals = ProposalLayer(name="proposals", **settings["proposals"])

    def build(self, input_shape=None):
        """Make all variables; called by the constructor, the argument is not read."""
        self.rpn_head.build({level: (None, None, None, number) for level, number in self.feature_channels.items()})
        for layer in (self.anchors, self.proposals):
            layer.built = True
        super().build(input_shape)

    def count_anchors(self, height, width):
        """Anchors of an image of this size, pixels: 199,974 of the paper's pyramid at 800 x 1000."""
        per_cell = self.anchors.num_anchors
        return sum(
            per_cell[level] * math.ceil(height / stride) * math.ceil(width / stride)
            for level, stride in self.strides.items()
        )

    # The stages, in order -------------------------------------------------------------------------------------

    def score_anchors(self, features, inputs):
        """`{"objectness": {level: [B, A_l]}, "deltas": {level: [B, A_l, 4]}, "anchors": {level: [A_l, 4]}}`."""
        shapes = {level: tuple(tf.unstack(tf.shape(feature)[1:3])) for level, feature in features.items()}
        image_shape = tf.unstack(tf.shape(inputs["images"])[1:3])
        return self.rpn_head(features) | {"anchors": self.anchors(shapes, image_shape)}

    def propose(self, features, inputs, training=False):
        """What `score_anchors` gives, and the proposals made of it (see `ProposalLayer`)."""
        rpn = self.score_anchors(features, inputs)
        proposals = self.proposals(
            rpn["objectness"], rpn["deltas"], rpn["anchors"], inputs["image_sizes"], training=training
        )
        return rpn, proposals

    def stages(self, inputs):
        """See `Detector`."""
        yield from super().stages(inputs)
        yield "RPN, proposals", (lambda given: self.propose(*given)[1], (self.features(inputs), inputs))

    # Training -------------------------------------------------------------------------------------------------

    def rpn_losses(self, rpn, targets, seed):
        """The losses of what `score_anchors` gave, on anchors sampled for the targets, and the recall of those."""
        settings = self.settings["anchor_targets"]
        anchors = tf.concat(list(rpn["anchors"].values()), axis=0)
        sampled = anchor_targets(anchors, targets, seed, box_weights=self.proposals.box_weights, **settings)
        logits = tf.concat([rpn["objectness"][level] for level in rpn["anchors"]], axis=1)
        deltas = tf.concat([rpn["deltas"][level] for level in rpn["anchors"]], axis=1)
        logits = tf.gather(logits, sampled["indices"], batch_dims=1)  # [B, S]
        deltas = tf.gather(deltas, sampled["indices"], batch_dims=1)  # [B, S, 4]
        losses = rpn_losses(
            logits,
            deltas,
            sampled["deltas"],
            sampled["is_positive"],
            sampled["is_valid"],
            samples_per_image=settings["samples_per_image"],
            normalizer=self.settings["losses"]["rpn_normalizer"],
            box_beta=self.settings["losses"]["rpn_box_beta"],
        )
        return losses, {"rpn_recall": share(logits > 0, sampled["is_positive"])}


def _anchors(settings, levels):
    missing = [level for level in levels if level not in settings["sizes"]]
    if missing:
        raise UserError(f"anchors.sizes: none for {', '.join(missing)}; give a list of sizes for every pyramid level")
    return settings | {"sizes": {level: settings["sizes"][level] for level in levels}}


def _same_for_all(num_anchors):
    counts = set(num_anchors.values())
    if len(counts) != 1:
        raise UserError(f"anchors.sizes: {num_anchors} anchors a cell; give every level as many, the head is shared")
    return counts.pop()
