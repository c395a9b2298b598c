"""A whole RetinaNet under the torchvision profile against torchvision itself (golden/make_dense.py)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.checkpoints import torchvision, variables

CANVAS, SIZES = (128, 160), ((128, 160), (100, 130))
ANCHOR_SIZES = {
    f"P{k}": [float(int(2**k * 2 ** (third / 3))) for third in range(3)] for k in range(3, 8)
}
TINY = {
    "num_classes": 4,
    "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
    "pyramid": {"channels": 16},
    "dense_head": {"channels": 16, "conv_layers": 1},
}


@pytest.fixture(scope="module")
def model(golden, draws):
    scales = dict(zip(golden("dense")["scaled"].tolist(), golden("dense")["scales"], strict=True))
    model = keras_fpn.RetinaNet(
        5,
        "resnet18",
        profile="torchvision",
        pyramid={"channels": 64},
        anchors={"sizes": ANCHOR_SIZES},
        dense_head={"channels": 64},
        detections={"max_detections": 100},
    )
    entries = list(torchvision.entries(model))
    drawn = {
        entry.name: (draws.weight(f"dense.{entry.name}", entry.shape) * scales.get(entry.name, 1)).astype(np.float32)
        for entry in entries
    }
    variables.load(entries, drawn, file="drawn")
    return model


@pytest.fixture(scope="module")
def inputs(draws):
    pixels = np.clip(draws.normal("dense/images", (2, 3, *CANVAS), 60.0) + 120, 0, 255).round()
    return {"images": pixels.astype(np.float32).transpose(0, 2, 3, 1), "image_sizes": np.array(SIZES, np.int32)}


def test_logits_and_deltas_of_the_whole_are_torchvisions(model, inputs, golden):
    """P6 of P5, P7 of the rectified P6, both padded alike on all sides."""
    found = model.dense_head(model.features({key: tf.constant(value) for key, value in inputs.items()}))
    for key, of_levels in found.items():
        ours = np.concatenate(list(of_levels.values()), axis=1)[:, ::11]
        np.testing.assert_allclose(ours, golden("dense")[f"whole/{key}"], atol=2e-3, err_msg=key)


def test_detections_of_the_whole_are_torchvisions(model, inputs, golden):
    found = {key: np.asarray(value) for key, value in model(inputs).items()}
    for index in range(2):
        expected = golden("dense").under(f"whole/{index}")
        assert found["num_detections"][index] == len(expected["scores"]) == 100
        np.testing.assert_allclose(found["scores"][index], expected["scores"], atol=1e-4)
        same = found["classes"][index] == expected["labels"]
        near = np.abs(found["boxes"][index] - expected["boxes"]).max(axis=1) < 0.05
        assert (same & near).mean() >= 0.98  # of equal scores two may change places


def test_the_pyramid_of_each_profile():
    """P6 reads C5 at detectron2 and P5 at torchvision, whose tensors have the same name."""
    for profile, channels in (("detectron2", 64), ("torchvision", 16)):
        model = keras_fpn.RetinaNet(**TINY, profile=profile)
        assert model.pyramid.get_layer("downsample_P6").kernel.shape == (3, 3, channels, 16)
        assert model.strides == {f"P{k}": 2**k for k in range(3, 8)}
        assert list(model.pyramid.input) == ["C3", "C4", "C5"]


def test_the_anchors_of_each_profile():
    # torchvision and detectron2 themselves, their configurations of P3 and of an image of 800 x 1344.
    shapes = {level: (-(-800 // 2**k), -(-1344 // 2**k)) for k, level in enumerate(("P3", "P4", "P5", "P6", "P7"), 3)}
    last = {"torchvision": [933, 110, 1507, 1258], "detectron2": [992.65, 193.3, 1567.35, 1342.7]}
    first = {
        "torchvision": [[-23, -11, 23, 11], [-28, -14, 28, 14], [-35, -18, 35, 18], [-16, -16, 16, 16]],
        "detectron2": [[-22.627, -11.314, 22.627, 11.314], [-16, -16, 16, 16], [-11.314, -22.627, 11.314, 22.627]],
    }
    for profile, expected in last.items():
        layer = keras_fpn.RetinaNet(**TINY, profile=profile).anchors
        anchors = layer(shapes, (800, 1344))
        assert sum(map(len, anchors.values())) == 201600
        np.testing.assert_allclose(anchors["P7"][-1], expected, atol=0.05)
        np.testing.assert_allclose(layer.cell_anchors("P3")[: len(first[profile])], first[profile], atol=1e-3)


def test_the_average_of_positives_goes_with_the_model(tmp_path, tiny_batch):
    model = keras_fpn.RetinaNet(**TINY)
    model.training_losses(*tiny_batch, tf.constant([0, 0], tf.int64))
    average = float(model.loss_normalizer.average)
    assert average != 100
    model.save(tmp_path / "model.keras")
    assert float(keras_fpn.load_model(tmp_path / "model.keras").loss_normalizer.average) == pytest.approx(average)
    assert float(model.twin().loss_normalizer.average) == pytest.approx(average)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"pyramid": {"levels": ["P3", "P4", "P5"]}}, "anchors.sizes: P6 is not among pyramid.levels P3, P4, P5"),
        ({"pyramid": {"levels": [f"P{k}" for k in range(3, 9)]}}, "anchors.sizes: none for P8"),
        ({"anchors": {"sizes": {f"P{k}": [8.0] * (k - 1) for k in range(3, 8)}}}, "sizes: 3 for P4 and 2 for P3"),
        ({"pyramid": {"levels": ["P6", "P7"]}, "anchors": {"sizes": {"P6": [8], "P7": [16]}}}, "P6 needs C6"),
        ({"dense_head": {"norm": "group_norm", "channels": 48}}, "dense_head: channels must be a multiple of norm_gro"),
        ({"dense_head": {"prior_probability": 1.0}}, "dense_head: prior_probability must be between 0 and 1"),
        ({"anchor_targets": {"negative_iou": 0.6}}, "anchor_targets: negative_iou must not be above positive_iou"),
        ({"detections": {"score_threshold": 1.5}}, "detections.score_threshold: input should be less than or equal"),
        ({"detections": {"clip": "late"}}, "detections.clip: input should be 'before_nms' or 'after_nms'"),
        ({"roi_pooling": {}}, "roi_pooling: retinanet has no such stage"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(groups, message):
    with pytest.raises(keras_fpn.UserError, match=message) as told:
        keras_fpn.RetinaNet(4, "resnet18", **groups)
    assert "\n" not in str(told.value)


def test_classes_beyond_the_models_are_told(tiny_batch):
    model = keras_fpn.RetinaNet(**TINY | {"num_classes": 2})
    targets = tiny_batch[1] | {"classes": np.full_like(tiny_batch[1]["classes"], 2)}
    with pytest.raises((keras_fpn.UserError, tf.errors.InvalidArgumentError), match="class"):
        model.training_losses(tiny_batch[0], targets, tf.constant([0, 0], tf.int64))


@pytest.mark.slow
@pytest.mark.parametrize("member", ["RetinaNet", "FCOS"])
def test_two_hundred_steps_learn_a_batch(member, tiny_batch):
    """Of fresh weights nearly all of the focal loss is the positives'; it falls once the head tells classes."""
    keras.utils.set_random_seed(3)
    norm = {"backbone": TINY["backbone"] | {"norm": "batch_norm"}}
    head = {"dense_head": TINY["dense_head"] | ({"norm_groups": 4} if member == "FCOS" else {})}
    model = getattr(keras_fpn, member)(**TINY | norm | head, profile="torchvision")
    model.compile(keras_fpn.SGD(0.02, global_clipnorm=10.0))
    dataset = tf.data.Dataset.from_tensors(tiny_batch)
    before = float(model.training_losses(*tiny_batch, tf.constant([0, 0], tf.int64))[0]["class_loss"])
    model.fit(dataset.repeat(200), verbose=0)
    after = model.training_losses(*tiny_batch, tf.constant([0, 0], tf.int64))
    assert float(after[0]["class_loss"]) < 0.5 * before and float(after[1]["class_recall"][0]) > 0.6
