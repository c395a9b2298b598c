"""Stages: each gets what it reads, and two of a kind in one model keep out of each other's way."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.stages.stage import in_order


class Gives(keras_fpn.Stage):
    """Gives proposals without reading any."""

    name, gives = "gives", ("proposals",)


class Reads(keras_fpn.Stage):
    """Reads proposals."""

    name, reads = "reads", ("proposals",)


def test_a_stage_comes_after_what_it_reads():
    gives, reads = Gives(None), Reads(None)
    assert in_order([gives, reads]) == (gives, reads)
    with pytest.raises(ValueError, match="stage 'reads' reads 'proposals', which no stage before it gives"):
        in_order([reads, gives])
    with pytest.raises(ValueError, match="two stages are called 'gives'; give one another name"):
        in_order([gives, Gives(None)])
    assert in_order([gives, Gives(None, name="again")])[1].name == "again"


class TwiceClassified(keras_fpn.FasterRCNN):
    """The box stage twice, the second after the first as a cascade has them."""

    def make_stages(self, context):
        propose, classify = super().make_stages(context)
        return [propose, classify, keras_fpn.ClassifyStage(context, "roi_2")]


def test_the_box_stage_may_run_twice(tiny_settings, tiny_batch):
    keras.utils.set_random_seed(5)
    model = TwiceClassified(**tiny_settings())
    own = ("roi_class_loss", "roi_box_loss", "roi_2_class_loss", "roi_2_box_loss")
    assert model.loss_names[2:] == own and model.recall_names[1:] == ("roi_recall", "roi_2_recall")
    assert list(model.parts)[2:] == ["rpn_head", "box_head", "box_head_2"]
    inputs, targets = tiny_batch
    losses, recalls = model.training_losses(inputs, targets, tf.constant([0, 1], tf.int64))
    assert tuple(losses) == model.loss_names and tuple(recalls) == model.recall_names
    assert all(np.isfinite(value) for value in losses.values())
    # Same targets, but other samples and other weights.
    assert float(losses["roi_class_loss"]) != float(losses["roi_2_class_loss"])
    model.freeze(["box_head_2"])
    assert not {id(weight) for weight in model.trainable_variables} & {id(w) for w in model.box_head_2.weights}


def test_what_a_stage_samples_says_which_object_each_roi_is_of(tiny_model, tiny_batch):
    """By hand: the matched object of a positive RoI has its class, and overlaps it by half or more."""
    from keras_fpn.ops.boxes import pairwise_iou

    inputs, targets = tiny_batch
    propose, classify = tiny_model.stages
    features, state = tiny_model.features(inputs), {"inputs": inputs}
    state |= propose.infer(features, state)
    samples = classify.train(features, state, targets, tf.constant([0, 1], tf.int64))[0]["samples"]
    objects, classes, valid = (samples[key].numpy() for key in ("objects", "classes", "is_valid"))
    assert ((objects >= 0) == (valid & (classes < 4))).all() and (objects >= 0).any()
    for image, row in zip(*np.nonzero(objects >= 0), strict=True):
        number = objects[image, row]
        assert targets["classes"][image, number] == classes[image, row]
        box, ground_truth = samples["boxes"][image, row][None], targets["boxes"][image, number][None]
        assert pairwise_iou(tf.constant(box), tf.constant(ground_truth))[0, 0] >= 0.5


class LearnsBySettings(keras_fpn.Stage):
    @classmethod
    def fields_to_learn(cls, settings):
        return ("masks",) if settings["detections"]["nms_threshold"] > 0.5 else ()


class Learns(keras_fpn.FasterRCNN):
    stage_types = (*keras_fpn.FasterRCNN.stage_types, LearnsBySettings)


@pytest.mark.parametrize(("threshold", "fields"), [(0.4, ()), (0.6, ("masks",))])
def test_what_a_model_learns_from_may_hang_on_its_settings(threshold, fields):
    assert Learns.fields_to_learn({"detections": {"nms_threshold": threshold}}) == fields


def test_one_box_for_all_classes_detects_all_classes(tiny_settings, tiny_batch):
    """By hand: a class that is the likeliest everywhere is the best detection, whichever it is."""
    from keras_fpn.console.errors import UserError

    keras.utils.set_random_seed(5)
    head = tiny_settings()["box_head"] | {"class_agnostic_boxes": True}
    model = keras_fpn.FasterRCNN(**tiny_settings() | {"box_head": head})
    inputs, targets = tiny_batch
    model.box_head.class_logits.bias.assign([0.0, 0.0, 3.0, 0.0, 0.0])
    found = model(inputs)
    np.testing.assert_array_equal(found["classes"][:, 0], [2, 2])
    # Positives of every class have a box to learn, not those of class 0 alone.
    with tf.GradientTape() as tape:
        losses, recalls = model.training_losses(inputs, targets, tf.constant([0, 1], tf.int64))
    assert recalls["roi_recall"][1] > 0 and losses["roi_box_loss"] > 0
    assert np.abs(tape.gradient(losses["roi_box_loss"], model.box_head.box_deltas.kernel)).max() > 0
    with pytest.raises(UserError, match="^box_head.background_boxes: one box for all classes has none"):
        keras_fpn.FasterRCNN(**tiny_settings() | {"box_head": head | {"background_boxes": 1}})
