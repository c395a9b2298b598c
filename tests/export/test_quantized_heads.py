"""Heads of detections in fewer bits, each in a file of its own: crops in, logits out, against the float32 file."""

import collections
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.export.tflite import quantization
from keras_fpn.export.tflite.integer_part import find_integer_part
from keras_fpn.export.tflite.operators import operator_counts
from keras_fpn.heads.keypoint_head import KeypointHead
from keras_fpn.heads.mask_head import MaskHead

CROPS = (1, 6, 7, 7, 16)
LOUD = 1000.0  # the first channel of the logits is so much louder than the others
HEADS = {
    "masks": lambda: MaskHead(3, conv_layers=2, channels=16, initializer="kaiming_normal"),
    "keypoints": lambda: KeypointHead(3, conv_layers=2, channels=16),
}
LAST = {"masks": "mask_logits", "keypoints": "score_lowres"}

pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")


@functools.cache
def written(name):
    """`(float32 file, crops to calibrate with)` of a head."""
    keras.utils.set_random_seed(5)
    head = HEADS[name]()
    head.build((None, None, *CROPS[2:]))
    kernel = getattr(head, LAST[name]).kernel
    scales = np.array([LOUD, 1, 1], np.float32)
    kernel.assign(kernel * (scales if name == "masks" else scales[:, None]))  # a transposed kernel has them third
    module = tf.Module()
    module.kept = [variable.value for variable in head.variables]
    function = tf.function(head, input_signature=[tf.TensorSpec(CROPS, tf.float32, name="crops")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    crops = np.random.default_rng(3).standard_normal((20, *CROPS), np.float32)
    return converter.convert(), [{"crops": one} for one in crops]


def logits_of(content, inputs):
    from ai_edge_litert.interpreter import Interpreter

    [value] = Interpreter(model_content=content).get_signature_runner()(**inputs).values()
    return value


@pytest.mark.parametrize("name", HEADS)
def test_the_integer_part_reaches_through_a_transposed_convolution(name):
    """By hand: two hidden convolutions; a mask's transposed one is hidden, too, a keypoint's predicts."""
    inner, last = find_integer_part(written(name)[0])
    kinds = [collections.Counter(operator.kind for operator in part) for part in (inner, last)]
    assert kinds[0]["CONV_2D"] == 2 and kinds[0]["TRANSPOSE_CONV"] == (name == "masks")
    assert dict(kinds[1]) == ({"CONV_2D": 1} if name == "masks" else {"TRANSPOSE_CONV": 1})


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("precision", "most"), [("float16", 2e-3), ("dynamic_int8", 0.05), ("int8", 0.05)])
def test_logits_keep_their_scale_beside_louder_ones(name, precision, most):
    """Root mean square error of each channel over its own; with one scale for all of 255 steps it would be above 1."""
    content, crops = written(name)
    quantized = quantization.quantize(content, precision, crops)
    assert len(quantized) < len(content)
    assert not [operator for operator in operator_counts(quantized) if operator.startswith("CUSTOM")]
    theirs, ours = logits_of(content, crops[0]), logits_of(quantized, crops[0])
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape) == (np.float32, theirs.shape)
    axes = tuple(range(theirs.ndim - 1))
    sizes = np.sqrt((theirs**2).mean(axes))
    assert sizes[0] > 0.3 * LOUD * sizes[1:].max()
    assert (np.sqrt(((ours - theirs) ** 2).mean(axes)) / sizes < most).all()
