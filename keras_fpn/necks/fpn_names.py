"""Names in torchvision's and detectron2's files of the layers of the FPN; see `parts.checkpoint_names`."""

import re


def _torchvision(pyramid, model):
    """torchvision counts its blocks from the finest level that there is."""
    table = {}
    for ours, theirs in (("lateral_C", "inner_blocks"), ("output_P", "layer_blocks")):
        names = sorted(layer.name for layer in pyramid.layers if re.fullmatch(rf"{ours}\d", layer.name))
        for index, name in enumerate(names):
            block = f"backbone.fpn.{theirs}.{index}"
            table |= {name: f"{block}.0", f"{name}_norm": f"{block}.1"}
    return table


CHECKPOINT_NAMES = {
    "torchvision": _torchvision,
    "detectron2": {
        r"(lateral|output)_[CP](\d)": r"backbone.fpn_\1\2",
        r"(lateral|output)_[CP](\d)_norm": r"backbone.fpn_\1\2.norm",
    },
}
