"""RoI max pooling against torchvision's operator (golden/make_roi.py)."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.roi_pool import RoIPool


def drawn_map(golden, draws):
    shape = tuple(map(int, golden("roi")["shape"]))
    return tf.constant(draws.normal("roi/features", shape).transpose(0, 2, 3, 1))


def test_equals_torchvision(golden, draws):
    kept = golden("roi")
    crops = RoIPool(strides={"P3": 8})({"P3": drawn_map(golden, draws)}, tf.constant(kept["boxes"]))
    np.testing.assert_allclose(crops, kept["pool"], atol=1e-6)


def test_bins_of_a_slope():
    # torchvision's roi_pool of x + 100 y, box [8, 8, 64, 64] at scale 1/4.
    slope = tf.constant(np.arange(32)[None] + 100.0 * np.arange(32)[:, None], tf.float32)[None, :, :, None]
    crops = RoIPool(strides={"P2": 4})({"P2": slope}, tf.constant([[[8.0, 8.0, 64.0, 64.0]]]))
    np.testing.assert_array_equal(crops[0, 0, 0, :3, 0], [404, 406, 408])


def test_coordinates_round_half_away_from_zero():
    # 2 / 4 = .5 rounds to 1 in C (to 0 in tf.round): the box starts at cell 1.
    row = tf.constant([[10.0, 1, 2, 3, 4, 5, 6, 7]] * 8)[None, :, :, None]
    crops = RoIPool(output_size=1, strides={"P2": 4})({"P2": row}, tf.constant([[[2.0, 0.0, 11.0, 8.0]]]))
    assert crops[0, 0, 0, 0, 0] == 3


def test_levels_and_batches_are_kept_apart():
    features = {
        f"P{k}": tf.reshape([k * 10.0, k * 10.0 + 1], [2, 1, 1, 1]) * tf.ones([2, 256 >> k, 256 >> k, 3])
        for k in (2, 3, 4, 5)
    }
    boxes = tf.constant([[[0.0, 0, 50, 50], [0, 0, 120, 120], [0, 0, 230, 230]]] * 2)
    crops = RoIPool()(features, boxes).numpy()
    np.testing.assert_array_equal(crops[:, :, 3, 3, 0], [[20, 30, 40], [21, 31, 41]])


def test_gradient_goes_to_the_largest_cell_alone(golden, draws):
    features, layer = drawn_map(golden, draws), RoIPool(strides={"P3": 8})
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(features)
        crops = layer({"P3": features}, tf.constant(golden("roi")["boxes"]))
        weights = np.random.default_rng(0).normal(size=crops.shape).astype(np.float32)
        value, weighted = tf.reduce_sum(crops), tf.reduce_sum(crops * weights)
    # One cell for every bin that is not empty; an empty bin is exactly 0, which no drawn value is.
    assert tape.gradient(value, features).numpy().sum() == np.count_nonzero(crops)
    # And the one that holds the bin's value: what it weighs times what it holds adds up to the whole.
    gradient = tape.gradient(weighted, features)
    np.testing.assert_allclose(tf.reduce_sum(gradient * features), weighted, rtol=1e-4)


def test_of_equal_cells_the_first_in_reading_order_gets_the_gradient():
    # As in torchvision, which keeps a maximum until a greater one comes. The box is the whole map, in 2 x 2 bins.
    features, layer = tf.ones([1, 8, 8, 1]), RoIPool(output_size=2, strides={"P2": 4})
    with tf.GradientTape() as tape:
        tape.watch(features)
        value = tf.reduce_sum(layer({"P2": features}, tf.constant([[[0.0, 0.0, 27.0, 27.0]]])))
    assert np.argwhere(tape.gradient(value, features).numpy()[0, :, :, 0]).tolist() == [[0, 0], [0, 4], [4, 0], [4, 4]]


@pytest.mark.parametrize("count", (0, 4))
def test_no_boxes_and_padding_boxes(count):
    crops = RoIPool(strides={"P2": 4})({"P2": tf.ones([2, 9, 9, 3])}, tf.zeros([2, count, 4]))
    assert crops.shape == (2, count, 7, 7, 3) and np.isfinite(crops).all()


def test_graph_equals_eager(golden, draws):
    layer = RoIPool(strides={"P3": 8})
    features, boxes = drawn_map(golden, draws), tf.constant(golden("roi")["boxes"])
    specs = [tf.TensorSpec([None, None, None, 2]), tf.TensorSpec([None, None, 4])]
    graph = tf.function(lambda f, b: layer({"P3": f}, b), input_signature=specs)
    np.testing.assert_array_equal(graph(features, boxes), layer({"P3": features}, boxes))
