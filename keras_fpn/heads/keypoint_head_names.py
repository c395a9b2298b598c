"""Names in torchvision's and detectron2's files of the layers of the keypoint head; see `parts.checkpoint_names`."""

KEYPOINT_HEAD = "roi_heads.keypoint_head"
TORCHVISION_SCORES = "roi_heads.keypoint_predictor.kps_score_lowres"
DETECTRON2_SCORES = f"{KEYPOINT_HEAD}.score_lowres"


def _torchvision(head, model):
    # One sequence, a ReLU behind each convolution.
    convolutions = {f"conv_{index}": f"{KEYPOINT_HEAD}.{2 * index}" for index in range(head.conv_layers)}
    return convolutions | {"score_lowres": TORCHVISION_SCORES}


def _detectron2(head, model):
    # Counted from 1 there.
    convolutions = {f"conv_{index}": f"{KEYPOINT_HEAD}.conv_fcn{index + 1}" for index in range(head.conv_layers)}
    return convolutions | {"score_lowres": DETECTRON2_SCORES}


# torch's kernels of transposed convolutions are (in, out, height, width), Keras' (height, width, out, in): the axes
# move as those of a convolution do, and nothing is flipped.
CHECKPOINT_NAMES = {"torchvision": _torchvision, "detectron2": _detectron2}
