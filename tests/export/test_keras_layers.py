"""Keras' own layers, which a model of one's own may bring, in TFLite and ONNX files; expected are Keras' answers."""

import types

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from keras_fpn.export import to_onnx
from keras_fpn.export.adapters import ADAPTERS

interpreting = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is an extra")

LAYERS = {
    "grouped": lambda: keras.layers.Conv2D(8, 3, padding="same", groups=2),
    "depthwise by groups": lambda: keras.layers.Conv2D(4, 5, strides=2, groups=4),
    "normalization": lambda: keras.layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 9.0, 16.0]),
    "wide": lambda: keras.Sequential([keras.layers.Dense(6000), keras.layers.Dense(3)]),
}


def in_tflite(model, function, inputs):
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    runner = interpreting.Interpreter(model_content=converter.convert()).get_signature_runner()
    return next(iter(runner(maps=inputs).values()))


def in_onnx(model, function, inputs):
    content = to_onnx.convert(function).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"maps": inputs})[0]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("format", "run"), [("tflite", in_tflite), ("onnx", in_onnx)])
def test_it_answers_as_in_keras(format, run, layer):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input([12, 14, 4]), LAYERS[layer]()])
    inputs = np.random.default_rng(0).normal(size=(1, 12, 14, 4)).astype(np.float32)
    expected = model(inputs).numpy()
    for each in model._flatten_layers(include_self=False):
        adapter = ADAPTERS[format].of(each)
        if adapter is not None:
            adapter(each, types.SimpleNamespace(settings={}))
    maps = tf.TensorSpec(inputs.shape, tf.float32, name="maps")
    function = tf.function(lambda maps: model(maps), input_signature=[maps], autograph=False)
    np.testing.assert_allclose(run(model, function, inputs), expected, rtol=0, atol=1e-4)
