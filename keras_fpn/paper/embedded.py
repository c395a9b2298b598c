"""How every row of the paper is brought to the embedded data set: the same way for all of them.

A row's configuration for COCO stays what it is, with its pyramid, its levels, its heads and its counts of proposals;
what is written here is laid over it, whichever row it is, wherever its parts read it. Nothing here may speak of one
row.
"""

from typing import Any

from keras_fpn.config.loading import load_config

NUM_TRAIN, NUM_VAL, SIZE = 1000, 200, 256  # images, images, pixels

# Objects measure 8 to 160 px where those of COCO at 800 px measure some 10 to 700: the pictures are shown half as large
# again, 12 to 240 px, and what the paper gives in pixels is three quarters as large: anchors of 24 to 384 px.
SIDE, SCALE = 384, 0.75

# Steps here for the paper's: of an RPN alone and of all else.
STEPS = {"rpn": (1200, 40_000), "other": (1200, 80_000)}

# The paper's two depths, on two cores.
BACKBONES = {"resnet50": "resnet18", "resnet101": "resnet34"}

OVERLAY = {
    "model.resize.min_side": SIDE,
    "model.resize.max_side": SIDE,
    # From random weights nothing is frozen, and normalisation must learn its statistics.
    "model.backbone.width": 8,
    "model.backbone.norm": "batch_norm",
    "model.backbone.freeze_at": 0,
    "model.backbone.weights": None,
    "model.pyramid.channels": 32,
    "model.anchors.rounding": "none",
    "model.rpn.channels": 32,
    "model.roi_targets.samples_per_image": 128,
    "model.roi_pooling.canonical_size": 224.0 * SCALE,
    "model.box_head.units": 256,
    "model.segments.canonical_size": 32.0 * SCALE,
    "model.segments.units": 128,
    "data.batch_size": 4,
    "data.evaluation_batch_size": 8,
    "data.min_sides": [SIDE],
    "data.canvas": [SIDE, SIDE],
    "data.group_by_aspect_ratio": False,
    "data.cache": True,
    "data.invalid_boxes": "refuse",  # they have none
    "training.steps_per_epoch": 100,
    "training.learning_rate": 0.02,
    "training.clip_norm": 10.0,
    "training.warmup_steps": 30,
    "training.warmup_factor": 0.01,
    "training.evaluate_every": 0,
    "training.weights": None,
}


def overrides(config_name: str) -> dict[str, Any]:
    """`{dotted key: value}` that brings a shipped configuration of the paper to the embedded data set."""
    config = load_config(config_name)
    kind = "rpn" if config.model.architecture == "rpn" else "other"
    rpn_steps = config.four_step.rpn_steps
    tree = config.model_dump()
    return {key: value for key, value in OVERLAY.items() if _is_read(tree, key)} | {
        "model.backbone.name": BACKBONES[config.model.backbone.name],
        **_anchor_sizes(config.model.groups()),
        "training.steps": _steps(config.training.steps, kind),
        "four_step.rpn_steps": rpn_steps and _steps(rpn_steps, "rpn"),
    }


def _is_read(tree, key):
    """Whether a configuration has a setting, by its dotted key."""
    for part in key.split("."):
        if part not in tree:
            return False
        tree = tree[part]
    return True


def _anchor_sizes(groups):
    sizes = groups.get("anchors", {}).get("sizes", {})
    sizes = {level: [SCALE * size for size in sizes[level]] for level in groups["pyramid"]["levels"] if level in sizes}
    return {"model.anchors.sizes": sizes} if sizes else {}


def _steps(steps, kind):
    here, paper = STEPS[kind]
    return round(steps * here / paper)
