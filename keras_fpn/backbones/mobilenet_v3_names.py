"""Names in torchvision's files of the layers of MobileNetV3-Large; see `parts.checkpoint_names`."""

STEPS = ("expand", "depthwise", "squeeze", "project")  # of a block, in their order
BLOCKS, LAST = range(1, 16), 16


def _torchvision(prefix):
    def table(backbone, model):
        """torchvision numbers the steps of each block, and not every block has all of them."""
        own, names = {layer.name for layer in backbone.layers}, {}
        for ours, theirs in (("stem", 0), ("last", LAST)):
            names |= {f"{ours}_conv": f"{prefix}{theirs}.0", f"{ours}_norm": f"{prefix}{theirs}.1"}
        for block in BLOCKS:
            steps = [step for step in STEPS if {f"block{block}_{step}_conv", f"block{block}_{step}_fc1"} & own]
            for index, step in enumerate(steps):
                ours, theirs = f"block{block}_{step}", f"{prefix}{block}.block.{index}"
                names |= {f"{ours}_conv": f"{theirs}.0", f"{ours}_norm": f"{theirs}.1"}
                names |= {f"{ours}_fc1": f"{theirs}.fc1", f"{ours}_fc2": f"{theirs}.fc2"}
        return names

    return table


CHECKPOINT_NAMES = {
    "torchvision": _torchvision("backbone.body."),
    "torchvision classifier": _torchvision("features."),
}
