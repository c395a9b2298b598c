"""Names in torchvision's and detectron2's files of the layers of a ResNet; see `parts.checkpoint_names`."""

STAGES = (2, 3, 4, 5)


def _torchvision(prefix):
    table = {"stem_conv": f"{prefix}conv1", "stem_norm": f"{prefix}bn1"}
    for stage in STAGES:
        ours, theirs = rf"res{stage}_(\d+)", rf"{prefix}layer{stage - 1}.\1"  # res2 is layer1
        table |= {
            rf"{ours}_conv(\d)": rf"{theirs}.conv\2",
            rf"{ours}_norm(\d)": rf"{theirs}.bn\2",
            rf"{ours}_shortcut_conv": rf"{theirs}.downsample.0",
            rf"{ours}_shortcut_norm": rf"{theirs}.downsample.1",
        }
    return table


def detectron2_blocks(prefix: str) -> dict[str, str]:
    """The table of detectron2's names of stages under a prefix."""
    return {
        r"res(\d)_(\d+)_conv(\d)": rf"{prefix}res\1.\2.conv\3",
        r"res(\d)_(\d+)_norm(\d)": rf"{prefix}res\1.\2.conv\3.norm",
        r"res(\d)_(\d+)_shortcut_conv": rf"{prefix}res\1.\2.shortcut",
        r"res(\d)_(\d+)_shortcut_norm": rf"{prefix}res\1.\2.shortcut.norm",
    }


def _detectron2(backbone, model):
    """Of a detector without a pyramid the network is the whole of what is called backbone there."""
    pyramid = getattr(model, "pyramid", None)
    prefix = "backbone.bottom_up." if pyramid is None or pyramid.weights else "backbone."
    stem = {"stem_conv": f"{prefix}stem.conv1", "stem_norm": f"{prefix}stem.conv1.norm"}
    return stem | detectron2_blocks(prefix)


CHECKPOINT_NAMES = {
    "torchvision": _torchvision("backbone.body."),
    "torchvision classifier": _torchvision(""),
    "detectron2": _detectron2,
}
