"""The leading rows in a loop of static shapes, against the same rows in one piece."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.export.tflite.integer_part import find_integer_part, find_layers_in_loops
from keras_fpn.export.tflite.leading_rows import ROWS, compute
from keras_fpn.export.tflite.operators import operator_counts
from keras_fpn.layers.leading_rows import LeadingRows

KERNEL = np.random.default_rng(0).standard_normal((3, 3, 4, 5), np.float32)
FEATURES = np.random.default_rng(1).standard_normal((6, 6, 4), np.float32)


def head(crops, classes):
    """A convolution of each row's crop, and something of the image that the loop has from outside."""
    maps = tf.reshape(crops, [-1, 6, 6, 4]) + tf.constant(FEATURES)
    maps = tf.nn.conv2d(maps, KERNEL, 1, "SAME") * tf.reshape(tf.cast(classes, tf.float32), [-1, 1, 1, 1])
    return tf.reshape(maps, [*tf.unstack(tf.shape(crops)[:2]), 6, 6, 5])


def rows_of(total):
    random = np.random.default_rng(2)
    return random.standard_normal((1, total, 6, 6, 4), np.float32), random.integers(1, 4, (1, total), np.int32)


@pytest.mark.parametrize(("total", "counts"), [(ROWS, (0, 3, ROWS)), (ROWS + 6, (0, 1, ROWS, ROWS + 1, ROWS + 6))])
def test_every_count_gives_what_one_piece_gives(total, counts):
    layer, rows = LeadingRows(), rows_of(total)
    in_loop = tf.function(lambda count: compute(head, count, *map(tf.constant, rows)))
    for count in counts:
        expected = layer.compute(head, tf.constant([count]), *map(tf.constant, rows))
        assert expected.shape == (1, total, 6, 6, 5) and not expected[:, count:].numpy().any()
        np.testing.assert_allclose(in_loop(tf.constant([count])), expected, atol=1e-5)


def test_one_piece_leaves_out_the_rows_that_no_image_needs():
    """Two images, of 1 and 3 objects: three rows are computed, and two of the first are 0."""
    seen = []
    crops, classes = (np.concatenate([each, each]) for each in rows_of(ROWS))

    def watched(*given):
        seen.append(given[0].shape[1])
        return head(*given)

    found = LeadingRows().compute(watched, tf.constant([1, 3]), tf.constant(crops), tf.constant(classes)).numpy()
    assert seen == [3]
    np.testing.assert_array_equal(found.any(axis=(2, 3, 4)).sum(axis=1), [1, 3])


def test_a_phone_file_has_the_layers_once_and_skips_the_rows(tmp_path):
    """In a file: the loop's convolution is a layer with weights of its own, and no layer of the main graph."""
    from ai_edge_litert.interpreter import Interpreter

    total = 2 * ROWS + 5
    crops, classes = rows_of(total)
    specs = [tf.TensorSpec([1], tf.int32, "count"), tf.TensorSpec(crops.shape, name="crops"),
             tf.TensorSpec(classes.shape, tf.int32, "classes")]  # fmt: skip
    function = tf.function(lambda *given: compute(head, *given), input_signature=specs, autograph=False)
    content = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], tf.Module()).convert()
    assert operator_counts(content)["CONV_2D"] == operator_counts(content)["WHILE"] == 1
    assert [operator.kind for operator in find_layers_in_loops(content)] == ["CONV_2D"]
    assert find_integer_part(content) == ([], [])
    run = Interpreter(model_content=content).get_signature_runner()
    for count in (0, 4, total):
        [found] = run(count=np.array([count], np.int32), crops=crops, classes=classes).values()
        expected = LeadingRows().compute(head, tf.constant([count]), tf.constant(crops), tf.constant(classes))
        np.testing.assert_allclose(found, expected, atol=1e-4)
