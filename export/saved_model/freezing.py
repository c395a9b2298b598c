"""The detector as one function without variables: what all signatures of a SavedModel call.

Constants instead of variables let TensorFlow fold normalisations into convolutions (a quarter less time on a CPU), load
without any Python, and are written once, however many functions call this one.
"""

import collections
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from keras_fpn.console.errors import UserError
from keras_fpn.export.adapters import adapted
from keras_fpn.export.saved_model.bfloat16 import fold_casts

if TYPE_CHECKING:
    from keras_fpn.models.detector import Detector

# A graph is one protobuf message, of 2 GiB at most; the operations take some of it.
MAX_WEIGHT_BYTES = 2**31 - 2**25


def frozen_inference(
    model: "Detector", signatures: Sequence[str] = (), precision: str = "float32"
) -> Callable[[dict[str, tf.Tensor]], dict[str, dict[str, tf.Tensor]]]:
    """The model's inference with its weights as constants.

    Args:
        model: a `Detector`.
        signatures: names of what the function gives besides the detections, see `Stage.signatures`.
        precision: "float32", the model as it is, or "bfloat16".

    Returns:
        `function({"images": [B, H, W, 3] float32, "image_sizes": [B, 2] int32, ...}) -> {group: {name: tensor}}` of
        the model's `input_specs`, with the groups "detections" and each of `signatures`.

    Raises:
        UserError: the weights do not fit into one graph, or a part of the model does not go into a SavedModel.
    """
    _check_size(model)
    model = adapted(model, "saved_model", "mixed_bfloat16" if precision == "bfloat16" else None)
    specs = model.input_specs()

    @tf.function(input_signature=list(specs.values()), autograph=False)
    def inference(*inputs):
        outputs = _outputs(model, dict(zip(specs, inputs, strict=True)), signatures)
        return {f"{group}/{name}": value for group, found in outputs.items() for name, value in found.items()}

    traced = inference.get_concrete_function()
    with quiet():
        # Loops as they are: lowered ones become operations that other readers of the file do not know.
        frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)
        if precision == "bfloat16":
            frozen = fold_casts(frozen)
    names = sorted(traced.structured_outputs)  # a frozen function gives a list, in this order

    def call(inputs):
        outputs = collections.defaultdict(dict)
        for key, value in zip(names, tf.nest.flatten(frozen(*(inputs[name] for name in specs))), strict=True):
            group, name = key.split("/")
            outputs[group][name] = value
        return outputs

    return call


def _outputs(model, inputs, signatures):
    if not signatures:
        return {"detections": model(inputs, training=False)}
    outputs = {}
    for stage, features, state in model.steps(inputs):
        further = stage.signatures()
        outputs |= {name: further[name](features, state) for name in signatures if name in further}
    return outputs | {"detections": state["detections"]}


def _check_size(model):
    size = sum(int(np.prod(weight.shape)) * 4 for weight in model.weights)
    if size > MAX_WEIGHT_BYTES:
        raise UserError(
            f"the model has {size / 2**30:.1f} GiB of weights and a SavedModel's graph holds less than 2 GiB;"
            " give it fewer channels or units (pyramid.channels, box_head.units)"
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """TensorFlow's notes on what it writes stay off the screen; its warnings and errors do not."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
