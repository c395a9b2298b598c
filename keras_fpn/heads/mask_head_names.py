"""Names in torchvision's and detectron2's files of the layers of the mask head; see `parts.checkpoint_names`."""

MASK_HEAD = "roi_heads.mask_head"
DETECTRON2_LOGITS = f"{MASK_HEAD}.predictor"
# What the tensors are called in the file that torchvision published first, and what today, see `PublishedKind`.
OLDER_NAMES = tuple(
    (rf"^roi_heads\.mask_head\.mask_fcn{number}\.(weight|bias)$", rf"{MASK_HEAD}.{number - 1}.0.\1")
    for number in range(1, 10)
)


def _detectron2(head, model):
    convolutions = {}
    for index in range(head.conv_layers):  # counted from 1 there
        name = f"{MASK_HEAD}.mask_fcn{index + 1}"
        convolutions |= {f"conv_{index}": name, f"norm_{index}": f"{name}.norm"}
    return convolutions | {"deconv": f"{MASK_HEAD}.deconv", "mask_logits": DETECTRON2_LOGITS}


# torch's kernels of transposed convolutions are (in, out, height, width), Keras' (height, width, out, in): the axes
# move as those of a convolution do, and nothing is flipped.
CHECKPOINT_NAMES = {
    "torchvision": {
        r"conv_(\d+)": rf"{MASK_HEAD}.\1.0",
        r"norm_(\d+)": rf"{MASK_HEAD}.\1.1",
        "deconv": "roi_heads.mask_predictor.conv5_mask",
        "mask_logits": "roi_heads.mask_predictor.mask_fcn_logits",
    },
    "detectron2": _detectron2,
}
