"""Cascade R-CNN through the public door, quickly; all that every member does: test_models.py."""

import keras
import numpy as np
import tensorflow as tf

import keras_fpn
from keras_fpn.models.optimizers import SGD


def test_it_trains_saves_reloads_and_detects_the_same(tiny_settings, tiny_batch, tmp_path):
    keras.utils.set_random_seed(1)
    settings = tiny_settings()
    model = keras_fpn.CascadeRCNN(**settings | {"detections": settings["detections"] | {"score_threshold": 0.0}})
    heads = [model.box_head, model.box_head_2, model.box_head_3]
    before = [head.box_deltas.kernel.numpy() for head in heads]
    model.compile(SGD(0.01, global_clipnorm=10.0), run_eagerly=True)  # quicker than tracing
    inputs, targets = tiny_batch
    said = model.train_on_batch(inputs, targets, return_dict=True)
    assert np.isfinite(list(said.values())).all() and said["roi_3_box_loss"] > 0
    assert all((head.box_deltas.kernel.numpy() != old).any() for head, old in zip(heads, before, strict=True))
    model.save(tmp_path / "model.keras")
    again = keras_fpn.load_model(tmp_path / "model.keras")
    assert type(again) is keras_fpn.CascadeRCNN and again.get_config() == model.get_config()
    inputs = {key: tf.constant(value) for key, value in inputs.items()}
    expected = model(inputs)
    assert expected["num_detections"].numpy().min() > 0
    for name, value in again(inputs).items():
        np.testing.assert_array_equal(value, expected[name])
