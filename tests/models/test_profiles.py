"""The profiles are the table of the reference implementations; a changed number is a changed result."""

import pytest

from keras_fpn.console.errors import UserError
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.models.settings import resolve

# Columns: detectron2, torchvision, paper (Lin et al., sections 4, 5; where silent its authors' release).
# Sources: detectron2 config/defaults.py and configs/Base-RCNN-FPN.yaml;
# torchvision models/detection/{faster_rcnn,rpn,roi_heads,transform}.py;
# Detectron core/config.py and e2e_faster_rcnn_R-50-FPN_1x.yaml.
TABLE = {
    "pixels.channel_order": ("BGR", "RGB", "BGR"),
    "pixels.mean": ([103.53, 116.28, 123.675], [123.675, 116.28, 103.53], [102.9801, 115.9465, 122.7717]),
    "pixels.std": ([1, 1, 1], [58.395, 57.12, 57.375], [1, 1, 1]),
    "resize.min_side": (800, 800, 800),
    "resize.max_side": (1333, 1333, 1333),
    "resize.rounding": ("half_up", "floor", "half_up"),
    "resize.interpolation": ("pillow", "bilinear", "pillow"),
    "resize.size_divisor": (32, 32, 32),
    "backbone.name": ("resnet50",) * 3,
    "backbone.stride_in": ("first_1x1", "3x3", "first_1x1"),
    "backbone.norm": ("frozen_batch_norm",) * 3,
    "backbone.freeze_at": (2, 2, 2),
    "pyramid.channels": (256, 256, 256),
    "pyramid.levels": (["P2", "P3", "P4", "P5", "P6"],) * 3,
    "pyramid.norm": (None, None, None),
    "anchors.sizes": ({"P2": [32], "P3": [64], "P4": [128], "P5": [256], "P6": [512]},) * 3,
    "anchors.ratios": ([0.5, 1, 2],) * 3,
    "anchors.rounding": ("none", "torchvision", "detectron"),
    "anchors.offset": (0, 0, 0),
    "anchors.stride_source": ("nominal", "floor", "nominal"),
    "anchors.order": ("size_major", "ratio_major", "size_major"),
    "rpn.channels": (256, 256, 256),
    "rpn.conv_layers": (1, 1, 1),
    "proposals.pre_nms_top_k_train": (2000, 2000, 2000),
    "proposals.pre_nms_top_k_test": (1000, 1000, 1000),
    "proposals.post_nms_top_k_train": (1000, 2000, 2000),
    "proposals.post_nms_top_k_test": (1000, 1000, 1000),
    "proposals.nms_threshold": (0.7, 0.7, 0.7),
    "proposals.score_threshold": (0, 0, 0),
    "proposals.box_weights": ([1, 1, 1, 1],) * 3,
    "anchor_targets.positive_iou": (0.7, 0.7, 0.7),
    "anchor_targets.negative_iou": (0.3, 0.3, 0.3),
    "anchor_targets.low_quality_matches": (True, True, True),
    "anchor_targets.samples_per_image": (256, 256, 256),
    "anchor_targets.positive_fraction": (0.5, 0.5, 0.5),
    "roi_targets.positive_iou": (0.5, 0.5, 0.5),
    "roi_targets.samples_per_image": (512, 512, 512),
    "roi_targets.positive_fraction": (0.25, 0.25, 0.25),
    "roi_targets.add_ground_truth": (True, True, True),
    "roi_pooling.method": ("align", "align", "max"),
    "roi_pooling.output_size": (7, 7, 7),
    "roi_pooling.levels": (["P2", "P3", "P4", "P5"],) * 3,
    "roi_pooling.canonical_size": (224, 224, 224),
    "roi_pooling.canonical_level": (4, 4, 4),
    "box_head.units": (1024, 1024, 1024),
    "box_head.initializer": ("xavier", "torch_linear", "xavier"),
    "box_head.conv_layers": (0, 0, 0),
    "box_head.fc_layers": (2, 2, 2),
    "box_head.background_logits": (1, 1, 1),
    "box_head.background_boxes": (0, 0, 0),
    "box_head.class_agnostic_boxes": (False, False, False),  # detectron2: CLS_AGNOSTIC_BBOX_REG
    "cascade.positive_ious": ([0.6, 0.7],) * 3,  # detectron2: IOUS and BBOX_REG_WEIGHTS of ROI_BOX_CASCADE_HEAD
    "cascade.box_weights": ([[20, 20, 10, 10], [30, 30, 15, 15]],) * 3,
    "rpn_losses.box_beta": (0, 1 / 9, 1 / 9),
    "roi_losses.box_beta": (0, 1 / 9, 1),
    "rpn_losses.normalizer": ("samples_per_image", "sampled", "sampled_per_image"),
    "segments.units": (512, 512, 512),  # the paper, appendix A, in every profile: no other library has the model
    "segments.mask_size": (14, 14, 14),
    "segments.kernel_sizes": ([5, 7],) * 3,
    "segments.canonical_size": (32, 32, 32),
    "segments.samples_per_image": (128, 128, 128),
    "segments.positive_fraction": (0.25, 0.25, 0.25),
    "segments.mask_loss_weight": (10, 10, 10),
    "segments.max_detections": (1000, 1000, 1000),
    # Mask R-CNN's authors have it in Detectron, and detectron2 as that.
    "keypoint_head.pooling_size": (14, 14, 14),
    "keypoint_head.conv_layers": (8, 8, 8),
    "keypoint_head.channels": (512, 512, 512),
    "keypoint_losses.normalizer": ("visible",) * 3,
    "keypoint_losses.weight": (1, 1, 1),
    "keypoint_places.offset": (0.5, 0, 0.5),
    "keypoint_places.score": ("probability", "logit", "probability"),
    "keypoint_places.least_pixels": (1, 1, 1),
    "detections.score_threshold": (0.05, 0.05, 0.05),
    "detections.nms_threshold": (0.5, 0.5, 0.5),
    "detections.max_detections": (100, 100, 100),
    "detections.suppression": ("per_class",) * 3,
    "detections.box_weights": ([10, 10, 5, 5],) * 3,
}
ALIGN = {"roi_pooling.sampling_ratio": (0, 2), "roi_pooling.aligned": (True, False)}
NAMES = ("detectron2", "torchvision", "paper")


