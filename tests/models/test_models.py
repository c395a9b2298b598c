"""Every member of the family through its public door: fit, evaluate, predict, save, reload.

One row a member of `ARCHITECTURES`; a new one needs a row in `MODELS`. What each finds is held against references in
files of its own.
"""

import copy
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.data.segmentations import SIDE
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.models.optimizers import SGD

RPN_LOSSES = ["rpn_objectness_loss", "rpn_box_loss"]
ROI_LOSSES = ["roi_class_loss", "roi_box_loss"]
CASCADE_LOSSES = [f"{name}_{kind}_loss" for name in ("roi", "roi_2", "roi_3") for kind in ("class", "box")]
CASCADE_RECALLS = ["rpn_recall", "roi_recall", "roi_2_recall", "roi_3_recall"]
MASKS = {"mask_head": {"pooling_size": 4, "conv_layers": 1, "channels": 8}, "mask_targets": {"rule": "bitmask"}}
SEGMENTS = {"units": 24, "canonical_size": 8.0, "samples_per_image": 32, "max_detections": 40}
TOWERS = {"dense_head": {"channels": 16, "conv_layers": 1}}
DENSE = TOWERS | {
    "anchors": {"sizes": {f"P{k}": [2.0 ** (k + 1), 2.0 ** (k + 1.5)] for k in range(3, 8)}}, "anchor_targets": {},
}  # fmt: skip
POINTS = {"dense_head": TOWERS["dense_head"] | {"norm_groups": 4}}
KEYPOINTS = {
    "keypoint_head": {"pooling_size": 4, "conv_layers": 1, "channels": 8}, "keypoint_names": ["top", "tip", "foot"],
}  # fmt: skip


def on_one_map(level, **groups):
    """Settings of a detector without a pyramid."""
    anchors = {"sizes": {level: [8.0, 16.0, 32.0, 64.0, 128.0]}}
    return {"pyramid": {"name": "single_scale", "levels": [level]}, "anchors": anchors} | groups


C4 = on_one_map("C4", roi_pooling={"levels": ["C4"], "output_size": 6, "sampling_ratio": 2}, box_head={"name": "conv5"})
DC5 = on_one_map(
    "C5", roi_pooling={"levels": ["C5"], "sampling_ratio": 2},
    backbone={"name": "resnet18", "width": 8, "freeze_at": 0, "norm": "batch_norm", "res5_dilation": 2},
)  # fmt: skip
# {name, and which of its kind: (settings besides the tiny ones, losses, recalls, outputs of its own)}
MODELS = {
    "faster_rcnn": ({}, RPN_LOSSES + ROI_LOSSES, ["rpn_recall", "roi_recall"], {"classes": "int32"}),
    **{
        f"faster_rcnn {name}": (own, RPN_LOSSES + ROI_LOSSES, ["rpn_recall", "roi_recall"], {"classes": "int32"})
        for name, own in {"C4": C4, "DC5": DC5}.items()
    },
    "mask_rcnn": (
        MASKS, [*RPN_LOSSES, *ROI_LOSSES, "mask_loss"], ["rpn_recall", "roi_recall"],
        {"classes": "int32", "masks": "float32"},
    ),
    "keypoint_rcnn": (
        KEYPOINTS, [*RPN_LOSSES, *ROI_LOSSES, "keypoint_loss"], ["rpn_recall", "roi_recall", "keypoint_recall"],
        {"classes": "int32", "keypoints": "float32"},
    ),
    "mask_keypoint_rcnn": (
        MASKS | KEYPOINTS, [*RPN_LOSSES, *ROI_LOSSES, "mask_loss", "keypoint_loss"],
        ["rpn_recall", "roi_recall", "keypoint_recall"],
        {"classes": "int32", "masks": "float32", "keypoints": "float32"},
    ),
    "cascade_rcnn": ({}, RPN_LOSSES + CASCADE_LOSSES, CASCADE_RECALLS, {"classes": "int32"}),
    "cascade_mask_rcnn": (
        MASKS, [*RPN_LOSSES, *CASCADE_LOSSES, "mask_loss"], CASCADE_RECALLS, {"classes": "int32", "masks": "float32"},
    ),
    "fast_rcnn": ({}, ROI_LOSSES, ["roi_recall"], {"classes": "int32"}),
    "retinanet": (DENSE, ["class_loss", "box_loss"], ["class_recall"], {"classes": "int32"}),
    "fcos": (POINTS, ["class_loss", "box_loss", "centerness_loss"], ["class_recall"], {"classes": "int32"}),
    "rpn": ({}, RPN_LOSSES, ["rpn_recall"], {}),
    "segment_proposals": (
        {"segments": SEGMENTS}, ["segment_score_loss", "segment_mask_loss"], ["segment_recall"], {"masks": "float32"},
    ),
}  # fmt: skip
DRAWS_NOTHING = ("retinanet", "fcos")  # learns from all that it could
EVERY = {"boxes": "float32", "scores": "float32", "num_detections": "int32"}


