"""Proposals that come with the images (Fast R-CNN; paper, section 5.2.1). B images, P proposals."""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from keras_fpn.data.batches import check_proposals
from keras_fpn.stages.stage import Stage, State, Tensors


class GivenProposalsStage(Stage):
    """Takes `{"proposals": [B, P, 4] pixels of the images, "num_proposals": [B] int32}` from the inputs."""

    name = "given_proposals"
    gives = ("proposals",)
    further_inputs = {
        "proposals": tf.TensorSpec([None, None, 4], tf.float32, name="proposals"),
        "num_proposals": tf.TensorSpec([None], tf.int32, name="num_proposals"),
    }

    def infer(self, features: Tensors, state: State) -> dict[str, Any]:
        inputs = state["inputs"]
        check_proposals(inputs)
        boxes, count = tf.cast(inputs["proposals"], tf.float32), tf.cast(inputs["num_proposals"], tf.int32)
        return {"proposals": {"boxes": boxes, "num_proposals": count}}

    def demands(self, inputs: Tensors) -> list[tuple[tf.Tensor, str]]:
        boxes, numbers, batch = inputs["proposals"], inputs["num_proposals"], tf.shape(inputs["images"])[0]
        return [
            (
                (tf.shape(boxes)[0] == batch) & (tf.shape(numbers)[0] == batch),
                "proposals, num_proposals: give boxes and their number for each of the images",
            ),
            (
                tf.reduce_all((numbers >= 0) & (numbers <= tf.shape(boxes)[1])),
                "num_proposals: from 0 to the rows of proposals",
            ),
            (tf.reduce_all(tf.math.is_finite(boxes)), "proposals: hold NaN or infinite coordinates"),
        ]

    def timed_steps(
        self, features: Tensors, state: State
    ) -> Iterator[tuple[str, tuple[Callable, Any]]]:
        return iter(())
