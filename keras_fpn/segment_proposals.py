"""Segment proposals: masks of whatever may be an object, without classes (paper, section 6, appendix A; table 6).

    images -> features -> score positions -> the best -> masks there         `call`, `predict`
    images -> features -> sampled positions -> scores, masks -> losses       `train_step`, `test_step`

B images, N positions, S samples, D detections, m side of a mask.
"""

import keras
import tensorflow as tf

from keras_fpn.batches import check_masks, check_targets, with_sizes
from keras_fpn.detector import Detector, share
from keras_fpn.losses import segment_losses
from keras_fpn.nms import best
from keras_fpn.segment_grid import SegmentGrid
from keras_fpn.segment_head import SegmentHead
from keras_fpn.segment_targets import segment_targets


@keras.saving.register_keras_serializable("keras_fpn")
class SegmentProposals(Detector):
    """Class-agnostic segments: 5x5 and 7x7 MLPs over the pyramid, half an octave apart.

    Outputs are `{"boxes": [B, D, 4], "scores": [B, D], "masks": [B, D, m, m], "num_detections": [B] int32}`, best
    first, padded with 0: a box is the window that its mask covers, in pixels of the image given and not clipped to it;
    scores are probabilities, and so are masks, of m x m equal bins of the window. D is `segments.max_detections`;
    nothing is suppressed.

    Inputs and targets: see `Detector`; targets name `"masks": [B, G, M, M] 0 or 1`, too, each object over its own box.
    Of the classes only the padding is read. `fit` reports `segment_score_loss`, `segment_mask_loss` (its weight
    included) and `segment_recall`, of the sampled positive positions the share called an object. Where results need a
    class it is "object", category id 0.

    Args:
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, segments: dicts of differences from the profile, group by group. The paper's pyramid
            has 128 channels here.

    Raises:
        UserError: for an unknown profile, setting or backbone, or kernel sizes that are not a scale's.
    """

    title = "Segment proposals on a feature pyramid"
    GROUPS = (*Detector.GROUPS, "segments")
    main_metric = "segments/AR1000"
    loss_names = ("segment_score_loss", "segment_mask_loss")
    recall_names = ("segment_recall",)
    needs_masks = True

    def __init__(self, backbone="resnet50", *, name="segment_proposals", **kwargs):
        super().__init__(backbone, name=name, **kwargs)
        self.build()

    def _make_stages(self, settings):
        super()._make_stages(settings)
        segments = settings["segments"]
        kernel_sizes = segments["kernel_sizes"]
        self.grid = SegmentGrid(self.strides, kernel_sizes, segments["canonical_size"])
        self.segment_head = SegmentHead(
            segments["units"], segments["mask_size"], kernel_sizes, name="segment_head"
        )

    def build(self, input_shape=None):
        """Make all variables; called by the constructor, the argument is not read."""
        self.segment_head.build({level: (None, None, None, number) for level, number in self.feature_channels.items()})
        super().build(input_shape)

    # The stages, in order -------------------------------------------------------------------------------------

    def lay_out(self, features):
        """The `Layout` of all positions of the features."""
        return self.grid.lay_out([tuple(tf.unstack(tf.shape(feature)[1:3])) for feature in features.values()])

    def best_positions(self, features, inputs):
        """The positions of the highest scores inside the images.

        Returns:
            `{"indices": [B, D] int32 into the layout, "boxes", "scores", "num_detections": see the class}`.
        """
        layout = self.lay_out(features)
        logits = self.segment_head(features)
        logits = tf.cast(tf.concat([logits[level] for level in features], axis=1), tf.float32)  # [B, N]
        sizes = tf.cast(tf.reverse(inputs["image_sizes"], [1]), tf.float32)
        is_inside = tf.reduce_all(layout.centres < sizes[:, None], axis=-1)
        logits = tf.where(is_inside, logits, float("-inf"))
        windows = tf.tile(layout.windows[None], [tf.shape(logits)[0], 1, 1])
        windows, logits, indices, count = best(windows, logits, self.settings["segments"]["max_detections"])
        is_valid = tf.sequence_mask(count, tf.shape(logits)[1])
        # Sorted again: the logistic of float32 is off by one bit here and there, not alike at all places of a vector.
        scores = tf.sort(tf.where(is_valid, tf.sigmoid(logits), 0.0), direction="DESCENDING")
        return {"indices": indices, "boxes": windows, "scores": scores, "num_detections": count}

    def segment(self, features, found):
        """What `best_positions` found, with the masks there in place of the indices."""
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

    def inference(self, inputs):
        """`{"detections": see the class}` of a batch."""
        inputs = with_sizes(inputs)
        features = self.features(inputs)
        return {"detections": self.segment(features, self.best_positions(features, inputs))}

    def stages(self, inputs):
        """See `Detector`."""
        yield from super().stages(inputs)
        features = self.features(inputs)
        yield "segment scores", (lambda given: self.best_positions(*given), (features, inputs))
        yield "segment masks", (lambda given: self.segment(*given), (features, self.best_positions(features, inputs)))

    # Training -------------------------------------------------------------------------------------------------

    def training_losses(self, inputs, targets, seed, training=True):
        """See `Detector`."""
        inputs = with_sizes(inputs)
        check_targets(targets)
        check_masks(targets)
        settings = self.settings["segments"]
        features = self.features(inputs, training=training)
        layout = self.lay_out(features)
        sampled = segment_targets(
            self.grid,
            layout,
            targets,
            inputs["image_sizes"],
            tf.random.experimental.stateless_fold_in(seed, 0),
            **{key: settings[key] for key in ("mask_size", "samples_per_image", "positive_fraction", "crowd_ioa")},
        )
        scores, masks = self.segment_head.at(features, self.grid.places(sampled["indices"], layout))
        losses = segment_losses(
            scores,
            masks,
            sampled["masks"],
            sampled["is_positive"],
            sampled["is_valid"],
            mask_weight=settings["mask_loss_weight"],
        )
        return losses, {"segment_recall": share(scores > 0, sampled["is_positive"])}

    def coco_metrics(self, evaluator, detections, proposals=None, image_ids=None):
        """Average recall of masks: see `COCOEvaluator.segments`."""
        return evaluator.segments(detections, image_ids)
