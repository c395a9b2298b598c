"""The second stage of a detector: RoIs of the features are classified and refined (Fast R-CNN; paper, section 4.2).

    features, boxes -> classify -> detections
    features, boxes -> sample -> classify -> the two losses of the head

What `FastRCNN` and `FasterRCNN` share. B images, R RoIs, K classes, S samples, D detections.
"""

import tensorflow as tf

from keras_fpn.backbones import build_conv5
from keras_fpn.box_head import BoxHead
from keras_fpn.conv5_head import Conv5Head
from keras_fpn.detections import DetectionLayer
from keras_fpn.detector import Detector, share
from keras_fpn.errors import UserError
from keras_fpn.levels import level_number
from keras_fpn.losses import roi_losses
from keras_fpn.naming import nearest
from keras_fpn.roi_align import RoIAlign
from keras_fpn.roi_pool import RoIPool
from keras_fpn.targets import roi_targets


class Classifying(Detector):
    """A `Detector` with RoI pooling, a head and a detection layer on its features.

    Args:
        num_classes: K, without background.
        backbone, profile, seed: see `Detector`.
        class_names: K names; "0".."K-1" without.
        category_ids: K ids of the classes in the data set's own numbering; 1..K without.

    Raises:
        UserError: names and ids that do not number K; see `Detector`.
    """

    GROUPS = (*Detector.GROUPS, "roi_targets", "roi_pooling", "box_head", "losses", "detections")
    loss_names = ("roi_class_loss", "roi_box_loss")
    recall_names = ("roi_recall",)

    def __init__(self, num_classes, backbone="resnet50", *, class_names=None, category_ids=None, **kwargs):
        super().__init__(backbone, **kwargs)
        self.num_classes = num_classes
        self.class_names = _one_for_each_class("class_names", class_names, map(str, range(num_classes)), num_classes)
        self.category_ids = _one_for_each_class("category_ids", category_ids, range(1, num_classes + 1), num_classes)
        with self.own_policy():
            self._make_classifying_stages(self.settings)
        self.build()

    @classmethod
    def for_data(cls, classes, **settings):
        names, ids = list(classes.class_names), list(classes.category_ids)
        return super().for_data(classes, num_classes=len(names), class_names=names, category_ids=ids, **settings)

    def _make_classifying_stages(self, settings):
        self.roi_pooling = _roi_pooling(_roi_strides(settings, self.strides), settings["roi_pooling"])
        self.box_head = _box_head(self.num_classes, settings)
        self.detections = DetectionLayer(name="detections", **settings["detections"])

    def build(self, input_shape=None):
        """Make all variables; called by the constructor, the argument is not read."""
        size, level = self.roi_pooling.output_size, next(iter(self.roi_pooling.strides))
        self.box_head.build((None, None, size, size, self.feature_channels[level]))
        for layer in (self.roi_pooling, self.detections):
            layer.built = True
        super().build(input_shape)

    # The stages, in order -------------------------------------------------------------------------------------

    def classify(self, features, boxes, training=False, is_valid=None):
        """Class logits `[B, R, K + background_logits]` and deltas `[B, R, K, 4]` of RoIs `[B, R, 4]`.

        In training, RoIs that are not valid (`[B, R]` bool) stay out of the statistics of live batch normalisation.
        """
        return self.box_head(self.roi_pooling(features, boxes), training=training, is_valid=is_valid)

    def detect(self, features, proposals, inputs):
        """Detections of proposals `{"boxes": [B, R, 4], "num_proposals": [B]}`, see `DetectionLayer`."""
        logits, deltas = self.classify(features, proposals["boxes"])
        return self.detections(
            proposals["boxes"], proposals["num_proposals"], logits, deltas, inputs["image_sizes"]
        )

    def classifying_stages(self, inputs, features, proposals):
        """Yield `(name, (function, argument))` of the stages from RoI pooling on; see `Detector.stages`."""

        def detections(given):
            (logits, deltas), boxes, count, sizes = given
            return self.detections(boxes, count, logits, deltas, sizes)

        boxes, count = proposals["boxes"], proposals["num_proposals"]
        yield "RoI pooling, box head", (lambda given: self.classify(*given), (features, boxes))
        yield "detections", (detections, (self.classify(features, boxes), boxes, count, inputs["image_sizes"]))

    # Training -------------------------------------------------------------------------------------------------

    def roi_losses(self, features, proposals, targets, seed, training=True):
        """The losses of the box head on RoIs sampled from the proposals, and its recall on those with an object."""
        sampled = roi_targets(
            proposals,
            targets,
            seed,
            num_classes=self.num_classes,
            box_weights=self.detections.box_weights,
            **self.settings["roi_targets"],
        )
        logits, deltas = self.classify(features, sampled["boxes"], training, sampled["is_valid"])
        losses = roi_losses(
            logits,
            deltas,
            sampled["classes"],
            sampled["deltas"],
            sampled["is_valid"],
            box_beta=self.settings["losses"]["roi_box_beta"],
        )
        is_right = tf.argmax(logits, axis=-1, output_type=tf.int32) == sampled["classes"]
        is_object = sampled["is_valid"] & (sampled["classes"] < self.num_classes)
        return losses, {"roi_recall": share(is_right, is_object)}

    # Judgement ------------------------------------------------------------------------------------------------

    def check_classes(self, class_names, category_ids, source):
        """Refuse annotations whose classes the model was not trained on: their AP would say nothing."""
        theirs = dict(zip(category_ids, class_names, strict=True))
        ours = dict(zip(self.category_ids, self.class_names, strict=True))
        if theirs != ours:
            differing = sorted(theirs.items() ^ ours.items())[0]
            owner = "the annotations" if differing in theirs.items() else "the model"
            raise UserError(
                f"{source}: its {len(theirs)} classes are not the model's {len(ours)}:"
                f" category {differing[0]} {differing[1]!r} is only in {owner};"
                " use the annotations of the model's own data set"
            )

    def coco_metrics(self, evaluator, detections, proposals=None, image_ids=None):
        """Average precision and recall of detections, and the average recall of proposals where they are given."""
        metrics = evaluator.detections(detections, image_ids)
        return metrics if proposals is None else metrics | evaluator.proposals(proposals, image_ids)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),
            "category_ids": list(self.category_ids),
        }


