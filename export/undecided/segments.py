"""Which segments may be proposed."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_fpn.export.undecided.states import Possible, cut


def of_stage(
    stage: Any, features: dict[str, tf.Tensor], state: dict[str, Any], possible: dict[str, Possible], room: float
) -> dict[str, Possible]:
    """The rule of a stage that takes the best of all positions: "detections", windows with their probabilities."""
    layout, logits = stage.lay_out(features), stage.segment_head(features)
    logits = tf.cast(tf.concat([logits[level][0] for level in features], axis=0), tf.float32).numpy()
    height, width = state["inputs"]["image_sizes"][0].numpy()
    inside = np.flatnonzero((layout.centres.numpy() < [width, height]).all(-1))
    rows, states = cut(logits[inside], stage.settings["max_detections"], room)
    rows = inside[rows]
    scores = tf.sigmoid(logits[rows]).numpy()
    return {"detections": Possible.of(layout.windows.numpy()[rows], scores, states)}
