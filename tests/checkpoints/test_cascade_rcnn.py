"""detectron2's Cascade R-CNNs: every tensor of each head in its place and back, each file known by its names.

Keys and shapes are detectron2's (golden/make_state_dicts.py), numbers are drawn by name; an eighth of the channels.
"""

import numpy as np
import pytest

import keras_fpn
from keras_fpn.checkpoints import conversion, detectron2, published, variables
from keras_fpn.console.errors import UserError
from tests.checkpoints.layouts import BOXES


@pytest.fixture(scope="module")
def tensors(state_dict):
    return state_dict("detectron2/cascade_mask_rcnn_R_50_FPN")


def without_masks(tensors):
    return {name: tensor for name, tensor in tensors.items() if ".mask_" not in name}


def test_every_tensor_is_in_its_place_and_goes_back(tensors, write, tmp_path):
    found = conversion.convert(write(tensors, "model_final_e9d89b.safetensors"))
    model = found.model
    assert type(model) is keras_fpn.CascadeMaskRCNN
    assert (found.identity.title, found.config) == ("cascade_mask_rcnn_R_50_FPN", "cascade_mask_rcnn_r50_fpn")
    assert found.num_tensors == len(tensors) == 323
    for number, head in enumerate((model.box_head, model.box_head_2, model.box_head_3)):
        body, last = f"roi_heads.box_head.{number}", f"roi_heads.box_predictor.{number}"
        np.testing.assert_array_equal(head.fc1.bias, tensors[f"{body}.fc1.bias"])
        np.testing.assert_array_equal(head.fc2.kernel, tensors[f"{body}.fc2.weight"].T)
        np.testing.assert_array_equal(head.class_logits.bias, tensors[f"{last}.cls_score.bias"])
        np.testing.assert_array_equal(head.box_deltas.kernel, tensors[f"{last}.bbox_pred.weight"].T)
    back = variables.written(detectron2.entries(model))
    assert set(back) == set(tensors)
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, tensors[name], err_msg=name)
    with pytest.raises(UserError, match="torchvision has no counterpart"):
        conversion.write_torchvision(model, tmp_path / "theirs.safetensors")


def test_which_file_it_is_and_what_it_reaches(tensors, tmp_path):
    kind = published.kind_of("detectron2", tensors)
    found = kind.recognise(tensors, "resnet50", tmp_path / "file.pkl")
    assert kind.architecture == "cascade_mask_rcnn" and found.settings["model.box_head.units"] == 128
    assert kind.reached[found.config] == "box AP 42.1, mask AP 36.4 (1x schedule) or 44.3, 38.5 (3x)"
    deep = kind.recognise(tensors, "resnet101", tmp_path / "file.pkl")
    assert deep.title == "cascade_mask_rcnn_R_101_FPN" and deep.settings["model.backbone.name"] == "resnet101"
    kind = published.kind_of("detectron2", without_masks(tensors))
    found = kind.recognise(tensors, "resnet50", tmp_path / "file.pkl")
    assert (kind.architecture, found.title, found.config) == (
        "cascade_rcnn", "cascade_rcnn_R_50_FPN", "cascade_rcnn_r50_fpn",
    )  # fmt: skip


def test_one_box_for_all_classes_is_told_by_the_file(state_dict, tmp_path):
    """detectron2's CLS_AGNOSTIC_BBOX_REG: four rows of boxes, whatever the classes."""
    plain = state_dict("detectron2/faster_rcnn_R_50_FPN")
    kind, names = published.kind_of("detectron2", plain), (None, {}, tmp_path / "file.pkl", False)
    agnostic = plain | {f"{BOXES}.bias": np.zeros(4, np.float32)}
    assert "model.box_head.class_agnostic_boxes" not in kind.classes(detectron2, plain, *names)[1]
    assert kind.classes(detectron2, agnostic, *names)[1]["model.box_head.class_agnostic_boxes"] is True


def test_what_does_not_fit_is_told(tensors, write):
    lacking = {name: tensor for name, tensor in tensors.items() if "box_head.2." not in name}
    path = write(lacking, "lacking.safetensors")
    with pytest.raises(UserError) as error:
        conversion.convert(path)
    assert "roi_heads.box_head.2.fc1.{weight,bias}" in str(error.value) and "\n" not in str(error.value)
