"""Segment proposals through `keras_fpn.SegmentProposals`: the head, the best positions, the losses, training, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.checkpoints.transfer import start_from
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data import load_coco
from keras_fpn.heads.segment_head import SegmentHead
from keras_fpn.models.detector import architecture
from keras_fpn.necks.build import build_pyramid
from keras_fpn.ops.losses import segment_losses
from keras_fpn.stages.segment_grid import SegmentGrid

SETTINGS = {
    "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
    "pyramid": {"channels": 16},
    "segments": {"units": 24, "canonical_size": 8.0, "samples_per_image": 32, "max_detections": 40},
    "seed": 5,
}


def logistic(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


@pytest.fixture(scope="module")
def model():
    """Untrained. Shared: do not train it."""
    keras.utils.set_random_seed(5)
    return keras_fpn.SegmentProposals(**SETTINGS)


@pytest.fixture(scope="module")
def features():
    """Maps of two images of 40 x 56 px, drawn at random."""
    random = np.random.default_rng(2)
    shapes = {"P2": (10, 14), "P3": (5, 7), "P4": (3, 4), "P5": (2, 2), "P6": (1, 1)}
    return {level: tf.constant(random.normal(size=(2, *shape, 8)), tf.float32) for level, shape in shapes.items()}


# The head -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mask_size", "outputs"), [(14, 101_061), (28, 512 * 785 + 785)])
def test_the_weights_are_as_many_as_the_papers(mask_size, outputs):
    pyramid = build_pyramid({"C2": 256, "C3": 512, "C4": 1024, "C5": 2048}, channels=128)
    assert pyramid.count_params() == 1_082_368
    head = SegmentHead(mask_size=mask_size)
    head.build({level: (None, None, None, 128) for level in pyramid.output})
    assert [layer.count_params() for layer in head.hidden] == [1_638_912, 3_211_776]
    for score, mask in zip(head.scores, head.masks, strict=True):
        assert score.count_params() + mask.count_params() == outputs
    assert head.count_params() == 1_638_912 + 3_211_776 + 2 * outputs


@pytest.mark.parametrize("kernel_sizes", [[5, 7], [7]])
def test_single_windows_give_what_the_dense_pass_gives(features, kernel_sizes):
    """Everywhere, to the corners of each level; the masks against the same weights as plain padded convolutions."""
    head = SegmentHead(units=12, mask_size=4, kernel_sizes=kernel_sizes)
    head.build({level: feature.shape for level, feature in features.items()})
    for weight in head.weights:
        weight.assign(np.random.default_rng(3).normal(size=weight.shape) * 0.1)
    grid = SegmentGrid(dict(zip(features, (4, 8, 16, 32, 64), strict=True)), kernel_sizes)
    layout = grid.lay_out([feature.shape[1:3] for feature in features.values()])
    everywhere = tf.stack([tf.range(len(layout.centres))] * 2)
    scores, masks = head.at(features, grid.places(everywhere, layout))
    dense = tf.concat(list(head(features).values()), axis=1)
    np.testing.assert_allclose(scores, dense, atol=1e-4)
    assert masks.shape == (2, len(layout.centres), 4, 4) and np.std(dense) > 0.1
    expected = []
    for feature in features.values():
        of_level = []
        for hidden, mask in zip(head.hidden, head.masks, strict=True):
            inside = tf.nn.relu(tf.nn.conv2d(feature, hidden.kernel, 1, "SAME") + hidden.bias)
            of_level.append(tf.nn.conv2d(inside, mask.kernel, 1, "VALID") + mask.bias)
        expected.append(tf.reshape(tf.stack(of_level, axis=3), [2, -1, 4, 4]))
    np.testing.assert_allclose(masks, tf.concat(expected, axis=1), atol=1e-4)
    order = np.random.default_rng(4).permutation(everywhere.shape[1])[:9]
    few = [head.at(features, grid.places(tf.constant([order, order[::-1]], tf.int32), layout))[0] for _ in range(2)]
    np.testing.assert_allclose(few[0], [dense.numpy()[0, order], dense.numpy()[1, order[::-1]]], atol=1e-4)


def test_the_two_mlps_share_nothing_and_the_levels_all(model):
    assert len(model.segment_head.weights) == 2 * 6
    assert len({weight.path for weight in model.segment_head.weights}) == 12


# Inference ------------------------------------------------------------------------------------------------------


def test_the_best_positions_inside_the_images_are_given_unsuppressed(model, tiny_batch):
    inputs, _ = tiny_batch
    found = model.predict(inputs, verbose=0)
    features = model.features({key: tf.constant(value) for key, value in inputs.items()})
    layout = model.stages[0].lay_out(features)
    scores = logistic(tf.concat(list(model.segment_head(features).values()), axis=1))
    centres, windows = layout.centres.numpy(), layout.windows.numpy()
    assert found["num_detections"].tolist() == [40, 40]
    for index, (height, width) in enumerate(inputs["image_sizes"]):
        inside = np.flatnonzero((centres[:, 0] < width) & (centres[:, 1] < height))
        best = np.sort(scores[index, inside])[::-1][:40]
        np.testing.assert_allclose(found["scores"][index], best, atol=1e-5)
        assert (np.diff(found["scores"][index]) <= 0).all()
        own = [np.flatnonzero(np.isclose(windows, box, atol=1e-4).all(axis=1)) for box in found["boxes"][index]]
        assert all(len(one) == 1 and one[0] in inside for one in own) and len({one[0] for one in own}) == 40
        own = np.concatenate(own).astype(np.int32)
        places = model.stages[0].grid.places(tf.constant([own, own]), layout)
        masks = logistic(model.segment_head.at(features, places)[1][index])
        np.testing.assert_allclose(found["masks"][index], masks, atol=1e-5)
    assert {key: value.dtype.name for key, value in found.items()} == {
        "boxes": "float32", "scores": "float32", "masks": "float32", "num_detections": "int32",
    }  # fmt: skip


def test_what_is_padded_is_zero(tiny_batch):
    many = SETTINGS | {"segments": SETTINGS["segments"] | {"kernel_sizes": [5], "max_detections": 60}}
    images = tiny_batch[0]["images"][:, :16, :16]
    sizes = np.array([[16, 16], [8, 12]], np.int32)
    found = keras_fpn.SegmentProposals(**many)({"images": images, "image_sizes": sizes})
    counts = found["num_detections"].numpy()
    # Cells inside: 4 x 4, 2 x 2 and 1 of P4, P5, P6; 2 x 3, 1 x 2 and 1, 1, 1.
    assert counts.tolist() == [16 + 4 + 3, 6 + 2 + 3]
    for key in ("boxes", "scores", "masks"):
        for values, count in zip(found[key].numpy(), counts, strict=True):
            assert values[:count].reshape(count, -1).any(axis=1).all() and not values[count:].any()


# Training -------------------------------------------------------------------------------------------------------


def test_losses_are_means_over_samples_and_over_the_pixels_of_positives():
    random = np.random.default_rng(6)
    scores, masks = random.normal(size=(2, 6)), random.normal(size=(2, 6, 3, 3)) * 2
    targets = random.uniform(size=(2, 2, 3, 3)).round()
    positive = np.array([[1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], bool)
    valid = np.array([[1] * 6, [1] * 4 + [0] * 2], bool)
    floats = [tf.constant(value, tf.float32) for value in (scores, masks, targets)]
    losses = segment_losses(*floats, tf.constant(positive), tf.constant(valid), mask_weight=10.0)
    # DeepMask's form: log(1 + exp(-y z)) of labels y of -1 and 1.
    by_score = np.log1p(np.exp(-np.where(positive, 1, -1) * scores))[valid].mean()
    pixels = np.log1p(np.exp(-(2 * targets - 1) * masks[:, :2]))
    by_mask = 10 * np.concatenate([pixels[0, 0], pixels[0, 1], pixels[1, 0]]).mean()
    np.testing.assert_allclose(losses["segment_score_loss"], by_score, rtol=1e-5)
    np.testing.assert_allclose(losses["segment_mask_loss"], by_mask, rtol=1e-5)
    none = segment_losses(*floats, tf.constant(positive & False), tf.constant(valid & False), mask_weight=10.0)
    assert all(float(value) == 0.0 for value in none.values())


@pytest.fixture(scope="module")
def batch(shapes_folder):
    """(inputs, targets) of four images of the embedded data set, with masks."""
    annotations = shapes_folder / "annotations" / "instances_train.json"
    data = load_coco(annotations, shapes_folder / "train", fields=("masks",), batch_size=4, min_side=96, max_side=96)
    return next(iter(data))


@pytest.fixture(scope="module")
def trained(batch):
    """(model, its history of three epochs of eight steps on `batch`)."""
    keras.utils.set_random_seed(1)
    model = keras_fpn.SegmentProposals(**SETTINGS)
    model.compile()
    data = tf.data.Dataset.from_tensors(batch).repeat(8)
    return model, model.fit(data, epochs=3, verbose=0, shuffle=False).history


@pytest.mark.slow
def test_training_lowers_the_losses(trained):
    _, history = trained
    assert sorted(history) == ["loss", "segment_mask_loss", "segment_recall", "segment_score_loss"]
    for name in ("segment_mask_loss", "segment_score_loss"):
        assert history[name][2] < 0.9 * history[name][0]
    np.testing.assert_allclose(
        history["loss"], np.add(history["segment_mask_loss"], history["segment_score_loss"]), rtol=1e-5
    )
    assert 0 <= history["segment_recall"][0] <= 1


@pytest.mark.slow
def test_weights_of_another_scale_are_taken_and_told(trained, tmp_path):
    trained[0].save(tmp_path / "model.keras")
    larger = SETTINGS | {"segments": SETTINGS["segments"] | {"canonical_size": 16.0}}
    transfer = start_from(keras_fpn.SegmentProposals(**larger), tmp_path / "model.keras")
    assert transfer.taken["segment_head"] == (12, 12) and transfer.absent == []
    assert "model.segments.canonical_size=8.0" in transfer.notes[0]


def test_the_same_seed_gives_the_same_losses_and_classes_do_not_matter(model, batch):
    inputs, targets = batch
    seeds = tf.constant([[5, 0], [5, 1]], tf.int64)
    losses, again, other = (model.training_losses(inputs, targets, seeds[index])[0] for index in (0, 0, 1))
    shifted = targets | {"classes": tf.where(targets["classes"] < 0, -1, 99)}
    unclassed, _ = model.training_losses(inputs, shifted, seeds[0])
    for name, value in losses.items():
        assert value == again[name] == unclassed[name] != other[name]


# Bad input and the rest of the house ------------------------------------------------------------------------------


def test_targets_without_masks_are_refused_in_one_line(model, tiny_batch):
    with pytest.raises(UserError, match="targets: hold no masks") as failure:
        model.training_losses(*tiny_batch, tf.constant([0, 0], tf.int64))
    assert "\n" not in str(failure.value)


def test_other_models_have_no_such_stage(tiny_settings):
    with pytest.raises(UserError, match="segments: faster_rcnn has no such stage; leave it out"):
        keras_fpn.FasterRCNN(**tiny_settings(), segments={"units": 8})
    with pytest.raises(UserError, match="anchors: segment_proposals has no such stage"):
        keras_fpn.SegmentProposals(**SETTINGS, anchors={"ratios": [1.0]})


def test_a_configuration_gives_it(model):
    changes = ["model.architecture=segment_proposals", "model.segments.kernel_sizes=[7]", "model.pyramid.channels=128"]
    config = load_config("tiny", changes)
    assert architecture(config.model.architecture) is keras_fpn.SegmentProposals is type(model)
    assert config.model.differences()["segments"] == {"kernel_sizes": [7]}
    built = keras_fpn.SegmentProposals.for_data(None, profile=config.model.profile, **config.model.differences())
    assert [layer.count_params() for layer in built.segment_head.hidden] == [3_211_776]
    with pytest.raises(UserError, match=r"model.segments.kernel_sizes: kernel_sizes must be \[5\], \[7\] or \[5, 7\]"):
        load_config("tiny", [*changes, "model.segments.kernel_sizes=[7, 5]"])
    with pytest.raises(UserError, match="--set model.segments.units: segments: faster_rcnn has no such stage"):
        load_config("tiny", ["model.segments.units=3"])


def test_its_parts_can_be_kept_as_they_are(batch):
    model = keras_fpn.SegmentProposals(**SETTINGS)
    model.freeze(["backbone", "pyramid"])
    assert {id(weight) for weight in model.trainable_variables} == {id(weight) for weight in model.segment_head.weights}
