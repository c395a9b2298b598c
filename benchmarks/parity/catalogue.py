"""The models that are compared: where each comes from, and under which names its weights go on either side.

Free of torch and of TensorFlow: both sides read it.
"""

import dataclasses
import re

# The ids of 1..90 that COCO never gave to a class: torchvision keeps rows for them.
UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
ROWS = 91  # of torchvision's predictors: those ids, and 0
USED_IDS = tuple(number for number in range(1, 91) if number not in UNUSED_IDS)

PICTURES = {
    "480x640": (480, 640),
    "427x640": (427, 640),
    "333x500": (333, 500),
    "800x1333": (800, 1333),
}
BATCHES = (("480x640",), ("427x640",), ("333x500",), ("800x1333",), ("480x640", "333x500", "427x640"))
# Of the image pyramid at test time, which detectron2 has where there are proposals: shorter sides and the longest.
AUGMENTED_PICTURE = "333x500"
AUGMENTED_SIDES, AUGMENTED_MOST = (300, 450), 900
AUGMENTED = r"(faster|mask)_rcnn_R_50_FPN_3x"
# Exit code of reference.py about a model that needs detectron2 itself, where it is not.
NEEDS_DETECTRON2 = 3
# Of training: pictures, ground truth in pixels of the picture, the shorter side that the transform makes.
TRAINING_PICTURES = ("480x640", "333x500")
TRAINING_SIDE = 256
TRUTH = (
    ([[40, 60, 210, 300], [300, 100, 600, 420], [20, 330, 150, 460], [420, 20, 500, 90]], [0, 16, 56, 79]),
    ([[60, 40, 300, 310], [330, 180, 470, 300]], [2, 63]),
)


@dataclasses.dataclass(frozen=True)
class Model:
    """One row of the table.

    Attributes:
        name: as the source calls it; also the row's heading.
        source: "torchvision" or "detectron2".
        kind: "detector", "rpn" or "backbone".
        suffix: of the checkpoint file, the source's own.
        old_names: whether the published file has torchvision's older names.
        gradients: `{name in the source: (part, layer, variable)}` of this package's model.
        classes: that its box head tells apart; 0 without one.
        training: overrides of the configuration of the file, so that what is trained is what the reference trains.
        stem: of the name of its file, where that alone tells it from another model; else its name.
        rois: that detectron2's training step samples of each picture, where fewer than 512 are wanted; give `training`
            the same.
    """

    name: str
    source: str
    kind: str
    suffix: str = ".pth"
    old_names: bool = False
    gradients: dict = dataclasses.field(default_factory=dict)
    classes: int = 80
    training: tuple[str, ...] = ()
    stem: str = ""
    rois: int = 512

    @property
    def file(self):
        """Name of its checkpoint file."""
        return (self.stem or self.name) + self.suffix

    def truth(self, pictures):
        """Boxes and classes of pictures, such as `TRUTH`, with classes that it has."""
        return [(boxes, [label % max(self.classes, 1) for label in labels]) for boxes, labels in pictures]


