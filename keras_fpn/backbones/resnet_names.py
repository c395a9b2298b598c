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


CHECKPOINT_NAMES = {
    "torchvision": _torchvision("backbone.body."),
    "torchvision classifier": _torchvision(""),
    "detectron2": {
        "stem_conv": "backbone.bottom_up.stem.conv1",
        "stem_norm": "backbone.bottom_up.stem.conv1.norm",
        r"res(\d)_(\d+)_conv(\d)": r"backbone.bottom_up.res\1.\2.conv\3",
        r"res(\d)_(\d+)_norm(\d)": r"backbone.bottom_up.res\1.\2.conv\3.norm",
        r"res(\d)_(\d+)_shortcut_conv": r"backbone.bottom_up.res\1.\2.shortcut",
        r"res(\d)_(\d+)_shortcut_norm": r"backbone.bottom_up.res\1.\2.shortcut.norm",
    },
}
