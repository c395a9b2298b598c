"""The stage of masks: which rows, boxes and channels it reads, what it learns from, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.data.fields import names_of
from keras_fpn.models.settings import resolve

HEAD = {"pooling_size": 4, "conv_layers": 1, "channels": 8}


def mask_rcnn(tiny_settings, **changes):
    """A tiny `MaskRCNN` that finds something."""
    keras.utils.set_random_seed(5)
    settings = tiny_settings() | {"roi_pooling": {"canonical_size": 56.0, "sampling_ratio": 2}}
    model = keras_fpn.MaskRCNN(**settings | {"mask_head": HEAD, "mask_targets": {"rule": "soft"}} | changes)
    kernel = model.mask_head.mask_logits.kernel
    kernel.assign(tf.random.stateless_normal(kernel.shape, [1, 2], stddev=0.03))
    return model


@pytest.fixture(scope="module")
def model(tiny_settings):
    """Shared: do not train it."""
    return mask_rcnn(tiny_settings)


@pytest.fixture
def features(model, tiny_batch):
    return model.features(tiny_batch[0])


BOXES = np.array([[[10, 12, 60, 64], [5, 5, 90, 90], [3, 40, 17, 50]], [[20, 30, 70, 75], [1, 2, 30, 9], [0] * 4]])


def found(counts, boxes=BOXES, classes=((3, 0, 2), (1, 2, -1))):
    """Detections of two images, as a box stage leaves them."""
    classes = np.where(np.arange(3) < np.array(counts)[:, None], classes, -1)
    boxes = np.where(classes[..., None] < 0, 0, boxes)
    scores = np.where(classes < 0, 0, 0.5)
    return {
        "boxes": tf.constant(boxes, tf.float32),
        "scores": tf.constant(scores, tf.float32),
        "classes": tf.constant(classes, tf.int32),
        "num_detections": tf.constant(counts),
    }


def test_a_mask_is_that_of_its_own_class_in_its_own_box(model, features):
    stage, detections = model.stages[-1], found([3, 2])
    masks = stage.infer(features, {"detections": detections})["detections"]["masks"].numpy()
    logits = model.mask_head(model.mask_pooling(features, detections["boxes"])).numpy()
    assert masks.shape == (2, 3, 8, 8) and masks.dtype == np.float32 and np.ptp(masks[0]) > 0.1
    for image, row in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
        own = logits[image, row, ..., detections["classes"][image, row]]
        np.testing.assert_allclose(masks[image, row], 1 / (1 + np.exp(-own)), atol=1e-5)
    assert not masks[1, 2].any()


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (1, 2)])
def test_rows_past_the_last_detection_are_zero_and_nobody_computes_them(model, features, counts):
    stage, whole = model.stages[-1], found([3, 2])
    expected = stage.masks(features, whole).numpy()
    pooled, crop = [], model.mask_pooling.crop

    def noting(maps, boxes, *rest):
        pooled.append(len(boxes))
        return crop(maps, boxes, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.mask_pooling, "crop", noting)
        masks = stage.masks(features, found(counts)).numpy()
    assert pooled == [2 * max(1, *counts)] and masks.shape == expected.shape
    for image, count in enumerate(counts):
        np.testing.assert_allclose(masks[image, :count], expected[image, :count], atol=1e-5)
        assert not masks[image, count:].any()


def test_one_mask_for_all_classes(tiny_settings, tiny_batch):
    model = mask_rcnn(tiny_settings, mask_head=HEAD | {"class_agnostic": True})
    features, stage = model.features(tiny_batch[0]), model.stages[-1]
    one, other = (stage.masks(features, found([3, 2], classes=classes)) for classes in ((3, 0, 2), (0, 1, 1)))
    np.testing.assert_array_equal(one, other)


# Training -----------------------------------------------------------------------------------------------------


def with_bitmaps(targets):
    """Targets with the mask of each object: the left half of its box."""
    bitmaps = np.zeros((2, 3, 96, 128), np.uint8)
    for image, row in np.argwhere(targets["classes"] >= 0):
        x1, y1, x2, y2 = targets["boxes"][image, row].astype(int)
        bitmaps[image, row, y1:y2, x1 : (x1 + x2) // 2] = 1
    return targets | {"bitmaps": bitmaps}


def samples_of(targets):
    """Samples as a box stage leaves them: two positives of image 0, one of image 1, the rest background."""
    boxes = np.array([[[10, 12, 40, 44], [62, 20, 118, 92], [5, 5, 9, 9]], [[20, 30, 70, 75], [1, 2, 30, 9], [0] * 4]])
    return {
        "boxes": tf.constant(boxes, tf.float32),
        "classes": tf.constant([[0, 3, 4], [2, 4, 4]]),
        "objects": tf.constant([[0, 1, -1], [0, -1, -1]]),
        "is_valid": tf.constant([[True] * 3, [True, True, False]]),
    }


def test_the_loss_is_the_mean_over_the_positives_of_their_classes_channel(model, features, tiny_batch):
    inputs, targets = tiny_batch
    state = {"inputs": inputs, "samples": samples_of(targets)}
    stage, targets, samples = model.stages[-1], with_bitmaps(targets), state["samples"]
    _, losses, _ = stage.train(features, state, targets, tf.constant([0, 0], tf.int64))
    logits = model.mask_head(model.mask_pooling(features, samples["boxes"])).numpy().astype(np.float64)
    truth = stage.truth(targets, inputs["image_sizes"], samples["boxes"], samples["objects"]).numpy()
    # The proposal that is its object's box: the left half of the columns, but for the half cell of torchvision's rule.
    assert truth[0, 0].mean() == pytest.approx(0.5, abs=0.1) and not truth[0, 2].any()
    each = []
    for image, row, label in ((0, 0, 0), (0, 1, 3), (1, 0, 2)):
        own, wanted = logits[image, row, ..., label], truth[image, row]
        each.append((np.log1p(np.exp(own)) - own * wanted).mean())
    np.testing.assert_allclose(losses["mask_loss"], np.mean(each), rtol=1e-4)


def test_norms_learn_from_positives_alone_and_not_from_nothing(tiny_settings, tiny_batch):
    model = mask_rcnn(tiny_settings, mask_head=HEAD | {"norm": "batch_norm"})
    inputs, targets = tiny_batch
    features, norm, samples = model.features(inputs), model.mask_head.norms[0], samples_of(targets)
    crops = model.mask_pooling(features, samples["boxes"])
    maps = [model.mask_head.convolutions[0](crops[image, rows]) for image, rows in ((0, slice(2)), (1, slice(1)))]
    expected = 0.1 * tf.reduce_mean(tf.concat(maps, axis=0), axis=[0, 1, 2])
    state = {"inputs": inputs, "samples": samples}
    model.stages[-1].train(features, state, with_bitmaps(targets), tf.constant([0, 0], tf.int64))
    np.testing.assert_allclose(norm.moving_mean, expected, rtol=1e-3, atol=1e-6)
    before = norm.moving_variance.numpy()
    samples["objects"] = tf.fill([2, 3], -1)
    _, losses, _ = model.stages[-1].train(features, state, with_bitmaps(targets), tf.constant([0, 0], tf.int64))
    assert float(losses["mask_loss"]) == 0.0
    assert (norm.moving_variance.numpy() > 0.9 * before).all()  # zeros alone would give 0.9 of it


@pytest.mark.parametrize(
    ("profile", "given", "rule", "field", "resizing"),
    [
        ("torchvision", {}, "soft", "bitmaps", "torchvision"),
        ("detectron2", {}, "polygon", "polygons", None),
        ("detectron2", {"rule": "bitmask"}, "bitmask", "bitmaps", "pillow"),
    ],
)
def test_what_it_learns_from_follows_from_its_rule(model, monkeypatch, profile, given, rule, field, resizing):
    settings = resolve("mask_rcnn", profile, {"mask_targets": given})
    assert settings["mask_targets"]["rule"] == rule
    (asked,) = keras_fpn.MaskRCNN.fields_to_learn(settings)
    assert names_of([asked]) == (field,) and getattr(asked, "resizing", None) == resizing
    stage = model.stages[-1]
    monkeypatch.setattr(stage, "rule", rule)
    with pytest.raises(UserError, match=f"targets: hold no {field}, and mask_targets.rule={rule} learns") as failure:
        stage.truth({"boxes": None, "classes": None}, None, None, None)
    assert "\n" not in str(failure.value)


def test_masks_of_no_class_need_scores_of_no_class(tiny_settings):
    with pytest.raises(UserError, match="mask_head.background_masks: 2 are more than box_head.background_logits, 1"):
        keras_fpn.MaskRCNN(**tiny_settings(), mask_head={"background_masks": 2})
    with pytest.raises(UserError, match="mask_head.background_masks: one mask for all classes"):
        keras_fpn.MaskRCNN(**tiny_settings(), mask_head={"background_masks": 1, "class_agnostic": True})