_HEAD = {"rpn.head.conv.0.0.weight": ("rpn_head", "conv_0", "kernel")}
_PYRAMID = {
    "backbone.fpn.inner_blocks.1.0.weight": ("pyramid", "lateral_C3", "kernel"),
    "backbone.fpn.layer_blocks.0.0.weight": ("pyramid", "output_P2", "kernel"),
}
_RESNET = {"backbone.body.layer4.2.conv2.weight": ("backbone", "res5_2_conv2", "kernel")}
_FC7 = {"roi_heads.box_head.fc7.weight": ("box_head", "fc2", "kernel")}
_MOBILENET = {
    "backbone.body.7.block.0.0.weight": ("backbone", "block7_expand_conv", "kernel"),
    "backbone.body.15.block.2.fc1.weight": ("backbone", "block15_squeeze_fc1", "kernel"),
    "backbone.fpn.inner_blocks.1.0.weight": ("pyramid", "lateral_C6", "kernel"),
    "backbone.fpn.layer_blocks.0.0.weight": ("pyramid", "output_P5", "kernel"),
}
_DETECTRON2 = {
    "backbone.bottom_up.res3.0.conv1.weight": ("backbone", "res3_0_conv1", "kernel"),
    "backbone.bottom_up.res5.2.conv2.weight": ("backbone", "res5_2_conv2", "kernel"),
    "backbone.fpn_lateral3.weight": ("pyramid", "lateral_C3", "kernel"),
    "backbone.fpn_output2.weight": ("pyramid", "output_P2", "kernel"),
    "proposal_generator.rpn_head.conv.weight": ("rpn_head", "conv_0", "kernel"),
}
_FC2 = {"roi_heads.box_head.fc2.weight": ("box_head", "fc2", "kernel")}
_RPN_DELTAS = {"proposal_generator.rpn_head.anchor_deltas.weight": ("rpn_head", "deltas", "kernel")}
_FIRST = {"backbone.body.layer2.0.conv1.weight": ("backbone", "res3_0_conv1", "kernel")}
_V2 = {
    "backbone.body.conv1.weight": ("backbone", "stem_conv", "kernel"),
    "backbone.body.layer4.2.bn2.weight": ("backbone", "res5_2_norm2", "gamma"),
    "roi_heads.box_head.3.0.weight": ("box_head", "conv_3", "kernel"),
}
_DENSE = {
    "head.classification_head.conv.2.0.weight": ("dense_head", "class_conv_2", "kernel"),
    "head.regression_head.bbox_reg.weight": ("dense_head", "box_deltas", "kernel"),
}
_DENSE_V2 = {
    "backbone.body.conv1.weight": ("backbone", "stem_conv", "kernel"),
    "backbone.body.layer4.2.bn2.weight": ("backbone", "res5_2_norm2", "gamma"),
    "head.regression_head.conv.1.1.weight": ("dense_head", "box_norm_1", "gamma"),
}
_FCOS = {
    "head.classification_head.conv.6.weight": ("dense_head", "class_conv_2", "kernel"),
    "head.regression_head.conv.4.weight": ("dense_head", "box_norm_1", "gamma"),
    "head.regression_head.bbox_reg.weight": ("dense_head", "distances", "kernel"),
    "head.regression_head.bbox_ctrness.weight": ("dense_head", "centerness", "kernel"),
}
# Their pyramids begin with C3.
_STRIDED = {
    "backbone.fpn.inner_blocks.1.0.weight": ("pyramid", "lateral_C4", "kernel"),
    "backbone.fpn.layer_blocks.0.0.weight": ("pyramid", "output_P3", "kernel"),
    "backbone.fpn.extra_blocks.p6.weight": ("pyramid", "downsample_P6", "kernel"),
}
_MASKS = {
    "roi_heads.mask_head.1.0.weight": ("mask_head", "conv_1", "kernel"),
    "roi_heads.mask_predictor.conv5_mask.weight": ("mask_head", "deconv", "kernel"),
}
_KEYPOINTS = {
    "roi_heads.keypoint_head.2.weight": ("keypoint_head", "conv_1", "kernel"),
    "roi_heads.keypoint_predictor.kps_score_lowres.weight": ("keypoint_head", "score_lowres", "kernel"),
}
_DETECTRON2_MASKS = {
    "roi_heads.mask_head.mask_fcn2.weight": ("mask_head", "conv_1", "kernel"),
    "roi_heads.mask_head.deconv.weight": ("mask_head", "deconv", "kernel"),
}
_DETECTRON2_KEYPOINTS = {
    "roi_heads.keypoint_head.conv_fcn2.weight": ("keypoint_head", "conv_1", "kernel"),
    "roi_heads.keypoint_head.score_lowres.weight": ("keypoint_head", "score_lowres", "kernel"),
}
_DETECTRON2_DENSE = {
    "backbone.bottom_up.res3.0.conv1.weight": ("backbone", "res3_0_conv1", "kernel"),
    "backbone.bottom_up.res5.2.conv2.weight": ("backbone", "res5_2_conv2", "kernel"),
    "backbone.fpn_lateral3.weight": ("pyramid", "lateral_C3", "kernel"),
    "backbone.top_block.p6.weight": ("pyramid", "downsample_P6", "kernel"),
    "head.cls_subnet.4.weight": ("dense_head", "class_conv_2", "kernel"),
    "head.bbox_pred.weight": ("dense_head", "box_deltas", "kernel"),
}
_DETECTRON2_CASCADE = {
    "roi_heads.box_head.0.fc2.weight": ("box_head", "fc2", "kernel"),
    "roi_heads.box_head.1.fc2.weight": ("box_head_2", "fc2", "kernel"),
    "roi_heads.box_predictor.2.bbox_pred.weight": ("box_head_3", "box_deltas", "kernel"),
}
_ONE_MAP = {
    "backbone.res3.0.conv1.weight": ("backbone", "res3_0_conv1", "kernel"),
    "backbone.res4.5.conv2.weight": ("backbone", "res4_5_conv2", "kernel"),
    "proposal_generator.rpn_head.conv.weight": ("rpn_head", "conv_0", "kernel"),
    "proposal_generator.rpn_head.anchor_deltas.weight": ("rpn_head", "deltas", "kernel"),
}
_DC5 = _ONE_MAP | {
    "backbone.res5.0.conv2.weight": ("backbone", "res5_0_conv2", "kernel"),
    "backbone.res5.2.conv2.weight": ("backbone", "res5_2_conv2", "kernel"),
}
_C4 = _ONE_MAP | {
    "roi_heads.res5.0.conv1.weight": ("box_head", "res5_0_conv1", "kernel"),
    "roi_heads.res5.2.conv2.weight": ("box_head", "res5_2_conv2", "kernel"),
}

