"""Published RetinaNets: every tensor in its place and back, each file known by its names.

Keys and shapes are those of torchvision 0.29 and detectron2 (golden/make_state_dicts.py), numbers are drawn by name; an
eighth of the channels.
"""

import numpy as np
import pytest

import keras_fpn
from keras_fpn.checkpoints import conversion, published
from keras_fpn.checkpoints.transfer import start_from
from keras_fpn.console.errors import UserError
from tests.checkpoints.layouts import UNUSED_IDS, without_counters

SCORES, DELTAS = "head.classification_head.cls_logits", "head.regression_head.bbox_reg"
EPSILON = "model.backbone.norm_epsilon"
# The 80 ids that COCO uses, then 0 and the ten that it does not.
ORDER = [id for id in range(1, 91) if id not in UNUSED_IDS] + [0, *UNUSED_IDS]


@pytest.fixture(scope="module")
def v1_tensors(state_dict):
    return state_dict("torchvision/retinanet_resnet50_fpn")


@pytest.fixture(scope="module")
def v1(v1_tensors, write):
    return conversion.convert(write(v1_tensors, "retinanet_resnet50_fpn_coco-eeacb38b.safetensors"))


@pytest.fixture(scope="module")
def v2_tensors(state_dict):
    return state_dict("torchvision/retinanet_resnet50_fpn_v2")


@pytest.fixture(scope="module")
def v2(v2_tensors, write):
    return conversion.convert(write(v2_tensors, "v2.safetensors"))


def test_torchvisions_file_is_known_with_its_conventions(v1, v1_tensors):
    assert type(v1.model) is keras_fpn.RetinaNet and v1.identity.title == "retinanet_resnet50_fpn"
    assert (v1.config, v1.identity.notes) == ("retinanet_r50_fpn_torchvision", ())
    assert v1.num_tensors == len(without_counters(v1_tensors))
    settings = v1.model.settings
    assert settings["backbone"]["norm_epsilon"] == 0.0 and settings["pyramid"]["top_input"] == "pyramid"
    assert settings["dense_head"]["unused_logits"] == 11 and settings["detections"]["max_detections"] == 300


def test_each_tensor_of_the_head_has_its_place(v1, v1_tensors):
    head = v1.model.dense_head
    third = v1_tensors["head.classification_head.conv.2.0.weight"]  # (out, in, height, width)
    np.testing.assert_array_equal(head.class_tower[2].kernel, third.transpose(2, 3, 1, 0))
    rows = v1_tensors[f"{SCORES}.weight"].reshape(9, 91, -1, 3, 3)
    kernel = head.class_logits.kernel.numpy().reshape(3, 3, -1, 9, 91)
    # Of the fifth anchor row 13 is the stop sign, class 11: nobody ever had id 12.
    np.testing.assert_array_equal(kernel[..., 4, 11], rows[4, 13].transpose(1, 2, 0))
    bias = v1_tensors[f"{SCORES}.bias"].reshape(9, 91)
    np.testing.assert_array_equal(head.class_logits.bias.numpy().reshape(9, 91), bias[:, ORDER])
    np.testing.assert_array_equal(head.regressors[0].bias, v1_tensors[f"{DELTAS}.bias"])
    upper = v1_tensors["backbone.fpn.extra_blocks.p7.weight"]
    np.testing.assert_array_equal(v1.model.pyramid.get_layer("downsample_P7").kernel, upper.transpose(2, 3, 1, 0))


@pytest.mark.parametrize("name", ("v1", "v2"))
def test_there_and_back_is_exact_to_the_bit(name, request):
    tensors = without_counters(request.getfixturevalue(f"{name}_tensors"))
    back = conversion.to_torchvision(request.getfixturevalue(name).model)
    assert back.keys() == tensors.keys()
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(back[key], tensor, err_msg=key, strict=True)


