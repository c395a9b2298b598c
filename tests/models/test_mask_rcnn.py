"""Mask R-CNN on the embedded data set: what is read of it is what the stage learns from."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.data import load_coco

HEAD = {"pooling_size": 7, "conv_layers": 1, "channels": 8}


def built(tiny_settings, rule):
    """A tiny `MaskRCNN` whose masks differ from place to place; with one seed the same but for its rule."""
    keras.utils.set_random_seed(5)
    sizes = {"roi_pooling": {"canonical_size": 56.0, "sampling_ratio": 2}}
    model = keras_fpn.MaskRCNN(**tiny_settings() | sizes, mask_head=HEAD, mask_targets={"rule": rule})
    kernel = model.mask_head.mask_logits.kernel
    kernel.assign(tf.random.stateless_normal(kernel.shape, [1, 2], stddev=0.01))
    return model


def batches(model, shapes_folder):
    """Two images at a time, with whatever the model learns from."""
    annotations, images = shapes_folder / "annotations" / "instances_train.json", shapes_folder / "train"
    return load_coco(annotations, images, fields=model.object_fields, batch_size=2, min_side=96, max_side=96)


@pytest.mark.slow
def test_two_steps_of_training_move_the_mask_head(tiny_settings, shapes_folder):
    model = built(tiny_settings, "soft")
    model.compile(run_eagerly=True)  # quicker than tracing
    before = [weight.numpy() for weight in model.mask_head.trainable_weights]
    history = model.fit(batches(model, shapes_folder).take(2), verbose=0).history
    assert np.isfinite(history["loss"][0]) and 0.1 < history["mask_loss"][0] < 5
    assert all((old != new.numpy()).any() for old, new in zip(before, model.mask_head.trainable_weights, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["polygon", "soft"])
def test_all_three_rules_learn_nearly_the_same(tiny_settings, shapes_folder, rule):
    """Of the same RoIs of the same objects, with the same weights."""
    losses = []
    for one in ("bitmask", rule):
        model = built(tiny_settings, one)
        inputs, targets = next(iter(batches(model, shapes_folder)))
        losses.append(float(model.training_losses(inputs, targets, tf.constant([5, 0], tf.int64))[0]["mask_loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=0.02) and losses[0] != losses[1]