def build(name, tiny_settings, **differences):
    """A new, seeded, compiled tiny model that trains live batch normalisation."""
    architecture = ARCHITECTURES[name.split()[0]]
    known = {*architecture.groups, "seed", "num_classes", "class_names"}
    if not issubclass(architecture.load(), keras_fpn.ClassDetector):
        known -= {"num_classes", "class_names"}
    settings = {key: value for key, value in tiny_settings().items() if key in known}
    settings["backbone"] = settings["backbone"] | {"norm": "batch_norm"}
    if "roi_pooling" in settings:
        settings["roi_pooling"] = settings["roi_pooling"] | {"sampling_ratio": 2}  # quicker to trace
    if "detections" in settings:
        settings["detections"] = settings["detections"] | {"score_threshold": 0.0}
    keras.utils.set_random_seed(1)
    model = architecture.load()(**settings | MODELS[name][0] | differences)
    model.compile(SGD(0.01, global_clipnorm=10.0))
    return model


# Their stages are tested by themselves, and another with a head on detections is always tested.
SLOW = (
    "keypoint_rcnn", "mask_keypoint_rcnn", "cascade_rcnn", "cascade_mask_rcnn", "fcos",
    "faster_rcnn C4", "faster_rcnn DC5",
)  # fmt: skip


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in MODELS], scope="module"
)
def name(request):
    return request.param


@pytest.fixture
def batch(name, tiny_batch):
    """`tiny_batch` with what the model needs besides: given proposals, masks of the objects."""
    inputs, targets = tiny_batch
    if name == "fast_rcnn":
        corners = np.random.default_rng(3).uniform(0, [60, 40], (2, 40, 2))
        proposals = np.concatenate([targets["boxes"], np.concatenate([corners, corners + 24], axis=2)], axis=1)
        inputs = inputs | {"proposals": proposals.astype(np.float32), "num_proposals": np.array([43, 30], np.int32)}
    if name == "segment_proposals":
        masks = np.ones((2, 3, SIDE, SIDE), np.uint8)  # every object fills its box
        targets = targets | {"masks": masks}
    if name.startswith(("mask_", "cascade_mask_")):
        bitmaps = np.zeros((2, 3, 96, 128), np.uint8)
        for image, row in np.argwhere(targets["classes"] >= 0):
            x1, y1, x2, y2 = targets["boxes"][image, row].astype(int)
            bitmaps[image, row, y1:y2, x1:x2] = 1  # the same
        targets = targets | {"bitmaps": bitmaps}
    if name.endswith("keypoint_rcnn"):
        corners = targets["boxes"].reshape(2, 3, 2, 2)
        points = np.stack([corners[:, :, 0], corners.mean(2), corners[:, :, 1]], axis=2)
        visible = np.broadcast_to(np.array([2, 1, 0], np.float32)[:, None], (2, 3, 3, 1))
        targets = targets | {"keypoints": np.concatenate([points, visible], axis=3).astype(np.float32)}
    return inputs, targets


@pytest.fixture(scope="module")
def untrained(name, tiny_settings):
    """Shared: do not train it."""
    return build(name, tiny_settings)


@pytest.fixture(scope="module")
def kept():
    """Kept by `trained` for the tests of one member."""
    return {}


@pytest.fixture
def trained(name, kept, tiny_settings, batch):
    """(model, its history of two steps and a validation), made once for each member. Shared: do not train it."""
    if name not in kept:
        model, dataset = build(name, tiny_settings), tf.data.Dataset.from_tensors(batch)
        kept.clear()
        kept[name] = model, model.fit(dataset.repeat(2), validation_data=dataset, verbose=0).history
    return kept[name]


def same(first, second):
    return list(first) == list(second) and all(
        np.array_equal(np.asarray(first[key]), np.asarray(second[key])) for key in first
    )


def test_every_member_is_here():
    assert {name.split()[0] for name in MODELS} == set(ARCHITECTURES.names())


def test_fit_names_each_loss_and_recall_and_so_does_validation(name, trained):
    _, losses, recalls, _ = MODELS[name]
    history = trained[1]
    names = ["loss", *losses, *recalls]
    assert sorted(history) == sorted([*names, *(f"val_{name}" for name in names)])
    assert all(np.isfinite(values).all() for values in history.values())
    assert history["loss"][0] == pytest.approx(sum(history[loss][0] for loss in losses), rel=1e-5)
    assert all(0 <= history[recall][0] <= 1 for recall in recalls)


