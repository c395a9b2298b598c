"""A detector as an ONNX file: the whole of it, images of any size in any number to final detections.

tf2onnx converts the traced model; suppression and RoIAlign are ONNX's own operators (`onnx.operators`); then the graph
is cleaned of what a conversion leaves behind (`onnx.passes`).
"""

import contextlib
import dataclasses
import gc
import itertools
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from keras_fpn.console import extras
from keras_fpn.console.errors import UserError
from keras_fpn.export import digest
from keras_fpn.export.adapters import adapted
from keras_fpn.export.description import describe
from keras_fpn.export.onnx import operators, passes
from keras_fpn.export.signature import as_function

if TYPE_CHECKING:
    import tensorflow as tf
    from onnx import ModelProto

    from keras_fpn.models.detector import Detector

OPSET = 18
LARGEST_FILE = 2**31 - 2**24  # protobuf's limit, less what the graph itself may take


def write_onnx(model: "Detector", path: str | os.PathLike, *, input_type: str | None = None) -> None:
    """Write an ONNX file.

    Inputs, outputs and metadata: see `description`. Batch, height and width are free.

    Args:
        model: a `Detector`.
        path: file to write.
        input_type: dtype of the images, "uint8" or "float32"; None: what the model's own resize yields.

    Raises:
        UserError: a package is missing, or the model cannot be written as ONNX.
    """
    onnx = extras.require("onnx", extra="onnx")
    extras.check("tf2onnx", extra="onnx")
    _check_size(model)
    model = adapted(model, "onnx", "float32")
    description = describe(model, input_type=input_type)
    converted = convert(as_function(model, description))
    _arrange(converted.graph, description)
    description = dataclasses.replace(description, sha256=digest.PLACE)
    onnx.helper.set_model_props(converted, _metadata(description))
    onnx.checker.check_model(converted, full_check=True)
    content, _ = digest.sealed(converted.SerializeToString())
    Path(path).write_bytes(content)


def convert(function: "tf.types.experimental.PolymorphicFunction") -> "ModelProto":
    """A `tf.function` with an input signature, where `onnx.operators` may stand, as a clean ONNX model."""
    with _quiet(), _forgetting():
        tf2onnx = extras.require("tf2onnx", extra="onnx")
        converted, _ = tf2onnx.convert.from_function(
            function,
            input_signature=function.input_signature,
            opset=OPSET,
            custom_op_handlers=operators.HANDLERS,
            custom_rewriter=[operators.give_axes],
        )
    onnx = extras.require("onnx", extra="onnx")
    _keep_captured(onnx, converted.graph, function.get_concrete_function())
    # tf2onnx goes on after an operation that it cannot convert.
    foreign = {node.op_type for node in converted.graph.node if not onnx.defs.has(node.op_type)}
    if foreign:
        raise RuntimeError(f"no ONNX operator for {', '.join(sorted(foreign))} of TensorFlow")
    return passes.clean(onnx, converted)


def _keep_captured(onnx, graph, function):
    """Give the graph the tensors that a layer holds besides its weights, such as a Normalization's.

    tf2onnx makes inputs of all that a function reads besides variables.
    """
    held = {inside.name: value for value, inside in function.graph.captures if value.dtype != "resource"}
    for one in [one for one in graph.input if one.name in held]:
        graph.input.remove(one)
        graph.initializer.append(onnx.numpy_helper.from_array(held[one.name].numpy(), one.name))


def _check_size(model):
    size = sum(4 * variable.value.shape.num_elements() for variable in model.variables)
    if size > LARGEST_FILE:
        raise UserError(f"the model has {size / 2**30:.1f} GB of weights, an ONNX file holds 2; write a SavedModel")


@contextlib.contextmanager
def _forgetting():
    """Let go of tf2onnx' copies of the graph, weights included, some dozens, which are cycles.

    Python looks for these when a fourth of all objects are new, and TensorFlow's are many: they are left out of the
    count.
    """
    gc.freeze()
    gc.collect()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def _quiet():
    """Keep tf2onnx from reporting each tensor whose shape it cannot infer, and from TensorFlow's log level."""
    logger, level = logging.getLogger("tf2onnx.shape_inference"), os.environ.get("TF_CPP_MIN_LOG_LEVEL")

    def matters(record):
        return not record.getMessage().startswith("Cannot infer shape")

    logger.addFilter(matters)
    try:
        yield
    finally:
        logger.removeFilter(matters)
        os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
        if level is not None:
            os.environ["TF_CPP_MIN_LOG_LEVEL"] = level


def _arrange(graph, description):
    """Outputs in the order of the description; free axes under the names that programs show."""
    order = list(description.outputs)
    outputs = sorted(graph.output, key=lambda one: order.index(one.name))
    del graph.output[:]
    graph.output.extend(outputs)
    for one, shape in zip((*graph.input, *graph.output), _shapes(graph, description), strict=True):
        free = _names_of_axes(one.name)
        for side, known in zip(one.type.tensor_type.shape.dim, shape, strict=True):
            side.Clear()
            if known is None:
                side.dim_param = next(free)
            else:
                side.dim_value = known


def _names_of_axes(name):
    """The names of an input's or an output's free axes, in order; the second of `proposals` counts proposals."""
    if name == "images":
        return iter(("batch", "height", "width"))
    return itertools.chain(("batch", name), (f"{name}_{number}" for number in itertools.count(2)))


def _shapes(graph, description):
    described = description.inputs | description.outputs
    return [described[one.name]["shape"] for one in (*graph.input, *graph.output)]


def _metadata(description):
    """The properties: `keras_fpn` for programs, the others for people."""
    return {
        "keras_fpn": description.to_json(),
        "labels": description.labels(),
        "title": description.title,
        "inputs": _in_words(description.inputs),
        "outputs": _in_words(description.outputs),
    }


def _in_words(ends):
    return "; ".join(f"{name}: {one['meaning']}" for name, one in ends.items())