MODELS = (
    Model(
        "fasterrcnn_resnet50_fpn", "torchvision", "detector", old_names=True,
        gradients=_FIRST | _RESNET | _PYRAMID | _HEAD | _FC7,
    ),
    # Live batch norm, all of it trained: in torchvision a frozen stage would still learn its statistics.
    Model("fasterrcnn_resnet50_fpn_v2", "torchvision", "detector", gradients=_V2 | _RESNET | _PYRAMID | _HEAD),
    Model(
        "fasterrcnn_mobilenet_v3_large_fpn", "torchvision", "detector", old_names=True,
        gradients=_MOBILENET | _HEAD | _FC7,
    ),
    Model(
        "fasterrcnn_mobilenet_v3_large_320_fpn", "torchvision", "detector", old_names=True,
        gradients=_MOBILENET | _HEAD | _FC7,
    ),
    Model(
        "maskrcnn_resnet50_fpn", "torchvision", "detector", old_names=True,
        gradients=_FIRST | _RESNET | _PYRAMID | _HEAD | _FC7 | _MASKS,
    ),
    Model("maskrcnn_resnet50_fpn_v2", "torchvision", "detector", gradients=_V2 | _RESNET | _PYRAMID | _HEAD | _MASKS),
    # The weights of today run with a batch-norm epsilon of 0, the older ones with 1e-5.
    *(
        Model(
            name, "torchvision", "detector", old_names=True, classes=1, stem=stem,
            gradients=_FIRST | _RESNET | _PYRAMID | _HEAD | _FC7 | _KEYPOINTS,
        )
        for name, stem in (
            ("keypointrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn_coco-fc266e95"),
            ("keypointrcnn_resnet50_fpn_legacy", "keypointrcnn_resnet50_fpn_coco-9f466800"),
        )
    ),
    Model(
        "retinanet_resnet50_fpn", "torchvision", "detector", old_names=True,
        gradients=_FIRST | _RESNET | _STRIDED | _DENSE,
    ),
    # Live batch norm, as of the other v2.
    Model(
        "retinanet_resnet50_fpn_v2", "torchvision", "detector", gradients=_RESNET | _STRIDED | _DENSE | _DENSE_V2,
        training=("model.backbone.freeze_at=0",),
    ),
    Model(
        "fcos_resnet50_fpn", "torchvision", "detector", old_names=True,
        gradients=_FIRST | _RESNET | _STRIDED | _FCOS,
    ),
    Model("faster_rcnn_R_50_FPN_1x", "detectron2", "detector", ".pkl", gradients=_DETECTRON2 | _FC2),
    Model("faster_rcnn_R_101_FPN_3x", "detectron2", "detector", ".pkl", gradients=_DETECTRON2 | _FC2),
    Model("faster_rcnn_X_101_32x8d_FPN_3x", "detectron2", "detector", ".pkl", gradients=_DETECTRON2 | _FC2),
    Model("faster_rcnn_R_50_DC5_1x", "detectron2", "detector", ".pkl", gradients=_DC5 | _FC2),
    # Its box head is a stage of a ResNet: of 512 RoIs a picture a step in float64 would take more than 24 GB.
    Model(
        "faster_rcnn_R_50_C4_1x", "detectron2", "detector", ".pkl", gradients=_C4, rois=128,
        training=("model.roi_targets.samples_per_image=128",),
    ),
    Model("rpn_R_50_FPN_1x", "detectron2", "rpn", ".pth", gradients=_DETECTRON2 | _RPN_DELTAS, classes=0),
    *(
        Model(name, "detectron2", "detector", ".pkl", gradients=_DETECTRON2 | _FC2 | _DETECTRON2_MASKS)
        for name in ("mask_rcnn_R_50_FPN_3x", "mask_rcnn_R_101_FPN_3x")
    ),
    Model(
        "keypoint_rcnn_R_50_FPN_3x", "detectron2", "detector", ".pkl", classes=1,
        gradients=_DETECTRON2 | _FC2 | _DETECTRON2_KEYPOINTS,
    ),
    *(
        Model(name, "detectron2", "detector", ".pkl", gradients=_DETECTRON2_DENSE)
        for name in ("retinanet_R_50_FPN_1x", "retinanet_R_50_FPN_3x", "retinanet_R_101_FPN_3x")
    ),
    *(
        Model(name, "detectron2", "detector", ".pkl", gradients=_DETECTRON2 | _DETECTRON2_CASCADE | _DETECTRON2_MASKS)
        for name in ("cascade_mask_rcnn_R_50_FPN_1x", "cascade_mask_rcnn_R_50_FPN_3x")
    ),
    *(
        Model(name, "torchvision", "backbone")
        for name in (
            "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "mobilenet_v3_large"
        )
    ),
)  # fmt: skip


def model_named(name):
    for model in MODELS:
        if model.name == name:
            return model
    raise SystemExit(f"error: no model {name!r}; models are {', '.join(model.name for model in MODELS)}")


# torchvision's names of tensors, and those that they had when the files were published.
OLD_NAMES = (
    (r"^backbone\.fpn\.(inner|layer)_blocks\.(\d)\.0\.", r"backbone.fpn.\1_blocks.\2."),
    (r"^rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
    *((rf"^roi_heads\.mask_head\.{index}\.0\.", f"roi_heads.mask_head.mask_fcn{index + 1}.") for index in range(4)),
    *((rf"^(head\.\w+_head\.conv)\.{index}\.0\.", rf"\1.{2 * index}.") for index in range(4)),
)


def old_name(name):
    """torchvision's name of a tensor before version 0.14, as the published files have it."""
    for pattern, old in OLD_NAMES:
        if re.search(pattern, name):
            return re.sub(pattern, old, name)
    return name