def test_evaluate_gives_the_same_losses_twice(trained, batch):
    model, dataset = trained[0], tf.data.Dataset.from_tensors(batch)
    first = model.evaluate(dataset, verbose=0, return_dict=True)
    assert first == model.evaluate(dataset, verbose=0, return_dict=True)


def test_the_same_seed_gives_the_same_losses(name, untrained, batch):
    seeds = tf.constant([[5, 0], [5, 1]], tf.int64)
    losses, again, other = (untrained.training_losses(*batch, seeds[index], False)[0] for index in (0, 0, 1))
    assert same(losses, again) and same(losses, other) == (name in DRAWS_NOTHING)


def test_a_training_step_is_one_forward_pass(name, tiny_settings, batch):
    model, calls = build(name, tiny_settings), []
    parts = [layer for layer in model.layers if layer.weights]
    for layer in parts:
        layer.call = lambda *args, _name=layer.name, _original=layer.call, **kwargs: (
            calls.append(_name) or _original(*args, **kwargs)
        )
    model.train_step(batch)
    assert set(calls) == {layer.name for layer in parts if layer.name != "segment_head"}
    assert len(calls) == len(set(calls))


def test_eager_graph_and_reloaded_model_detect_the_same(trained, batch, tmp_path):
    model, _ = trained
    graph = model.predict(batch[0], verbose=0)
    assert graph["num_detections"].min() > 0
    eager = model({key: tf.constant(value) for key, value in batch[0].items()})
    for key in graph:
        np.testing.assert_allclose(graph[key], eager[key], atol=1e-3, err_msg=key)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(reloaded) is type(model) and reloaded.get_config() == model.get_config()
    assert int(reloaded.optimizer.iterations) == 2
    assert same(graph, reloaded.predict(batch[0], verbose=0))


def test_its_configuration_is_plain_data(untrained):
    again = type(untrained).from_config(json.loads(json.dumps(untrained.get_config())))
    assert again.get_config() == untrained.get_config()


def test_detections_keep_the_contract(name, untrained, batch):
    inputs, _ = batch
    found = {key: np.asarray(value) for key, value in untrained(inputs).items()}
    assert {key: value.dtype.name for key, value in found.items()} == EVERY | MODELS[name][3]
    for row, (height, width) in enumerate(inputs["image_sizes"]):
        count = found["num_detections"][row]
        boxes, scores = found["boxes"][row], found["scores"][row]
        assert 0 < count and (np.diff(scores[:count]) <= 0).all()
        if name != "segment_proposals":  # its windows reach beyond the image
            assert (boxes[:count] >= 0).all() and (boxes[:count] <= [width, height, width, height]).all()
        for key in set(found) - {"num_detections"}:
            assert (found[key][row, count:] == (-1 if key == "classes" else 0)).all(), key


@pytest.mark.parametrize("size", [(97, 131), (64, 33)])
def test_images_without_sizes_are_valid_to_their_edges(untrained, batch, size):
    images = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype(np.float32)
    given = {key: value for key, value in batch[0].items() if key != "image_sizes"} | {"images": images}
    expected = untrained(given | {"image_sizes": np.array([size] * 2, np.int32)})
    assert same(expected, untrained(given))
    if len(given) == 1:
        assert same(expected, untrained(images))


def test_uint8_and_float_images_are_the_same_input(untrained, batch):
    whole = batch[0] | {"images": np.round(batch[0]["images"])}
    assert same(untrained(whole), untrained(whole | {"images": whole["images"].astype(np.uint8)}))


def test_what_lies_in_the_padding_changes_nothing(untrained, batch):
    dirty = batch[0]["images"].copy()
    dirty[1, 80:], dirty[1, :, 90:] = 255.0, np.nan
    assert same(untrained(batch[0]), untrained(batch[0] | {"images": dirty}))


