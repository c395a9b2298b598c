"""The four losses against torchvision, detectron2's and Detectron's formulas (golden/make_losses.py)."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.ops.losses import roi_losses, rpn_losses, smooth_l1

RPN_CONVENTIONS = {
    "torchvision": {"normalizer": "sampled", "box_beta": 1 / 9},
    "detectron2": {"normalizer": "samples_per_image", "box_beta": 0.0},
    "detectron": {"normalizer": "sampled_per_image", "box_beta": 1 / 9},
}
ROI_BETAS = {"torchvision": 1 / 9, "detectron2": 0.0, "detectron": 1.0}


def rpn_of(inputs, **conventions):
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    return rpn_losses(**inputs, samples_per_image=256, **conventions)


def roi_of(inputs, beta, is_valid=None):
    inputs = {name: tf.constant(value) for name, value in inputs.items()}
    valid = tf.ones(inputs["target_classes"].shape, tf.bool) if is_valid is None else tf.constant(is_valid)
    return roi_losses(**inputs, is_valid=valid, num_classes=inputs["deltas"].shape[2], box_beta=beta)


@pytest.mark.parametrize("profile", RPN_CONVENTIONS)
def test_rpn_losses_equal_the_reference(golden, profile):
    losses = rpn_of(golden("losses").under("rpn/inputs"), **RPN_CONVENTIONS[profile])
    for name in ("rpn_objectness_loss", "rpn_box_loss"):
        np.testing.assert_allclose(losses[name], golden("losses")[f"rpn/{profile}/{name}"], rtol=1e-5)


@pytest.mark.parametrize("profile", ROI_BETAS)
def test_roi_losses_equal_the_reference(golden, profile):
    losses = roi_of(golden("losses").under("roi/inputs"), ROI_BETAS[profile])
    for name in ("roi_class_loss", "roi_box_loss"):
        np.testing.assert_allclose(losses[name], golden("losses")[f"roi/{profile}/{name}"], rtol=1e-5)


def test_invalid_rois_count_neither_above_nor_below_the_line(golden):
    kept = golden("losses").under("roi/some_invalid")
    losses = roi_of(golden("losses").under("roi/inputs"), 0.0, kept["is_valid"])
    for name in ("roi_class_loss", "roi_box_loss"):
        np.testing.assert_allclose(losses[name], kept[name], rtol=1e-5)


def test_logits_of_no_class_count_in_the_softmax_only(golden):
    """Two further rows behind the background: targets stay 0..K, and the log-sum grows by what they hold."""
    inputs = golden("losses").under("roi/inputs")
    logits, targets = inputs["class_logits"], inputs["target_classes"]
    extra = np.random.default_rng(4).normal(size=(*logits.shape[:2], 2)).astype(np.float32)
    wide = np.concatenate([logits, extra], axis=-1).astype(np.float64)
    own = np.take_along_axis(wide, targets[..., None], -1)[..., 0]
    expected = np.mean(np.log(np.exp(wide).sum(-1)) - own)
    losses = roi_of(inputs | {"class_logits": wide.astype(np.float32)}, 0.0)
    np.testing.assert_allclose(losses["roi_class_loss"], expected, rtol=1e-5)
    plain = roi_of(inputs, 0.0)
    assert losses["roi_class_loss"] > plain["roi_class_loss"]
    np.testing.assert_array_equal(losses["roi_box_loss"], plain["roi_box_loss"])
    assert (targets == inputs["deltas"].shape[2]).any()  # some are background


def test_one_box_for_all_classes_has_the_loss_of_the_same_box_for_each(golden):
    inputs = golden("losses").under("roi/inputs")
    deltas, classes = inputs["deltas"][:, :, :1], inputs["deltas"].shape[2]
    arguments = {name: tf.constant(value) for name, value in inputs.items() if name != "deltas"}
    arguments |= {"is_valid": tf.ones(inputs["target_classes"].shape, tf.bool), "num_classes": classes, "box_beta": 0.0}
    each = roi_losses(deltas=tf.constant(np.repeat(deltas, classes, axis=2)), **arguments)
    losses = roi_losses(deltas=tf.constant(deltas), **arguments)
    assert losses["roi_box_loss"] > 0
    for name, value in each.items():
        np.testing.assert_array_equal(losses[name], value)


def test_rpn_gradients_equal_torchvision(golden):
    kept = golden("losses").under("rpn/torchvision")
    inputs = {name: tf.constant(value) for name, value in golden("losses").under("rpn/inputs").items()}
    with tf.GradientTape() as tape:
        tape.watch([inputs["logits"], inputs["deltas"]])
        total = sum(rpn_losses(**inputs, samples_per_image=256, **RPN_CONVENTIONS["torchvision"]).values())
    of_logits, of_deltas = tape.gradient(total, [inputs["logits"], inputs["deltas"]])
    np.testing.assert_allclose(of_logits, kept["gradient_of_logits"], atol=1e-8, rtol=1e-4)
    np.testing.assert_allclose(of_deltas, kept["gradient_of_deltas"], atol=1e-8, rtol=1e-4)


def test_roi_gradients_equal_torchvision(golden):
    kept = golden("losses").under("roi/torchvision")
    inputs = {name: tf.constant(value) for name, value in golden("losses").under("roi/inputs").items()}
    valid = tf.ones(inputs["target_classes"].shape, tf.bool)
    with tf.GradientTape() as tape:
        tape.watch([inputs["class_logits"], inputs["deltas"]])
        classes = inputs["deltas"].shape[2]
        total = sum(roi_losses(**inputs, is_valid=valid, num_classes=classes, box_beta=1 / 9).values())
    of_logits, of_deltas = tape.gradient(total, [inputs["class_logits"], inputs["deltas"]])
    np.testing.assert_allclose(of_logits, kept["gradient_of_logits"], atol=1e-8, rtol=1e-4)
    np.testing.assert_allclose(
        tf.convert_to_tensor(of_deltas), kept["gradient_of_deltas"], atol=1e-8, rtol=1e-4
    )


# --- smooth L1, and what sums are divided by


@pytest.mark.parametrize(
    ("error", "beta", "expected"),
    [
        (0.5, 1 / 9, 0.444444),  # Keras' Huber(1/9) would give .049383
        (0.5, 1.0, 0.125),
        (0.5, 0.0, 0.5),
        (0.05, 1 / 9, 0.01125),
        (0.05, 1.0, 0.00125),
        (0.05, 0.0, 0.05),
    ],
)
def test_smooth_l1_is_not_huber(error, beta, expected):
    np.testing.assert_allclose(smooth_l1(tf.constant([error, -error]), beta), [expected] * 2, atol=1e-6)


def three_positives(sampled):
    """Two images, 256 places each, three positives in all whose |errors| sum to 6."""
    positive = np.zeros((2, 256), bool)
    positive[0, :2], positive[1, 0] = True, True
    deltas = np.zeros((2, 256, 4), np.float32)
    deltas[positive] = 0.5
    valid = np.zeros((2, 256), bool)
    valid[:, :sampled] = True
    return {
        "logits": np.zeros((2, 256), np.float32),
        "deltas": deltas,
        "target_deltas": np.zeros((2, 256, 4), np.float32),
        "is_positive": positive,
        "is_valid": valid,
    }


def test_box_loss_is_divided_by_samples_not_by_positives():
    for normalizer in ("samples_per_image", "sampled", "sampled_per_image"):
        losses = rpn_of(three_positives(256), normalizer=normalizer, box_beta=0.0)
        np.testing.assert_allclose(losses["rpn_box_loss"], 6 / 512, rtol=1e-6)
        np.testing.assert_allclose(losses["rpn_objectness_loss"], math.log(2), rtol=1e-6)


def test_losses_of_too_few_samples():
    # 100 an image: detectron2 still divides by 256 * 2, torchvision by 200.
    few = three_positives(100)
    detectron2 = rpn_of(few, normalizer="samples_per_image", box_beta=0.0)
    np.testing.assert_allclose(detectron2["rpn_box_loss"], 6 / 512, rtol=1e-6)
    np.testing.assert_allclose(detectron2["rpn_objectness_loss"], math.log(2) * 200 / 512, rtol=1e-6)
    torchvision = rpn_of(few, normalizer="sampled", box_beta=0.0)
    np.testing.assert_allclose(torchvision["rpn_box_loss"], 6 / 200, rtol=1e-6)
    np.testing.assert_allclose(torchvision["rpn_objectness_loss"], math.log(2), rtol=1e-6)


def test_roi_box_loss_is_divided_by_rois():
    # Two images of 512 RoIs, three objects, |errors| sum to 6: 6 / 1024.
    classes = np.full((2, 512), 3, np.int32)
    classes[0, :2], classes[1, 0] = 1, 2
    deltas = np.zeros((2, 512, 3, 4), np.float32)
    deltas[0, :2, 1] = deltas[1, 0, 2] = 0.5
    losses = roi_of(
        {
            "class_logits": np.zeros((2, 512, 4), np.float32),
            "deltas": deltas,
            "target_classes": classes,
            "target_deltas": np.zeros((2, 512, 4), np.float32),
        },
        0.0,
    )
    np.testing.assert_allclose(losses["roi_box_loss"], 6 / 1024, rtol=1e-6)
    np.testing.assert_allclose(losses["roi_class_loss"], math.log(4), rtol=1e-6)


# --- edges


def all_losses_and_gradients(rpn, roi, normalizer, beta):
    watched = [rpn["logits"], rpn["deltas"], roi["class_logits"], roi["deltas"]]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        losses = rpn_losses(**rpn, samples_per_image=8, normalizer=normalizer, box_beta=beta)
        losses |= roi_losses(**roi, num_classes=3, box_beta=beta)
        total = sum(losses.values())
    return losses, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(total, watched)]


@pytest.mark.parametrize("normalizer", ("samples_per_image", "sampled", "sampled_per_image"))
@pytest.mark.parametrize("beta", (0.0, 1 / 9))
@pytest.mark.parametrize("sampled", (True, False))
def test_all_background_or_nothing_sampled_is_finite(normalizer, beta, sampled):
    """No positives, then not even a sample. Targets of negatives may be infinite: a box without area."""
    valid = tf.fill([2, 8], sampled)
    rpn = {
        "logits": tf.fill([2, 8], 40.0),
        "deltas": tf.ones([2, 8, 4]),
        "target_deltas": tf.fill([2, 8, 4], np.inf),
        "is_positive": tf.zeros([2, 8], tf.bool),
        "is_valid": valid,
    }
    roi = {
        "class_logits": tf.random.stateless_normal([2, 8, 4], [1, 2]) * 50,
        "deltas": tf.ones([2, 8, 3, 4]),
        "target_classes": tf.fill([2, 8], 3),
        "target_deltas": tf.fill([2, 8, 4], np.nan),
        "is_valid": valid,
    }
    losses, gradients = all_losses_and_gradients(rpn, roi, normalizer, beta)
    assert all(np.isfinite(loss) for loss in losses.values())
    assert losses["rpn_box_loss"] == 0 and losses["roi_box_loss"] == 0
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    if not sampled:
        assert all(loss == 0 for loss in losses.values())


def test_an_exact_box_has_a_finite_gradient():
    for beta in (0.0, 1 / 9, 1.0):
        error = tf.zeros([3])
        with tf.GradientTape() as tape:
            tape.watch(error)
            value = tf.reduce_sum(smooth_l1(error, beta))
        assert np.isfinite(tape.gradient(value, error)).all()


def test_bfloat16_heads_give_float32_losses(golden):
    inputs = {name: tf.constant(value) for name, value in golden("losses").under("roi/inputs").items()}
    for name in ("class_logits", "deltas"):
        inputs[name] = tf.cast(inputs[name], tf.bfloat16)
    classes = inputs["deltas"].shape[2]
    losses = roi_losses(**inputs, is_valid=tf.ones([2, 40], tf.bool), num_classes=classes, box_beta=0.0)
    for name, value in losses.items():
        assert value.dtype == tf.float32
        np.testing.assert_allclose(value, golden("losses")[f"roi/detectron2/{name}"], rtol=2e-2)


def test_unknown_normalizer_is_refused(golden):
    with pytest.raises(ValueError, match="normalizer"):
        rpn_of(golden("losses").under("rpn/inputs"), normalizer="mean", box_beta=0.0)