def test_version_2_has_group_norms_and_p6_of_c5(v2, v2_tensors):
    model = v2.model
    assert (v2.identity.title, v2.config) == ("retinanet_resnet50_fpn_v2", "retinanet_r50_fpn_v2")
    norm = model.dense_head.box_norms[3]
    assert (norm.epsilon, norm.groups) == (1e-5, 32) and not model.dense_head.box_tower[3].use_bias
    np.testing.assert_array_equal(norm.gamma, v2_tensors["head.regression_head.conv.3.1.weight"])
    assert model.pyramid.get_layer("downsample_P6").kernel.shape == (3, 3, 256, 32)
    assert model.settings["dense_losses"]["box_loss"] == "giou"


def test_names_of_the_file_that_was_published_first_are_read(v1_tensors, state_dict):
    # torchvision's head renames them when it loads: conv.2 is conv.1.0.
    old = {}
    for name, tensor in v1_tensors.items():
        for number in range(4):
            name = name.replace(f"_head.conv.{number}.0.", f"_head.conv.{2 * number}.")
        old[name] = tensor
    assert "head.regression_head.conv.6.bias" in old
    assert list(published.current_names("torchvision", old)) == list(v1_tensors)
    # The same names are not older ones in a file of another kind.
    other = state_dict("torchvision/fasterrcnn_resnet50_fpn") | {"head.regression_head.conv.6.bias": np.zeros(1)}
    assert list(published.current_names("torchvision", other)) == list(other)


def test_detectron2s_file(state_dict, write):
    tensors = state_dict("detectron2/retinanet_R_50_FPN")
    found = conversion.convert(write(tensors, "model_final_bfca0b.safetensors"))
    model = found.model
    assert (found.identity.title, found.config) == ("retinanet_R_50_FPN", "retinanet_r50_fpn")
    assert found.num_tensors == len(tensors) == 301
    head = model.dense_head
    np.testing.assert_array_equal(head.box_tower[3].bias, tensors["head.bbox_subnet.6.bias"])
    np.testing.assert_array_equal(head.class_logits.bias, tensors["head.cls_score.bias"])  # 9 x 80, in our order
    assert model.settings["dense_head"]["unused_logits"] == 0 and model.settings["pyramid"]["top_input"] == "backbone"
    with pytest.raises(UserError, match="torchvision cannot run this network: .*stride_in"):
        conversion.to_torchvision(model)


def test_the_fcos_of_torchvision_goes_there_and_back(state_dict, write):
    tensors = state_dict("torchvision/fcos_resnet50_fpn")
    found = conversion.convert(write(tensors, "fcos_resnet50_fpn_coco-99b0c9b7.safetensors"))
    assert type(found.model) is keras_fpn.FCOS and found.identity.title == "fcos_resnet50_fpn"
    assert (found.config, found.identity.notes) == ("fcos_r50_fpn", ())
    settings = found.model.settings
    assert settings["backbone"]["norm_epsilon"] == 1e-5 and settings["pyramid"]["top_input"] == "pyramid"
    assert settings["dense_head"].items() >= {"norm": "group_norm", "conv_layers": 4, "unused_logits": 11}.items()
    last = tensors["head.regression_head.conv.9.weight"]
    np.testing.assert_array_equal(found.model.dense_head.box_tower[3].kernel, last.transpose(2, 3, 1, 0))
    expected, back = without_counters(tensors), conversion.to_torchvision(found.model)
    assert back.keys() == expected.keys()
    for key, tensor in expected.items():
        np.testing.assert_array_equal(back[key], tensor, err_msg=key, strict=True)


