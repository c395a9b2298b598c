"""Names in torchvision's and detectron2's files of the layers of the box head; see `parts.checkpoint_names`."""

from keras_fpn.parts.checkpoint_names import Named, flattened

# The same at both sources.
CLASS_SCORES, BOXES = "roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"


def _torchvision(head, model):
    names = ["fc6", "fc7"]
    if head.conv_layers or head.fc_layers == 1:
        # One sequence: the convolutions, a flattening, and linear layers with a ReLU behind each.
        names = [str(head.conv_layers + 1 + 2 * index) for index in range(head.fc_layers)]
    return _linear(head, model, names) | {
        r"conv_(\d+)": r"roi_heads.box_head.\1.0",
        r"norm_(\d+)": r"roi_heads.box_head.\1.1",
    }


def _detectron2(head, model):
    names = [f"fc{index + 1}" for index in range(head.fc_layers)]
    convolutions = {}
    for index in range(head.conv_layers):  # counted from 1 there
        name = f"roi_heads.box_head.conv{index + 1}"
        convolutions |= {f"conv_{index}": name, f"norm_{index}": f"{name}.norm"}
    return _linear(head, model, names) | convolutions


def _linear(head, model, names):
    """The fully connected layers; the first reads the map that the layers before it leave of a crop."""
    first = flattened(model.settings["roi_pooling"]["output_size"])
    return {f"fc{index + 1}": f"roi_heads.box_head.{name}" for index, name in enumerate(names)} | {
        "fc1": Named(f"roi_heads.box_head.{names[0]}", kernel=first),
        "class_logits": CLASS_SCORES,
        "box_deltas": BOXES,
    }


CHECKPOINT_NAMES = {"torchvision": _torchvision, "detectron2": _detectron2}