def setting(profile, key):
    group, name = key.split(".")
    architecture = next(each.name for each in ARCHITECTURES if group in each.groups)
    return resolve(architecture, profile)[group][name]


@pytest.mark.parametrize("key", TABLE)
def test_profiles_equal_the_table(key):
    assert tuple(setting(profile, key) for profile in NAMES) == TABLE[key]


@pytest.mark.parametrize("key", ALIGN)
def test_roi_align_conventions(key):
    assert tuple(setting(profile, key) for profile in NAMES[:2]) == ALIGN[key]


def test_smallest_boxes_and_norm_epsilon():
    # torchvision builds with 1e-5 and sets 0 after loading its COCO_V1 files alone (overwrite_eps), which convert does.
    assert setting("torchvision", "backbone.norm_epsilon") == setting("paper", "backbone.norm_epsilon") == 1e-5
    # detectron2 drops empty boxes only; torchvision below 1e-3 px for proposals and 1e-2 px for detections.
    assert setting("detectron2", "proposals.min_size") == setting("detectron2", "detections.min_size") == 0
    assert setting("torchvision", "proposals.min_size") == 1e-3
    assert setting("torchvision", "detections.min_size") == 1e-2
    assert setting("detectron2", "backbone.norm_epsilon") == 1e-5


def test_overrides_leave_the_profile_alone():
    settings = resolve("faster_rcnn", "torchvision", {"rpn": {"channels": 64}, "rpn_losses": None})
    assert settings["rpn"] == {"channels": 64, "conv_layers": 1}
    settings["anchors"]["sizes"]["P2"].append(40)
    settings["pixels"]["mean"].append(3)
    again = resolve("faster_rcnn", "torchvision")
    assert again["rpn"]["channels"] == 256
    assert again["anchors"]["sizes"]["P2"] == [32]
    assert len(again["pixels"]["mean"]) == 3


@pytest.mark.parametrize(
    ("profile", "overrides", "named"),
    [
        ("detectron", {}, "detectron2"),
        ("paper", {"anchor": {}}, "anchors"),
        ("paper", {"rpn": {"chanels": 1}}, "channels"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(profile, overrides, named):
    with pytest.raises(UserError, match=f"mean '{named}'") as failure:
        resolve("faster_rcnn", profile, overrides)
    assert "\n" not in str(failure.value)


def test_a_group_that_is_no_dict_is_told_in_one_line():
    with pytest.raises(UserError, match="proposals: expected keys below it, found 5"):
        resolve("faster_rcnn", "paper", {"proposals": 5})