def _one_for_each_class(key, values, defaults, num_classes):
    values = tuple(defaults if values is None else values)
    if len(values) != num_classes:
        raise UserError(f"{key}: {len(values)} given for {num_classes} classes; give one for each class")
    return values


def _roi_strides(settings, strides):
    """`{level: pixels between cells}` of the levels that RoIs are read from."""
    levels = settings["roi_pooling"]["levels"]
    absent = [level for level in levels if level not in strides]
    if absent or not levels:
        raise UserError(
            f"roi_pooling.levels: {', '.join(absent) or 'none'} not among pyramid.levels {', '.join(strides)};"
            " name levels of both"
        )
    numbers = sorted(map(level_number, levels))
    if numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise UserError(f"roi_pooling.levels: {', '.join(levels)}; give neighbours, an RoI belongs on one of a run")
    return {level: strides[level] for level in levels}


def _box_head(num_classes, settings):
    options = dict(settings["box_head"])
    name = options.pop("name")
    if name not in HEADS:
        raise UserError(f"box_head.name: unknown {name!r}{nearest(name, HEADS)}")
    return HEADS[name](num_classes, options, settings)


def _fc_head(num_classes, options, settings):
    return BoxHead(num_classes, name="box_head", **options)


def _conv5_head(num_classes, options, settings):
    conv5 = build_conv5(settings["backbone"])
    levels = settings["roi_pooling"]["levels"]
    if levels != ["C4"]:
        raise UserError(
            f"box_head.name: conv5 reads C4, not {', '.join(levels)}; set roi_pooling.levels=[C4], pyramid.levels=[C4]"
            " and pyramid.name=single_scale"
        )
    shared = {key: options[key] for key in ("initializer", "background_logits", "background_boxes")}
    return Conv5Head(num_classes, conv5, name="box_head", **shared)


# By `box_head.name`: the paper's two fully connected layers (or torchvision's convolutions), and the C4 baseline's.
HEADS = {"fc": _fc_head, "conv5": _conv5_head}


def _roi_pooling(strides, settings):
    shared = {key: settings[key] for key in ("output_size", "canonical_size", "canonical_level")}
    if settings["method"] == "max":
        return RoIPool(strides=strides, name="roi_pooling", **shared)
    if settings["method"] != "align":
        raise UserError(f'roi_pooling.method: {settings["method"]!r}; valid are "align" and "max"')
    align = {key: settings[key] for key in ("sampling_ratio", "aligned", "implementation")}
    return RoIAlign(strides=strides, name="roi_pooling", **shared, **align)
