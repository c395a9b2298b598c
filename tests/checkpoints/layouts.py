"""Layouts of published files: of torchvision 0.29 and detectron2 (golden/make_state_dicts.py)."""

WIDTHS = {64, 128, 256, 512, 1024, 2048, 256 * 49}  # of which narrow files have an eighth
UNUSED_IDS = [12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
SCORES, BOXES = "roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"


def unfolded(stored):
    """The tensors of a module: `[tensor, shape]` each, or of a batch normalisation the channels, or `[channels]`."""
    if isinstance(stored, list) and not isinstance(stored[0], int):
        return stored
    channels = stored if isinstance(stored, int) else stored[0]
    counter = [] if isinstance(stored, int) else [("num_batches_tracked", [])]
    return [(name, [channels]) for name in ("weight", "bias", "running_mean", "running_var")] + counter


def without_counters(tensors):
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
