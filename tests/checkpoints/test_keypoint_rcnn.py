"""Published Keypoint R-CNNs: every tensor in its place and back, and which of two files with the same names one is.

Keys and shapes are those of torchvision 0.29 and detectron2 (golden/make_state_dicts.py), numbers are drawn by name; an
eighth of the channels.
"""

import numpy as np
import pytest

import keras_fpn
from keras_fpn.checkpoints import conversion, published
from keras_fpn.data import coco_keypoints
from tests.checkpoints.layouts import without_counters

EPSILON = "model.backbone.norm_epsilon"


@pytest.fixture(scope="module")
def torchvision_tensors(state_dict):
    return state_dict("torchvision/keypointrcnn_resnet50_fpn")


@pytest.fixture(scope="module")
def torchvision_model(torchvision_tensors, write):
    return conversion.convert(write(torchvision_tensors, "keypointrcnn_resnet50_fpn_coco-fc266e95.safetensors"))


def test_torchvisions_file_there_and_back(torchvision_tensors, torchvision_model):
    model = torchvision_model.model
    assert (model.class_names, model.category_ids) == (("person",), (1,))
    assert model.keypoint_names == coco_keypoints.NAMES and model.skeleton == coco_keypoints.SKELETON
    assert torchvision_model.identity.title == "keypointrcnn_resnet50_fpn"
    back = conversion.to_torchvision(model)
    expected = without_counters(torchvision_tensors)
    assert set(back) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)
    # Of the two rows the first is the background's, and the keypoints have no such row.
    rows = expected["roi_heads.box_predictor.cls_score.bias"]
    np.testing.assert_array_equal(model.box_head.class_logits.bias, rows[::-1])
    scores = expected["roi_heads.keypoint_predictor.kps_score_lowres.weight"]  # in, out, height, width
    np.testing.assert_array_equal(model.keypoint_head.score_lowres.kernel, scores.transpose(2, 3, 1, 0))
    fourth = expected["roi_heads.keypoint_head.6.weight"]
    np.testing.assert_array_equal(model.keypoint_head.convolutions[3].kernel, fourth.transpose(2, 3, 1, 0))


def test_no_figure_is_promised_of_another_network(torchvision_model):
    assert torchvision_model.published is None  # an eighth of the channels
    assert {key for key in torchvision_model.settings if "keypoint" in key} == {"model.keypoint_head.channels"}


@pytest.mark.parametrize(
    ("name", "epsilon", "note"),
    [
        ("keypointrcnn_resnet50_fpn_coco-fc266e95.safetensors", 0.0, None),
        ("keypointrcnn_resnet50_fpn_coco-9f466800.safetensors", 1e-5, None),
        ("keypoints.safetensors", 0.0, "COCO_LEGACY"),
    ],
)
def test_two_files_with_the_same_tensors_are_told_by_their_names(name, epsilon, note, torchvision_tensors, tmp_path):
    kind = published.kind_of("torchvision", torchvision_tensors)
    found = kind.recognise(torchvision_tensors, "resnet50", tmp_path / name)
    assert found.settings.get(EPSILON, 1e-5) == epsilon
    assert not found.notes if note is None else note in found.notes[0]


def test_other_numbers_of_keypoints_are_of_another_training(torchvision_tensors, tmp_path):
    scores = "roi_heads.keypoint_predictor.kps_score_lowres"
    fewer = {f"{scores}.weight": torchvision_tensors[f"{scores}.weight"][:, :5], f"{scores}.bias": np.zeros(5)}
    kind, tensors = published.kind_of("torchvision", torchvision_tensors), torchvision_tensors | fewer
    found = kind.recognise(tensors, "resnet50", tmp_path / "own.safetensors")
    assert EPSILON not in found.settings and "with which torchvision builds" in found.notes[0]
    assert kind._number(tensors) == {"model.keypoint_head.num_keypoints": 5}


def test_detectron2s_file(state_dict, write):
    tensors = state_dict("detectron2/keypoint_rcnn_R_50_FPN")
    converted = conversion.convert(write(tensors, "model_final_04e291.safetensors"))
    model, identity = converted.model, converted.identity
    assert identity.title == "keypoint_rcnn_R_50_FPN" and model.profile == "detectron2"
    assert (model.class_names, model.num_keypoints) == (("person",), 17)
    assert model.settings["roi_losses"]["box_beta"] == 0.5
    assert model.settings["proposals"]["post_nms_top_k_train"] == 1500
    head = model.keypoint_head
    last = tensors["roi_heads.keypoint_head.conv_fcn8.weight"]
    np.testing.assert_array_equal(head.convolutions[7].kernel, last.transpose(2, 3, 1, 0))
    scores = tensors["roi_heads.keypoint_head.score_lowres.weight"]
    np.testing.assert_array_equal(head.score_lowres.kernel, scores.transpose(2, 3, 1, 0))
    # One class: four rows of its own, though they look class-agnostic.
    boxes = tensors["roi_heads.box_predictor.bbox_pred.weight"]
    np.testing.assert_array_equal(model.box_head.box_deltas.kernel, boxes.T)
    assert converted.num_tensors == len(tensors)


def test_a_file_with_masks_too_is_refused(torchvision_tensors, refused):
    assert "is a Mask R-CNN" in refused(torchvision_tensors | {"roi_heads.mask_head.0.0.bias": np.zeros(3, np.float32)})


def test_a_model_of_ones_own_keeps_its_keypoints_in_torchvisions_file(tiny_settings, tmp_path):
    settings = tiny_settings() | {"profile": "torchvision", "backbone": {"name": "resnet18", "width": 16}}
    head = {"conv_layers": 2, "channels": 8}
    names, skeleton = ["tip", "left_foot", "right_foot"], [[0, 1], [0, 2]]
    model = keras_fpn.KeypointRCNN(**settings, keypoint_head=head, keypoint_names=names, skeleton=skeleton)
    conversion.write_torchvision(model, tmp_path / "own.safetensors")
    again = conversion.convert_checkpoint(tmp_path / "own.safetensors")
    assert again.keypoint_names == tuple(names) and again.skeleton == ((0, 1), (0, 2))
    assert again.class_names == model.class_names
    before, after = conversion.to_torchvision(model), conversion.to_torchvision(again)
    assert list(before) == list(after)
    for name, tensor in before.items():
        np.testing.assert_array_equal(after[name], tensor, err_msg=name)
