"""Record of a detector without proposals: what its head says of every anchor, or point, of every level (torch side)."""

LEVELS = ("P3", "P4", "P5", "P6", "P7")


def keep(recording, batch, outputs, anchors):
    """Record a batch.

    Args:
        outputs: `{name: [[B, A_l, n] of a level]}`, in the order y, x, anchor.
        anchors: `[[A_l, 4]]` of the levels.
    """
    for name, levels in outputs.items():
        for level, tensor in zip(LEVELS, levels, strict=True):
            recording.keep_slice(f"{batch}/dense/{name}/{level}", tensor.numpy())
    for level, boxes in zip(LEVELS, anchors, strict=True):
        recording.keep_anchors(batch, level, boxes)
