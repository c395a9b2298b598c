"""The RPN's head against torchvision (golden/make_networks.py), and the order of its outputs."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.heads.rpn import RPNHead

CONVOLUTIONS = {"conv_0": "conv.0.0", "conv_1": "conv.1.0", "objectness": "cls_logits", "deltas": "bbox_pred"}


def convolutions(head):
    return {layer.name: layer for layer in head._flatten_layers() if layer.name in CONVOLUTIONS}


@pytest.mark.parametrize("layers", (1, 2))
def test_equals_torchvision(golden, draws, layers):
    kept = golden("networks")
    features = {}
    for level, shape in zip(("P2", "P3", "P4"), kept["rpn/shapes"], strict=True):
        drawn = draws.normal(f"rpn/{level}", (2, 16, *map(int, shape)))
        features[level] = tf.constant(drawn.transpose(0, 2, 3, 1))
    head = RPNHead(channels=16, num_anchors=3, conv_layers=layers)
    head(features)
    assert len(convolutions(head)) == 2 + layers
    for name, layer in convolutions(head).items():
        kh, kw, inputs, outputs = layer.kernel.shape
        weight = draws.weight(f"rpn.{CONVOLUTIONS[name]}.weight", (outputs, inputs, kh, kw))
        layer.set_weights(
            [weight.transpose(2, 3, 1, 0), draws.weight(f"rpn.{CONVOLUTIONS[name]}.bias", (outputs,))]
        )
    outputs = head(features)
    for level in features:
        for name in ("objectness", "deltas"):
            np.testing.assert_allclose(
                outputs[name][level], kept[f"rpn/{layers}/{level}/{name}"], rtol=1e-4, atol=1e-4
            )


def test_outputs_are_ordered_row_column_anchor():
    # torchvision's permute_and_flatten of arange(72) as a (1, 12, 2, 3) map: its first four rows.
    head = RPNHead(channels=12, num_anchors=3, conv_layers=0)
    features = {"P2": tf.constant(np.arange(72).reshape(1, 12, 2, 3).transpose(0, 2, 3, 1), tf.float32)}
    head(features)
    head.deltas.set_weights([np.eye(12)[None, None], np.zeros(12)])
    deltas = head(features)["deltas"]["P2"]
    assert deltas.shape == (1, 18, 4)
    np.testing.assert_array_equal(
        deltas[0, :4], [[0, 6, 12, 18], [24, 30, 36, 42], [48, 54, 60, 66], [1, 7, 13, 19]]
    )
    # Objectness: the same order, one number an anchor.
    head.objectness.set_weights([np.eye(12)[None, None, :, ::4], np.zeros(3)])
    np.testing.assert_array_equal(head(features)["objectness"]["P2"][0, :4], [0, 24, 48, 1])


def test_parameters_and_initialisation():
    # torchvision's head has 593,935; N(0, .01) and biases 0 in all implementations.
    head = RPNHead()
    head({"P2": tf.zeros([1, 4, 4, 256])})
    assert head.count_params() == 593_935
    for layer in convolutions(head).values():
        kernel, bias = layer.get_weights()
        assert abs(kernel.std() - 0.01) < 1.5e-3 and (bias == 0).all()


def test_the_levels_share_their_weights():
    head = RPNHead(channels=8, num_anchors=3)
    same = tf.random.stateless_normal([1, 5, 6, 8], [1, 2])
    outputs = head({"P2": same, "P3": same, "P6": same[:, :1, :1]})
    np.testing.assert_array_equal(outputs["objectness"]["P2"], outputs["objectness"]["P3"])
    assert outputs["deltas"]["P6"].shape == (1, 3, 4)
    assert len(head.trainable_variables) == 6
