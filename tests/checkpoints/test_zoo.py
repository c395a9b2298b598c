"""detectron2's zoo beyond ResNets with a pyramid: narrow models, converted, against detectron2 (golden/make_zoo.py).

The weights are drawn by name and written as a checkpoint file; what a model is, its tensors tell.
"""

import importlib
import json
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.checkpoints import conversion, detectron2, variables
from keras_fpn.checkpoints.recognition import recognise
from keras_fpn.config.loading import load_config
from tests.checkpoints.layouts import unfolded

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
LOSSES = {
    "loss_rpn_cls": "rpn_objectness_loss", "loss_rpn_loc": "rpn_box_loss", "loss_cls": "roi_class_loss",
    "loss_box_reg": "roi_box_loss",
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn():
    """The module that draws checkpoints and pictures."""
    sys.path.insert(0, str(GOLDEN))
    yield importlib.import_module("drawn_checkpoints")
    sys.path.remove(str(GOLDEN))


@pytest.fixture(
    scope="module",
    params=("faster_rcnn_X_101_32x8d_FPN_3x", "faster_rcnn_R_50_DC5_1x", "faster_rcnn_R_50_C4_1x"),
)
def case(request, golden, drawn, tmp_path_factory):
    """`(what was kept, tensors, the converted model, its inputs, its targets)` of a model of the zoo."""
    kept = golden(f"zoo_{request.param}").arrays
    tensors = drawn.tensors(json.loads(str(kept["recipe"])))
    pictures = json.loads(str(kept["pictures"]))
    path = tmp_path_factory.mktemp("zoo") / "model_final.npz"
    np.savez(path, **tensors)
    found = conversion.convert(path, overrides=[*_every_sample(pictures["samples"])])
    path.unlink()
    return kept, tensors, found.model, *_batch(drawn, pictures, found.model)


def _every_sample(samples):
    """Settings with which as many are sampled as there are, and no draw decides."""
    for group, number in zip(("anchor_targets", "roi_targets"), (samples["anchors"], samples["rois"]), strict=True):
        yield f"model.{group}.samples_per_image={number}"
        yield f"model.{group}.positive_fraction=1.0"


def _batch(drawn, pictures, model):
    sizes, divisor = list(pictures["sizes"].values()), model.settings["resize"]["size_divisor"]
    height, width = (-(-max(side) // divisor) * divisor for side in zip(*sizes, strict=True))
    images = np.zeros((len(sizes), height, width, 3), np.uint8)
    for image, (name, size) in zip(images, pictures["sizes"].items(), strict=True):
        image[: size[0], : size[1]] = drawn.picture(name, *size)
    most = max(len(boxes) for boxes, _ in pictures["truth"])
    boxes = np.zeros((len(sizes), most, 4), np.float32)
    classes = np.full((len(sizes), most), -1, np.int32)
    for index, (own, numbers) in enumerate(pictures["truth"]):
        boxes[index, : len(own)], classes[index, : len(own)] = own, numbers
    inputs = {"images": tf.constant(images), "image_sizes": tf.constant(sizes, tf.int32)}
    return inputs, {"boxes": tf.constant(boxes), "classes": tf.constant(classes)}


@pytest.fixture(scope="module")
def stages(case):
    """`(proposing stage, classifying stage, features, state once all have run)`."""
    _, _, model, inputs, _ = case
    (propose, features, _), (classify, _, state) = model.steps(inputs)
    return propose, classify, features, state


@pytest.mark.parametrize(
    ("name", "config", "figures"),
    [
        ("faster_rcnn_X_101_32x8d_FPN", "faster_rcnn_x101_fpn", "box AP 43.0 (3x schedule)"),
        ("faster_rcnn_R_50_DC5", "faster_rcnn_r50_dc5", "box AP 37.3 (1x schedule) or 39.0 (3x)"),
        ("faster_rcnn_R_50_C4", "faster_rcnn_r50_c4", "box AP 35.7 (1x schedule) or 38.4 (3x)"),
    ],
)
def test_which_file_it_is_and_what_it_reaches(name, config, figures, tmp_path):
    """Of the published layout (golden/make_state_dicts.py), which is the configuration's in every size."""
    layout = json.loads((GOLDEN / "state_dicts.json").read_text())[f"detectron2/{name}"]
    shapes = {f"{module}.{last}": shape for module, stored in layout for last, shape in unfolded(stored)}
    tensors = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    kind, found = recognise(detectron2, tensors, tmp_path / "model_final.pkl")
    assert (found.architecture, found.title, found.config) == ("faster_rcnn", name, config)
    assert kind.reached[config] == figures and found.notes == ()
    model = load_config(config).model.groups()
    for key, value in found.settings.items():
        _, group, setting = key.split(".")
        assert model[group][setting] == value, key


def close(drawn, kept, key, ours, bound=1e-4, most="most"):
    difference = drawn.relative_difference(drawn.kept_slice(np.asarray(ours), int(kept[most])), kept[key])
    assert difference < bound, (key, difference)


def test_every_tensor_is_in_its_place_and_goes_back(case):
    _, tensors, model, *_ = case
    back = variables.written(detectron2.entries(model))
    assert set(back) == set(tensors)
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, tensors[name], err_msg=name)


def test_the_maps_of_the_backbone_are_the_same(case, drawn):
    kept, _, model, inputs, _ = case
    taps = model.backbone(model.pixels(inputs["images"], inputs["image_sizes"]))
    compared = [key for key in taps if f"taps/{key}" in kept]
    assert compared
    for level in compared:
        close(drawn, kept, f"taps/{level}", taps[level])


def test_the_rpn_says_the_same(case, drawn, stages):
    kept, _, _, inputs, _ = case
    propose, _, features, _ = stages
    scored = propose.score_anchors(features, inputs)
    for index, level in enumerate(scored["objectness"]):
        close(drawn, kept, f"objectness/{index}", scored["objectness"][level])
        close(drawn, kept, f"rpn_deltas/{index}", scored["deltas"][level])
    assert f"objectness/{index + 1}" not in kept


def test_proposals_are_the_same_in_the_same_order(case, stages):
    """But for those whose logits are within 1e-5 of each other, as near as the two sides' rounding."""
    kept, found = case[0], stages[-1]["proposals"]
    for image, number in enumerate(found["num_proposals"].numpy()):
        theirs, logits = kept[f"proposals/{image}/boxes"], kept[f"proposals/{image}/logits"]
        assert number == len(theirs)
        difference = np.abs(found["boxes"].numpy()[image, :number, None] - theirs).max(axis=-1)
        places = np.where(np.abs(logits[:, None] - logits) <= 1e-5, difference, np.inf).argmin(axis=0)
        np.testing.assert_array_equal(np.sort(places), np.arange(number))
        np.testing.assert_allclose(found["boxes"].numpy()[image, places], theirs, atol=0.01)
        np.testing.assert_allclose(found["scores"].numpy()[image, places], logits, atol=1e-4)


def test_the_head_says_the_same_of_their_proposals(case, drawn, stages):
    kept, (_, classify, features, _) = case[0], stages
    boxes = [kept[f"proposals/{image}/boxes"] for image in range(2)]
    most = max(map(len, boxes))
    padded = tf.constant(np.stack([np.pad(own, [(0, most - len(own)), (0, 0)]) for own in boxes]))
    for key, said in zip(("class_logits", "box_deltas"), classify.classify(features, padded), strict=True):
        own = np.concatenate([said.numpy()[image, : len(rois)] for image, rois in enumerate(boxes)])
        close(drawn, kept, key, own)


def test_detections_are_the_same(case, stages):
    kept, found = case[0], stages[-1]["detections"]
    for image, number in enumerate(found["num_detections"].numpy()):
        theirs = {key: kept[f"detections/{image}/{key}"] for key in ("boxes", "scores", "classes")}
        assert number == len(theirs["scores"]) > 50
        np.testing.assert_array_equal(found["classes"][image, :number], theirs["classes"])
        np.testing.assert_allclose(found["scores"][image, :number], theirs["scores"], atol=1e-4)
        np.testing.assert_allclose(found["boxes"][image, :number], theirs["boxes"], atol=0.01)


def test_the_model_comes_back_from_its_file(case, stages, tmp_path):
    _, _, model, inputs, _ = case
    model.save(tmp_path / "model.keras")
    again = keras_fpn.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    for key, value in again(inputs).items():
        np.testing.assert_array_equal(value, stages[-1]["detections"][key], err_msg=key)


def test_losses_and_gradients_of_a_training_step_are_the_same(case, drawn):
    kept, _, model, inputs, targets = case
    losses, _ = model.training_losses(inputs, targets, tf.constant([1, 2], tf.int64))
    for theirs, ours in LOSSES.items():
        np.testing.assert_allclose(losses[ours], kept[f"losses/{theirs}"], rtol=1e-4, err_msg=ours)
    # In float32 rounding decides which ReLUs of a deep network open.
    model = model.twin("float64")
    with tf.GradientTape() as tape:
        losses, _ = model.training_losses(inputs, targets, tf.constant([1, 2], tf.int64))
        total = tf.add_n(list(losses.values()))
    entries = {id(entry.variable): entry for entry in detectron2.entries(model)}
    gradients = tape.gradient(total, model.trainable_variables)
    compared = []
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        entry = entries[id(variable)]
        theirs = entry.transform.to_source(gradient.numpy())
        close(drawn, kept, f"gradients/{entry.name}", theirs, most="most_of_gradients")
        compared.append(f"gradients/{entry.name}")
    assert sorted(compared) == sorted(key for key in kept if key.startswith("gradients/"))