@pytest.mark.parametrize("rows", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_the_loss_of_a_batch_without_objects_is_finite(name, tiny_settings, batch, rows):
    inputs, targets = copy.deepcopy(batch)
    fields = {"boxes", "classes", "is_crowd", "masks", "bitmaps", "keypoints"} & set(targets)
    targets = {key: targets[key][:, :rows] for key in fields}
    targets["classes"][:], targets["boxes"][:] = -1, 0
    model = build(name, tiny_settings)
    with tf.GradientTape() as tape:
        losses, recalls = model.training_losses(inputs, targets, tf.constant([5, 0], tf.int64))
        total = tf.add_n(list(losses.values()))
    assert list(losses) == MODELS[name][1] and list(recalls) == MODELS[name][2]
    assert np.isfinite(list(losses.values())).all()
    assert all(losses[loss] == 0.0 for loss in losses if loss.endswith(("box_loss", "mask_loss", "keypoint_loss")))
    gradients = tape.gradient(total, model.trainable_variables)
    assert all(np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients if gradient is not None)


def test_bfloat16_trains_and_detects_in_float32(name, tiny_settings, batch):
    model = build(name, tiny_settings, dtype="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
    model.compile(SGD(0.01), run_eagerly=True)  # quicker than tracing
    assert np.isfinite(model.train_on_batch(*batch, return_dict=True)["loss"])
    found = model(batch[0])
    assert {key: value.dtype.name for key, value in found.items()} == EVERY | MODELS[name][3]
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}


def test_arrays_of_any_dtype_train(name, tiny_settings, batch):
    inputs, targets = batch
    given = targets | {
        "boxes": targets["boxes"].astype(np.float64),
        "classes": targets["classes"].astype(np.int64),
        "is_crowd": targets["is_crowd"].astype(bool),
    }
    as_given = inputs | {"image_sizes": inputs["image_sizes"].astype(np.int64)}
    model = build(name, tiny_settings)
    model.compile(SGD(0.01), run_eagerly=True)  # quicker than tracing
    losses = [
        model.evaluate(inputs, targets, verbose=0, return_dict=True)["loss"],
        model.evaluate(as_given, given, verbose=0, return_dict=True)["loss"],
        model.test_on_batch(as_given, given, return_dict=True)["loss"],
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
    assert np.isfinite(model.train_on_batch(as_given, given, return_dict=True)["loss"])


def test_compile_refuses_xla(name, tiny_settings):
    with pytest.raises(ValueError, match="jit_compile"):
        build(name, tiny_settings).compile("sgd", jit_compile=True)


OTHERS = ("a part", "a layer", "all but a head", "thawed")


@pytest.mark.parametrize("by_hand", ["after compile", *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)])
@pytest.mark.slow
def test_layers_that_were_frozen_by_hand_stay_so_in_a_file(name, by_hand, tiny_settings, batch, tmp_path):
    frozen = {"name": "resnet18", "width": 8, "norm": "batch_norm", "freeze_at": 2}
    model = build(name, tiny_settings, **({"backbone": frozen} if by_hand == "thawed" else {}))
    head = next(layer for layer in model.layers if layer.name.endswith("head"))
    if by_hand == "a part":
        model.backbone.trainable = False
    elif by_hand == "a layer":
        model.pyramid.layers[-1].trainable = False
    elif by_hand == "all but a head":
        for layer in model.layers:
            layer.trainable = layer is head
    elif by_hand == "thawed":
        model.backbone.trainable = True
    model.compile(SGD(0.01), run_eagerly=True)
    if by_hand == "after compile":
        model.backbone.trainable = False
    model.train_on_batch(*batch)
    model.save(tmp_path / "model.keras")
    again = keras_fpn.load_model(tmp_path / "model.keras")
    assert [one.path for one in again.trainable_variables] == [one.path for one in model.trainable_variables]
    assert int(again.optimizer.iterations) == 1
    for ours, theirs in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(model.twin().trainable_variables) == len(model.trainable_variables)


def test_more_steps_than_told_are_refused(name, tiny_settings, batch):
    model = build(name, tiny_settings)
    model.compile(SGD(0.01), steps_per_execution=3)
    with pytest.raises(ValueError, match="steps_per_epoch=4 is no multiple of steps_per_execution=3"):
        model.fit(tf.data.Dataset.from_tensors(batch).repeat(), steps_per_epoch=4, verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_arrays_that_are_no_pictures_are_told_by_predict(untrained, batch):
    images, image_sizes = batch[0]["images"], batch[0]["image_sizes"]
    broken = images.copy()
    broken[0, 3, 3, 0] = np.nan
    for change, message in (
        ({"images": broken}, "images: hold NaN, infinity"),
        ({"images": images.astype(complex)}, "images: hold NaN, infinity or what is no number"),
        ({"images": images[0]}, r"give a single image as image\[None\]"),
        ({"image_sizes": image_sizes * 0}, r"image_sizes: give height and width of each image"),
        ({"image_sizes": image_sizes * 10}, r"from 1 to \(96, 128\)"),
        ({"image_sizes": image_sizes[0]}, r"image_sizes: give height and width"),
    ):
        with pytest.raises(keras_fpn.UserError, match=message):
            untrained.predict(batch[0] | change, verbose=0)


def test_pictures_with_alpha_and_single_ones_are_told(untrained, batch):
    images = batch[0]["images"]
    with pytest.raises(keras_fpn.UserError, match=r"not 4; of RGBA give images\[..., :3\]"):
        untrained(batch[0] | {"images": np.concatenate([images, images[..., :1]], axis=-1)})
    with pytest.raises(keras_fpn.UserError, match=r"give a single image as image\[None\]"):
        untrained(batch[0] | {"images": images[0]})
