"""detectron2's ViTDet: its file becomes a model with its conventions, tensor by tensor."""

import numpy as np
import pytest

import keras_fpn
from keras_fpn.checkpoints import conversion
from keras_fpn.checkpoints.entries import entries


@pytest.fixture(scope="module")
def tensors(state_dict):
    return state_dict("detectron2/mask_rcnn_vitdet_b", narrow=False)


@pytest.fixture(scope="module")
def converted(tensors, write):
    return conversion.convert(write(tensors, "vitdet.safetensors"))


def test_it_is_known_with_its_conventions(converted, tensors):
    model, settings = converted.model, converted.model.settings
    assert type(model) is keras_fpn.MaskRCNN and converted.config == "mask_rcnn_vitdet_b"
    assert (converted.identity.title, converted.num_tensors, len(tensors)) == ("mask_rcnn_vitdet_b", 245, 245)
    # configs/common/models/mask_rcnn_vitdet.py and projects/ViTDet/configs/COCO/mask_rcnn_vitdet_b_100ep.py.
    assert settings["backbone"] == {"name": "vit_b", "drop_path": 0.1, "position_side": 14, "map_side": 64}
    assert (settings["pyramid"]["name"], settings["pyramid"]["norm"]) == ("simple_pyramid", "layer_norm")
    assert settings["rpn"]["conv_layers"] == 2
    head = settings["box_head"]
    assert (head["conv_layers"], head["fc_layers"], head["norm"], head["norm_epsilon"]) == (4, 1, "layer_norm", 1e-6)
    assert settings["pixels"]["channel_order"] == "RGB" and settings["resize"]["size_divisor"] == 1024
    assert model.class_names[0] == "person" and len(model.class_names) == 80


def test_each_tensor_comes_back_to_the_bit(converted, tensors):
    found = {entry.name: entry for entry in entries(converted.model, "detectron2")}
    assert found.keys() == tensors.keys()
    for name, entry in found.items():
        np.testing.assert_array_equal(entry.transform.to_source(entry.variable.numpy()), tensors[name], err_msg=name)


def test_a_vit_of_another_size_is_none_of_ours(tensors, write):
    shallow = {name: tensor for name, tensor in tensors.items() if ".blocks.11." not in name}
    with pytest.raises(keras_fpn.UserError, match="its backbone has the blocks of no network here"):
        conversion.convert(write(shallow, "shallow.safetensors"))