def test_which_file_it_is_and_what_it_reaches(v1_tensors, v2_tensors, state_dict, tmp_path):
    tensors = state_dict("detectron2/retinanet_R_50_FPN")
    for source, given, backbone, config, figure in (
        ("torchvision", v1_tensors, "resnet50", "retinanet_r50_fpn_torchvision", "box AP 36.4"),
        ("torchvision", v2_tensors, "resnet50", "retinanet_r50_fpn_v2", "box AP 41.5"),
        ("detectron2", tensors, "resnet101", "retinanet_r101_fpn", "box AP 40.4 (3x schedule)"),
    ):
        kind = published.kind_of(source, given)
        found = kind.recognise(given, backbone, tmp_path / "file.pth")
        assert (kind.architecture, found.config, kind.reached[found.config]) == ("retinanet", config, figure)
    (note,) = published.kind_of("torchvision", v1_tensors).recognise(v1_tensors, "resnet50", tmp_path / "f.pth").notes
    assert "batch-norm epsilon 0, with which torchvision runs its COCO_V1" in note
    with pytest.raises(UserError, match="f.pth: a RetinaNet on MobileNetV3"):
        published.kind_of("torchvision", v1_tensors).recognise(v1_tensors, "mobilenet_v3_large", tmp_path / "f.pth")


def own(tensors, rows):
    """The tensors with so many rows for an anchor."""
    cut = {kind: tensors[f"{SCORES}.{kind}"] for kind in ("weight", "bias")}
    cut = {kind: value.reshape(9, 91, *value.shape[1:])[:, :rows] for kind, value in cut.items()}
    return tensors | {f"{SCORES}.{kind}": value.reshape(-1, *value.shape[2:]) for kind, value in cut.items()}


@pytest.mark.parametrize("rows", [3, 4])
def test_classes_of_ones_own_are_counted_from_0_or_from_1(rows, v1_tensors, write, tmp_path):
    """torchvision's RetinaNet has no background: its users leave row 0 free, or do not."""
    tensors = own(v1_tensors, rows)
    found = conversion.convert(write(tensors, f"own{rows}.safetensors"), class_names=["a", "b", "c"])
    bias = tensors[f"{SCORES}.bias"].reshape(9, rows)
    order = [0, 1, 2] if rows == 3 else [1, 2, 3, 0]
    np.testing.assert_array_equal(found.model.dense_head.class_logits.bias.numpy().reshape(9, rows), bias[:, order])
    assert EPSILON not in found.identity.settings and "with which torchvision builds" in found.identity.notes[0]
    conversion.write_torchvision(found.model, tmp_path / "again.safetensors")
    again = conversion.convert(tmp_path / "again.safetensors")
    assert again.model.class_names == ("a", "b", "c")
    for ours, theirs in zip(again.model.weights, found.model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_classes_that_disagree_are_told(v1_tensors, write):
    for tensors, names, message in (
        (own(v1_tensors, 5), None, "its predictor has 5 rows for an anchor, those of COCO have 91; name the classes"),
        (own(v1_tensors, 5), ["a", "b"], "--classes names 2 classes, but its predictor has 5 rows for an anchor"),
        (v1_tensors | {f"{SCORES}.bias": np.zeros(818, np.float32)}, None, "the predictors disagree: .* has 36 rows"),
    ):
        with pytest.raises(UserError, match=message) as told:
            conversion.convert(write(tensors, "wrong.safetensors"), class_names=names)
        assert "\n" not in str(told.value)


def test_training_starts_with_the_same_classes_of_every_anchor(tmp_path):
    tiny = {
        "backbone": {"name": "resnet18", "width": 8, "freeze_at": 0},
        "pyramid": {"channels": 16},
        "dense_head": {"channels": 16, "conv_layers": 1},
    }
    source = keras_fpn.RetinaNet(3, class_names=["a", "b", "c"], **tiny)
    bias = source.dense_head.class_logits.bias
    bias.assign(np.arange(27, dtype=np.float32))
    source.save(tmp_path / "source.keras")
    head = tiny["dense_head"] | {"unused_logits": 1}
    model = keras_fpn.RetinaNet(3, class_names=["c", "a", "b"], **tiny | {"dense_head": head})
    start_from(model, weights=tmp_path / "source.keras")
    taken = model.dense_head.class_logits.bias.numpy().reshape(9, 4)
    np.testing.assert_array_equal(taken[:, :3], np.arange(27).reshape(9, 3)[:, [2, 0, 1]])
    np.testing.assert_allclose(taken[:, 3], -4.59512, rtol=1e-5)  # as it began
