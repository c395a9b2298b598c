"""Names in torchvision's and detectron2's files of the layers of the mask head; see `parts.checkpoint_names`."""

MASK_HEAD, TORCHVISION_LOGITS = "roi_heads.mask_head", "roi_heads.mask_predictor.mask_fcn_logits"
DETECTRON2_LOGITS = f"{MASK_HEAD}.predictor"


def _detectron2(head, model):
    convolutions = {}
    for index in range(head.conv_layers):  # counted from 1 there
        name = f"{MASK_HEAD}.mask_fcn{index + 1}"
        convolutions |= {f"conv_{index}": name, f"norm_{index}": f"{name}.norm"}
    return convolutions | {"deconv": f"{MASK_HEAD}.deconv", "mask_logits": DETECTRON2_LOGITS}


# torch's kernels of transposed convolutions are (in, out, height, width), Keras' (height, width, out, in): the axes move
# as those of a convolution do, and nothing is flipped.
CHECKPOINT_NAMES = {
    "torchvision": {
        r"conv_(\d+)": rf"{MASK_HEAD}.\1.0",
        r"norm_(\d+)": rf"{MASK_HEAD}.\1.1",
        "deconv": "roi_heads.mask_predictor.conv5_mask",
        "mask_logits": TORCHVISION_LOGITS,
    },
    "detectron2": _detectron2,
}
