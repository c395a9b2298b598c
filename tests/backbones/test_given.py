"""A Keras model of one's own as the backbone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.console.errors import UserError

NARROW = {
    "pyramid": {"channels": 8, "levels": ["P3", "P4"]},
    "rpn": {"channels": 8},
    "anchors": {"sizes": {"P3": [16.0], "P4": [32.0]}},
    "roi_pooling": {"levels": ["P3", "P4"]},
    "proposals": {"post_nms_top_k_test": 10},
    "box_head": {"units": 8},
    "resize": {"min_side": 64, "max_side": 96},
}


def network(strides=(8, 2), names=("C3", "C4")):
    """Convolutions whose maps are as many pixels apart, the second's of the first's."""
    x, taps = keras.Input((None, None, 3), name="image"), {}
    image = x
    for stride, name in zip(strides, names, strict=True):
        x = keras.layers.Conv2D(6, 3, strides=stride, padding="same", activation="relu", name=f"own_{name}")(x)
        taps[name] = x
    return keras.Model(image, taps, name="own")


def built(own, **more):
    keras.utils.set_random_seed(3)
    return keras_fpn.FasterRCNN(num_classes=2, backbone=own, **NARROW | more)


def test_it_stands_under_the_pyramid_with_its_weights(tmp_path):
    own = network()
    own.get_layer("own_C3").bias.assign([0.5] * 6)
    model = built(own)
    assert model.strides == {"P3": 8, "P4": 16}
    for ours, theirs in zip(model.backbone.get_weights(), own.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    model.backbone.get_layer("own_C3").bias.assign([0.0] * 6)
    assert float(own.get_layer("own_C3").bias[0]) == 0.5  # a copy: the one that was given stays as it is
    inputs = {"images": tf.random.stateless_uniform([1, 64, 96, 3], [1, 2]) * 255, "image_sizes": [[64, 96]]}
    inputs["image_sizes"] = tf.constant(inputs["image_sizes"])
    found = model(inputs)
    model.save(tmp_path / "model.keras")
    again = keras_fpn.load_model(tmp_path / "model.keras")(inputs)
    tf.nest.map_structure(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), again, found)


def test_it_is_trained_with_the_detector():
    model = built(network())
    inputs = {"images": tf.random.stateless_uniform([1, 64, 96, 3], [1, 2]) * 255}
    inputs["image_sizes"] = tf.constant([[64, 96]])
    targets = {"boxes": tf.constant([[[10.0, 12, 40, 44]]]), "classes": tf.constant([[1]])}
    with tf.GradientTape() as tape:
        losses, _ = model.training_losses(inputs, targets, tf.zeros([2], tf.int64), training=True)
        loss = tf.add_n(list(losses.values()))
    gradients = tape.gradient(loss, model.backbone.trainable_variables)
    assert len(gradients) == 4 and all(np.any(gradient) for gradient in gradients)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (lambda: network(names=("P3", "P4")), "a Keras model is given by its taps"),
        (lambda: network(strides=(3, 2)), "C3 has 171 cells of 512 pixels; give maps whose sides are halves"),
        (lambda: {"name": "given"}, "given is of a Keras model that Python gives"),
    ],
)
def test_what_cannot_be_a_backbone_is_refused_in_one_line(own, message):
    with pytest.raises(UserError, match=message) as caught:
        built(own())
    assert "\n" not in str(caught.value)
