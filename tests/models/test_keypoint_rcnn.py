"""Keypoint R-CNN: its keypoints by number, name and skeleton, and what its stage adds to the detections."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.data import coco_keypoints
from keras_fpn.ops import keypoints

HEAD = {"pooling_size": 4, "conv_layers": 1, "channels": 8}


def build(tiny_settings, **differences):
    keras.utils.set_random_seed(3)
    settings = tiny_settings() | {"keypoint_head": HEAD, "num_classes": 1, "class_names": ["person"]}
    return keras_fpn.KeypointRCNN(**settings | differences)


@pytest.fixture(scope="module")
def person(tiny_settings):
    """Shared, of 17 keypoints: do not train it."""
    return build(tiny_settings, detections={"max_detections": 10, "score_threshold": 0.0})


def data_set(**field):
    fields = {"keypoints": types.SimpleNamespace(**field)} if field else {}
    return types.SimpleNamespace(class_names=["bird"], category_ids=[3], fields=fields)


def test_without_names_they_are_those_of_a_person(person):
    assert person.num_keypoints == 17 and person.keypoint_names == coco_keypoints.NAMES
    assert person.skeleton == coco_keypoints.SKELETON
    field = person.output_fields[-1]
    assert (field.names, field.skeleton, field.offset) == (coco_keypoints.NAMES, coco_keypoints.SKELETON, 0.5)
    assert [each.offset for each in person.object_fields] == [0.5]


def test_keypoints_of_a_data_set_are_in_the_models_file(tiny_settings, tmp_path):
    settings = {key: value for key, value in tiny_settings().items() if key not in ("num_classes", "class_names")}
    data = data_set(names=("beak", "left_wing", "right_wing", "tail"), skeleton=((0, 3), (1, 2)), of_classes=((0, 3),))
    model = keras_fpn.KeypointRCNN.for_data(data, profile="torchvision", keypoint_head=HEAD, **settings)
    assert model.class_names == ("bird",) and model.num_keypoints == 4
    assert model.keypoint_head.score_lowres.filters == 4
    model.save(tmp_path / "model.keras")
    again = keras_fpn.load_model(tmp_path / "model.keras")
    assert again.keypoint_names == ("beak", "left_wing", "right_wing", "tail") and again.skeleton == ((0, 3), (1, 2))
    assert again.settings["keypoint_places"]["offset"] == 0.0 and again.output_fields[-1].offset == 0.0
    assert [each.offset for each in again.object_fields] == [0.0]
    assert [list(points) for points in again.output_fields[-1].of_classes] == [[0, 3]]
    data = data_set(names=("a", "b"), skeleton=(), of_classes=((0, 1),))
    plain = type(model).for_data(data, keypoint_head=HEAD, **settings)
    assert plain.settings["keypoint_places"]["of_classes"] is None and plain.output_fields[-1].skeletons is None
    data = data_set(names=("a", "b"), skeleton=((0, 1),), of_classes=((0, 1),), skeletons=(((1, 0),),))
    own = type(model).for_data(data, keypoint_head=HEAD, **settings)
    assert type(model).from_config(own.get_config()).output_fields[-1].skeletons == (((1, 0),),)


def test_annotations_with_other_keypoints_are_refused(person, tiny_settings):
    person.check_fields(data_set(names=coco_keypoints.NAMES).fields, "a.json")
    person.check_fields({}, "a.json")
    unnamed = build(tiny_settings, num_keypoints=2)
    unnamed.check_fields(data_set(names=("head", "tail")).fields, "a.json")
    turned = coco_keypoints.NAMES[::-1]
    for model, names in ((person, turned), (person, ("head", "tail")), (unnamed, turned)):
        with pytest.raises(UserError, match=r"^a.json: its keypoints \[.* are not the model's \[.*; use annotations"):
            model.check_fields(data_set(names=names).fields, "a.json")


def test_numbers_without_names_and_what_does_not_fit(tiny_settings):
    model = build(tiny_settings, num_keypoints=2)
    assert model.keypoint_names == ("0", "1") and model.skeleton == ()
    with pytest.raises(UserError, match=r"num_keypoints: 3, and keypoint_places.names has 2"):
        build(tiny_settings, num_keypoints=3, keypoint_names=["a", "b"])
    with pytest.raises(UserError, match=r"^keypoint_places: skeleton: \[0, 2\] has others than the 2 names"):
        build(tiny_settings, keypoint_names=["a", "b"], skeleton=[[0, 2]])
    with pytest.raises(UserError, match="of_classes: lists of 2 classes, and the model has 1"):
        build(tiny_settings, keypoint_places={"of_classes": [[0], [1]]})
    with pytest.raises(UserError, match="skeletons: lists of 2 classes, and the model has 1; give .* all then have"):
        build(tiny_settings, keypoint_places={"skeletons": [[], [[0, 1]]]})
    with pytest.raises(UserError, match="^keypoint_head: expected keys below it"):
        build(tiny_settings, keypoint_head=3)
    with pytest.raises(UserError, match="num_keypoints: 5, and the data set has 2"):
        data = data_set(names=("a", "b"), skeleton=(), of_classes=((0, 1),))
        keras_fpn.KeypointRCNN.for_data(data, keypoint_head=HEAD | {"num_keypoints": 5})


def test_places_are_those_of_the_heat_maps_over_the_detections(person, tiny_batch):
    inputs, _ = tiny_batch
    _, features, state = person.steps(inputs)[-1]
    found, stage = state["detections"], person.stages[-1]
    number = int(found["num_detections"][0])
    assert number > 1
    logits = stage.heat_maps(features, found["boxes"])
    expected = keypoints.decode(logits[0, :number], found["boxes"][0, :number])
    np.testing.assert_allclose(found["keypoints"][0, :number], expected, atol=1e-3)
    x, y, _ = np.moveaxis(found["keypoints"][0, :number].numpy(), -1, 0)
    x1, y1, x2, y2 = (side[:, None] for side in np.moveaxis(found["boxes"][0, :number].numpy(), -1, 0))
    assert ((x > x1) & (x < np.maximum(x2, x1 + 1))).all() and ((y > y1) & (y < np.maximum(y2, y1 + 1))).all()


def test_no_head_runs_on_padding(person, tiny_batch):
    """An image's keypoints do not depend on how many detections its neighbours have, nor on there being any."""
    _, features, state = person.steps(tiny_batch[0])[-1]
    found, stage = state["detections"], person.stages[-1]
    counts = []
    original = stage.keypoint_head.call
    stage.keypoint_head.call = lambda crops: counts.append(int(tf.shape(crops)[1])) or original(crops)
    try:
        fewer = stage.keypoints(features, found | {"num_detections": tf.constant([2, 1])}).numpy()
        none = stage.keypoints(features, found | {"num_detections": tf.constant([0, 0])}).numpy()
    finally:
        stage.keypoint_head.call = original
    assert counts == [2, 1]
    np.testing.assert_allclose(fewer[0, :2], found["keypoints"][0, :2], atol=1e-3)
    assert fewer[1, 0].any() and not fewer[0, 2:].any() and not fewer[1, 1:].any() and not none.any()
    assert none.shape == found["keypoints"].shape


def test_masks_and_keypoints_of_the_same_detections(person, tiny_settings, tiny_batch):
    """The keypoints are those that the model without masks places, given its weights."""
    settings = tiny_settings() | {"keypoint_head": HEAD, "num_classes": 1, "class_names": ["person"]}
    settings["detections"] = {"max_detections": 10, "score_threshold": 0.0}
    both = keras_fpn.MaskKeypointRCNN(**settings, mask_head={"pooling_size": 4, "conv_layers": 1, "channels": 8})
    assert [field.name for field in both.output_fields] == ["boxes", "scores", "classes", "masks", "keypoints"]
    assert both.loss_names[-2:] == ("mask_loss", "keypoint_loss")
    for name, part in person.parts.items():
        both.parts[name].set_weights(part.get_weights())
    found, expected = both(tiny_batch[0]), person(tiny_batch[0])
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-3, err_msg=name)
    assert found["masks"].shape == (2, 10, 8, 8)
