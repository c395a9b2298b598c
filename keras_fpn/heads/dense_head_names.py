"""Names in torchvision's and detectron2's files of the layers of a dense head; see `parts.checkpoint_names`."""

TORCHVISION_CLASSES, TORCHVISION_BOXES = "head.classification_head", "head.regression_head"
TORCHVISION_SCORES, TORCHVISION_DELTAS = f"{TORCHVISION_CLASSES}.cls_logits", f"{TORCHVISION_BOXES}.bbox_reg"
DETECTRON2_SCORES, DETECTRON2_DELTAS = "head.cls_score", "head.bbox_pred"
# In the file that torchvision published first a ReLU stands between two convolutions, which has a number, too.
OLDER_NAMES = tuple(
    (rf"^head\.(classification|regression)_head\.conv\.{2 * index}\.(weight|bias)$", rf"head.\1_head.conv.{index}.0.\2")
    for index in range(10)
)


def _detectron2(head, model):
    """A sequence there: the convolutions, a normalisation behind each where there is one, and a ReLU."""
    step, names = 3 if head.norm else 2, {}
    for tower, theirs in (("class", "head.cls_subnet"), ("box", "head.bbox_subnet")):
        for index in range(head.conv_layers):
            names[f"{tower}_conv_{index}"] = f"{theirs}.{step * index}"
            names[f"{tower}_norm_{index}"] = f"{theirs}.{step * index + 1}"
    return names | {"class_logits": DETECTRON2_SCORES, "box_deltas": DETECTRON2_DELTAS}


CHECKPOINT_NAMES = {
    "torchvision": {
        r"class_conv_(\d+)": rf"{TORCHVISION_CLASSES}.conv.\1.0",
        r"class_norm_(\d+)": rf"{TORCHVISION_CLASSES}.conv.\1.1",
        r"box_conv_(\d+)": rf"{TORCHVISION_BOXES}.conv.\1.0",
        r"box_norm_(\d+)": rf"{TORCHVISION_BOXES}.conv.\1.1",
        "class_logits": TORCHVISION_SCORES,
        "box_deltas": TORCHVISION_DELTAS,
    },
    "detectron2": _detectron2,
}
