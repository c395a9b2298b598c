"""The gradients that add up in one order: the values of TensorFlow's own, and a training step made of them alone."""

import os
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.config import building
from keras_fpn.config.loading import load_config
from keras_fpn.necks.resampling import UpsampleLike
from keras_fpn.ops.ordered_gradients import crop_and_resize, resize_nearest

# A GPU refuses them under op determinism.
REFUSED = {"ResizeNearestNeighborGrad", "CropAndResizeGradImage", "CropAndResizeGradBoxes"}


def operations(concrete):
    """Types of all operations of a graph and of the functions that it calls."""
    graph = concrete.graph.as_graph_def()
    return {node.op for nodes in (graph.node, *(f.node_def for f in graph.library.function)) for node in nodes}


def step_of(model, batch):
    """The graph of a step of `fit`, of images of any size."""
    model.compile()
    specs = tf.nest.map_structure(lambda value: tf.TensorSpec([None] * np.ndim(value), value.dtype), batch)
    specs[0]["images"] = tf.TensorSpec([None, None, None, 3], tf.float32)
    specs[1]["boxes"] = tf.TensorSpec([None, None, 4], tf.float32)
    return tf.function(lambda *data: model.train_step(data)).get_concrete_function(*specs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [[], ["model.profile=paper"], ["model.roi_pooling.implementation=crop_and_resize"]]
)
def test_a_deterministic_step_holds_no_gradient_that_a_gpu_refuses(tiny_batch, settings):
    classes = types.SimpleNamespace(class_names=list("abcd"), category_ids=[1, 2, 3, 4])
    found = operations(step_of(building.build_model(load_config("tiny", settings), classes), tiny_batch))
    assert {"ResizeNearestNeighbor", "Conv2DBackpropFilter"} <= found  # it is a training step
    assert ("CropAndResize" in found) == ("model.roi_pooling.implementation=crop_and_resize" in settings)
    assert not REFUSED & found


ANY_ORDER = """
    import sys
    sys.path[:0] = ["tests", "tests/ops"]
    import conftest, keras_fpn, numpy as np
    from test_ordered_gradients import operations, step_of

    model = keras_fpn.FasterRCNN(**conftest._tiny_settings())
    batch = conftest.tiny_batch.__wrapped__()
    print("REFUSED", *{"CropAndResizeGradImage", "ResizeNearestNeighborGrad"} & operations(step_of(model, batch)))
    before = model.pyramid.get_weights()
    print("LOSS", model.train_on_batch(*batch, return_dict=True)["loss"])
    print("MOVED", max(np.abs(a - b).max() for a, b in zip(before, model.pyramid.get_weights())))
"""


@pytest.mark.slow
def test_in_any_order_it_trains_with_those_gradients_of_tensorflow_that_are_right():
    done = subprocess.run(  # in a process of its own: determinism is a switch of the whole process
        [sys.executable, "-c", textwrap.dedent(ANY_ORDER)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    printed = dict(line.split() for line in done.stdout.splitlines() if line[:4] in ("REFU", "LOSS", "MOVE"))
    assert printed["REFUSED"] == "ResizeNearestNeighborGrad"  # that of CropAndResize loses sums on a CPU
    assert np.isfinite(float(printed["LOSS"])) and float(printed["MOVED"]) > 0


def differentiated(function, argument):
    """The value, and the gradient of a sum in which every entry counts differently."""
    argument = tf.convert_to_tensor(argument)
    with tf.GradientTape() as tape:
        tape.watch(argument)
        value = function(argument)
        factors = tf.cast(tf.random.stateless_normal(tf.shape(value), [1, 2]), value.dtype)
        total = tf.reduce_sum(value * factors)
    return value, tape.gradient(total, argument)


SIDES = [
    ((4, 6), (8, 12)),
    ((4, 6), (7, 11)),
    ((4, 6), (7, 12)),
    ((1, 1), (1, 2)),
    ((3, 4), (3, 4)),
    ((2, 2), (5, 7)),
    ((2, 3), (8, 12)),
    ((4, 5), (9, 13)),
    ((1, 3), (6, 9)),
    ((3, 5), (5, 40)),
]


@pytest.mark.parametrize("known", (True, False))
@pytest.mark.parametrize(("old", "new"), SIDES)
def test_resize_nearest_equals_tensorflow(old, new, known):
    images = np.random.default_rng(3).normal(size=(2, *old, 3)).astype(np.float32)
    value, gradient = differentiated(
        lambda x: tf.raw_ops.ResizeNearestNeighbor(images=x, size=new, half_pixel_centers=False), images
    )
    shape = images.shape if known else [None, None, None, 3]
    graph = tf.function(
        lambda x: differentiated(lambda y: resize_nearest(y, tf.constant(new)), x),
        input_signature=[tf.TensorSpec(shape)],
    )
    for ours, ours_gradient in (differentiated(lambda x: resize_nearest(x, tf.constant(new)), images), graph(images)):
        np.testing.assert_array_equal(ours, value)
        np.testing.assert_allclose(ours_gradient, gradient, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("bfloat16", 0.02), ("float16", 0.005)])
@pytest.mark.parametrize("new", [(8, 12), (7, 11), (13, 17)])
def test_upsampling_in_other_precisions(dtype, tolerance, new):
    images = tf.cast(np.random.default_rng(4).normal(size=(1, 4, 6, 2)), dtype)
    fine = tf.zeros([1, *new, 5], dtype)
    value, gradient = differentiated(lambda x: UpsampleLike(dtype=dtype)(x, fine), images)
    wanted, wanted_gradient = differentiated(
        lambda x: tf.raw_ops.ResizeNearestNeighbor(images=x, size=new, half_pixel_centers=False), images
    )
    assert value.dtype == gradient.dtype == dtype
    np.testing.assert_array_equal(tf.cast(value, "float64"), tf.cast(wanted, "float64"))
    difference = tf.abs(tf.cast(gradient, "float64") - tf.cast(wanted_gradient, "float64"))
    assert float(tf.reduce_max(difference)) <= tolerance * max(1.0, float(tf.reduce_max(tf.abs(wanted_gradient))))


@pytest.mark.parametrize("size", [(14, 14), (7, 21), (1, 1), (1, 4)])
def test_crop_and_resize_equals_tensorflow(size):
    generator = np.random.default_rng(5)
    images = generator.normal(size=(2, 9, 6, 3)).astype(np.float32)
    boxes = generator.uniform(-0.4, 1.4, (20, 4)).astype(np.float32)  # outside, and with sides exchanged
    boxes[:4] = [[0, 0, 1, 1], [0.5, 0.2, 0.5, 0.2], [1, 1, 1, 1], [2, 2, 3, 3]]
    owners = generator.integers(0, 2, 20).astype(np.int32)
    value, gradient = differentiated(lambda x: tf.image.crop_and_resize(x, boxes, owners, size), images)
    ours, ours_gradient = differentiated(lambda x: crop_and_resize(x, boxes, owners, tf.constant(size)), images)
    np.testing.assert_array_equal(ours, value)
    np.testing.assert_allclose(ours_gradient, gradient, atol=2e-5)
    _, none = differentiated(lambda x: crop_and_resize(x, boxes[:0], owners[:0], tf.constant(size)), images)
    np.testing.assert_array_equal(none, np.zeros_like(images))
