"""The Keras side of what masks learn from polygons: rasterised by both sides, and the reference's taken for the loss.

detectron2 cuts polygons in float64, this package in float32: where an outline passes a cell's corner by the last digit,
a cell of some hundred thousand falls on the other side, and moves the loss by more than its bound.
"""

import contextlib

import numpy as np
import recording
import tensorflow as tf


@contextlib.contextmanager
def repeated(comparison, step, model, count):
    """Let a model learn from the reference's masks where they were kept, and note the share of cells that differ.

    Args:
        count: of images.
    """
    kept = comparison.kept
    if f"{step}/mask_targets/0" not in kept:
        yield
        return
    (stage,) = (stage for stage in model.stages if stage.name == "mask")
    theirs = [recording.values(kept, f"{step}/mask_targets/{image}") for image in range(count)]
    rasterise = stage.truth

    def truth(*arguments):
        ours = rasterise(*arguments).numpy()
        given = np.zeros_like(ours)
        for image, masks in enumerate(theirs):
            given[image, : len(masks)] = masks
        cells = sum(masks.size for masks in theirs)
        comparison.note("mask cells", f"{step}/mask_targets", float(np.abs(ours - given).sum() / cells))
        return tf.constant(given)

    stage.truth = truth
    try:
        yield
    finally:
        del stage.truth
