"""The conventions in which FPN implementations differ, named and tabled.

`detectron2` and `torchvision` follow those libraries' ResNet-50-FPN Faster R-CNN; `paper` follows Lin et al.
(CVPR 2017) and, where the paper is silent, its authors' own release (Detectron). A profile is a complete set of
settings; a model or a config states only its differences from one.

Each group is the keyword arguments of one stage:

| group            | stage                                                        |
|------------------|--------------------------------------------------------------|
| `pixels`         | `PixelNormalization`: channel order, mean, std (0..255)       |
| `resize`         | image size rule, used wherever image files are read           |
| `backbone`       | `build_backbone`: image -> C2..C5                             |
| `pyramid`        | `build_pyramid`: C2..C5 -> P2..P6                             |
| `anchors`        | `AnchorGenerator`                                             |
| `rpn`            | `RPNHead`                                                     |
| `proposals`      | `ProposalLayer`                                               |
| `anchor_targets` | labels and samples for the RPN                                |
| `roi_targets`    | labels and samples for the box head                           |
| `roi_pooling`    | `RoIAlign` (`method: align`) or `RoIPool` (`method: max`)      |
| `box_head`       | `BoxHead` (`name: fc`) or `Conv5Head` (`name: conv5`)          |
| `losses`         | smooth-L1 betas and the RPN normaliser                        |
| `detections`     | `DetectionLayer`                                              |
| `segments`       | `SegmentGrid`, `SegmentHead`, and their targets and losses     |
"""

import copy
from collections.abc import Mapping

from keras_fpn.errors import UserError
from keras_fpn.naming import nearest

DETECTRON2 = {
    "pixels": {"channel_order": "BGR", "mean": [103.53, 116.28, 123.675], "std": [1.0, 1.0, 1.0]},
    "resize": {
        "min_side": 800,
        "max_side": 1333,
        "rounding": "half_up",
        "interpolation": "pillow",
        "size_divisor": 32,
    },
    "backbone": {
        "name": "resnet50",
        "stride_in": "first_1x1",
        "norm": "frozen_batch_norm",
        "norm_epsilon": 1e-5,
        "freeze_at": 2,
        "width": 64,
        "weights": None,
    },
    "pyramid": {
        "name": "fpn",
        "channels": 256,
        "levels": ["P2", "P3", "P4", "P5", "P6"],
        "norm": None,
        "norm_epsilon": 1e-5,
    },
    "anchors": {
        "sizes": {"P2": [32.0], "P3": [64.0], "P4": [128.0], "P5": [256.0], "P6": [512.0]},
        "ratios": [0.5, 1.0, 2.0],
        "rounding": "none",
        "offset": 0.0,
        "stride_source": "nominal",
        "order": "size_major",
    },
    "rpn": {"channels": 256, "conv_layers": 1},
    "proposals": {
        "pre_nms_top_k_train": 2000,
        "pre_nms_top_k_test": 1000,
        "post_nms_top_k_train": 1000,
        "post_nms_top_k_test": 1000,
        "nms_threshold": 0.7,
        "score_threshold": 0.0,
        "min_size": 0.0,
        "box_weights": [1.0, 1.0, 1.0, 1.0],
    },
    "anchor_targets": {
        "positive_iou": 0.7,
        "negative_iou": 0.3,
        "low_quality_matches": True,
        "samples_per_image": 256,
        "positive_fraction": 0.5,
        "crowd_ioa": 0.7,
    },
    "roi_targets": {
        "positive_iou": 0.5,
        "samples_per_image": 512,
        "positive_fraction": 0.25,
        "add_ground_truth": True,
        "crowd_ioa": 0.7,
    },
    "roi_pooling": {
        "method": "align",
        "output_size": 7,
        "sampling_ratio": 0,
        "aligned": True,
        "levels": ["P2", "P3", "P4", "P5"],
        "canonical_size": 224.0,
        "canonical_level": 4,
        "implementation": "crop_and_resize",
    },
    "box_head": {
        "name": "fc",
        "units": 1024,
        "initializer": "xavier",
        "conv_layers": 0,
        "conv_channels": 256,
        "fc_layers": 2,
        "norm": None,
        "norm_epsilon": 1e-5,
        "background_logits": 1,
        "background_boxes": 0,
    },
    "losses": {"rpn_box_beta": 0.0, "roi_box_beta": 0.0, "rpn_normalizer": "samples_per_image"},
    "detections": {
        "score_threshold": 0.05,
        "nms_threshold": 0.5,
        "max_detections": 100,
        "min_size": 0.0,
        "box_weights": [10.0, 10.0, 5.0, 5.0],
    },
    "segments": {
        "units": 512,
        "mask_size": 14,
        "kernel_sizes": [5, 7],
        "canonical_size": 32.0,
        "samples_per_image": 128,
        "positive_fraction": 0.25,
        "crowd_ioa": 0.7,
        "mask_loss_weight": 10.0,
        "max_detections": 1000,
    },
}


def _differing(base, differences):
    settings = copy.deepcopy(base)
    for group, values in differences.items():
        settings[group].update(values)
    return settings


TORCHVISION = _differing(
    DETECTRON2,
    {
        # ImageNet statistics of torchvision, times 255: our pixels are 0..255.
        "pixels": {"channel_order": "RGB", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
        "resize": {"rounding": "floor", "interpolation": "bilinear"},
        # The COCO_V1 weights were made with an epsilon of 0.
        "backbone": {"stride_in": "3x3", "norm_epsilon": 0.0},
        "anchors": {"rounding": "torchvision", "stride_source": "floor", "order": "ratio_major"},
        "proposals": {"post_nms_top_k_train": 2000, "min_size": 1e-3},
        "roi_pooling": {"aligned": False, "sampling_ratio": 2},
        "box_head": {"initializer": "torch_linear"},
        "losses": {"rpn_box_beta": 1 / 9, "roi_box_beta": 1 / 9, "rpn_normalizer": "sampled"},
        "detections": {"min_size": 1e-2},
    },
)

PAPER = _differing(
    DETECTRON2,
    {
        "pixels": {"mean": [102.9801, 115.9465, 122.7717]},
        "anchors": {"rounding": "detectron"},
        "proposals": {"post_nms_top_k_train": 2000},
        "roi_pooling": {"method": "max"},
        "losses": {"rpn_box_beta": 1 / 9, "roi_box_beta": 1.0, "rpn_normalizer": "sampled_per_image"},
    },
)

PROFILES = {"detectron2": DETECTRON2, "torchvision": TORCHVISION, "paper": PAPER}


def resolve(profile, overrides=None):
    """Return the complete settings of `profile` with `overrides` on top.

    Args:
        profile: "detectron2", "torchvision" or "paper".
        overrides: `{group: {key: value} or None}`; a group names only what differs.

    Returns:
        A new nested dict, one entry for each group of the table above.

    Raises:
        UserError: for an unknown profile, group or key; the nearest valid name is in the message.
    """
    if profile not in PROFILES:
        raise UserError(f"profile: unknown value {profile!r}{nearest(profile, PROFILES)}")
    settings = copy.deepcopy(PROFILES[profile])
    for group, values in (overrides or {}).items():
        if group not in settings:
            raise UserError(f"{group}: unknown group of settings{nearest(group, settings)}")
        if values is not None and not isinstance(values, Mapping):
            raise UserError(f"{group}: {values!r} is no dict of settings; valid are {', '.join(settings[group])}")
        for key, value in (values or {}).items():
            if key not in settings[group]:
                raise UserError(f"{group}.{key}: unknown setting{nearest(key, settings[group])}")
            settings[group][key] = copy.deepcopy(value)
    return settings
