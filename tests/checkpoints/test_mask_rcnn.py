"""Published Mask R-CNNs: every tensor in its place and back, each file known by its names.

Keys and shapes are those of torchvision 0.29 and detectron2 (golden/make_state_dicts.py), numbers are drawn by name; an
eighth of the channels.
"""

import numpy as np
import pytest

import keras_fpn
from keras_fpn.checkpoints import conversion, published
from keras_fpn.checkpoints.transfer import start_from
from keras_fpn.console.errors import UserError
from tests.checkpoints.layouts import BOXES, SCORES, UNUSED_IDS, without_counters

PREDICTOR = "roi_heads.mask_predictor"
EPSILON = "model.backbone.norm_epsilon"
# The 80 ids that COCO uses, then the background, then the ten that it does not.
ORDER = [id for id in range(1, 91) if id not in UNUSED_IDS] + [0, *UNUSED_IDS]


@pytest.fixture(scope="module")
def v1_tensors(state_dict):
    return state_dict("torchvision/maskrcnn_resnet50_fpn")


@pytest.fixture(scope="module")
def v1(v1_tensors, write):
    return conversion.convert(write(v1_tensors, "maskrcnn_resnet50_fpn_coco-bf2d0c1e.safetensors"))


@pytest.fixture(scope="module")
def v2_tensors(state_dict):
    return state_dict("torchvision/maskrcnn_resnet50_fpn_v2")


@pytest.fixture(scope="module")
def v2(v2_tensors, write):
    return conversion.convert(write(v2_tensors, "v2.safetensors"))


def test_torchvisions_file_is_known_with_its_conventions(v1):
    assert type(v1.model) is keras_fpn.MaskRCNN and v1.identity.title == "maskrcnn_resnet50_fpn"
    # Faster R-CNN's 295 and the twelve of the head.
    assert (v1.config, v1.num_tensors, v1.identity.notes) == ("mask_rcnn_r50_fpn_torchvision", 307, ())
    settings = v1.model.settings
    assert settings["backbone"]["norm_epsilon"] == 0.0 and settings["mask_pasting"]["rule"] == "torchvision"
    assert settings["mask_head"]["background_masks"] == 11 and settings["mask_head"]["pooling_size"] == 14


def test_each_tensor_of_the_head_has_its_place(v1, v1_tensors):
    head = v1.model.mask_head
    third = v1_tensors["roi_heads.mask_head.2.0.weight"]  # (out, in, height, width)
    np.testing.assert_array_equal(head.convolutions[2].kernel, third.transpose(2, 3, 1, 0))
    deconv = v1_tensors[f"{PREDICTOR}.conv5_mask.weight"]  # (in, out, height, width)
    assert head.deconv.kernel.numpy()[1, 0, 5, 3] == deconv[3, 5, 1, 0]
    rows = v1_tensors[f"{PREDICTOR}.mask_fcn_logits.weight"]
    # Row 13 is the stop sign, class 11: nobody ever had id 12.
    np.testing.assert_array_equal(head.mask_logits.kernel.numpy()[0, 0, :, 11], rows[13, :, 0, 0])
    np.testing.assert_array_equal(head.mask_logits.bias, v1_tensors[f"{PREDICTOR}.mask_fcn_logits.bias"][ORDER])


@pytest.mark.parametrize("name", ("v1", "v2"))
def test_there_and_back_is_exact_to_the_bit(name, request):
    tensors = without_counters(request.getfixturevalue(f"{name}_tensors"))
    back = conversion.to_torchvision(request.getfixturevalue(name).model)
    assert back.keys() == tensors.keys()
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(back[key], tensor, err_msg=key, strict=True)


def test_version_2_has_norms_in_the_head_too(v2, v2_tensors):
    model = v2.model
    assert (v2.identity.title, v2.config) == ("maskrcnn_resnet50_fpn_v2", "mask_rcnn_r50_fpn_v2")
    norm = model.mask_head.norms[3]
    assert norm.epsilon == 1e-5 and not model.mask_head.convolutions[3].use_bias
    np.testing.assert_array_equal(norm.moving_variance, v2_tensors["roi_heads.mask_head.3.1.running_var"])


def test_names_of_the_file_that_was_published_first_are_read(v1_tensors, write):
    # torchvision's MaskRCNNHeads renames them when it loads: mask_fcn1 is 0.0.
    old = {}
    for name, tensor in v1_tensors.items():
        for number in range(4):
            name = name.replace(f"mask_head.{number}.0.", f"mask_head.mask_fcn{number + 1}.")
        old[name] = tensor
    assert "roi_heads.mask_head.mask_fcn4.bias" in old
    assert list(published.current_names("torchvision", old)) == list(v1_tensors)
    # detectron2's are called so today.
    assert list(published.current_names("detectron2", old)) == list(old)
    both = old | v1_tensors
    assert set(published.current_names("torchvision", both)) == set(both)


def test_classes_of_ones_own_have_masks_in_their_order(state_dict, write, tmp_path):
    tensors = state_dict("torchvision/maskrcnn_resnet50_fpn")
    for name in (SCORES, f"{PREDICTOR}.mask_fcn_logits"):
        tensors |= {f"{name}.{kind}": tensors[f"{name}.{kind}"][:4] for kind in ("weight", "bias")}
    name = BOXES
    tensors |= {f"{name}.{kind}": tensors[f"{name}.{kind}"][:16] for kind in ("weight", "bias")}
    found = conversion.convert(write(tensors, "own.safetensors"), class_names=["a", "b", "c"])
    bias = tensors[f"{PREDICTOR}.mask_fcn_logits.bias"]
    np.testing.assert_array_equal(found.model.mask_head.mask_logits.bias, bias[[1, 2, 3, 0]])
    assert EPSILON not in found.identity.settings and "with which torchvision builds" in found.identity.notes[0]
    conversion.write_torchvision(found.model, tmp_path / "again.safetensors")
    again = conversion.convert(tmp_path / "again.safetensors")
    assert again.model.class_names == ("a", "b", "c")
    for ours, theirs in zip(again.model.weights, found.model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_detectron2s_file(state_dict, write):
    tensors = state_dict("detectron2/mask_rcnn_R_50_FPN")
    found = conversion.convert(write(tensors, "model_final_a54504.safetensors"))
    model = found.model
    assert (found.identity.title, found.config) == ("mask_rcnn_R_50_FPN", "mask_rcnn_r50_fpn")
    assert found.num_tensors == len(tensors) == 307
    head, name = model.mask_head, "roi_heads.mask_head"
    np.testing.assert_array_equal(head.convolutions[0].bias, tensors[f"{name}.mask_fcn1.bias"])
    np.testing.assert_array_equal(head.deconv.kernel, tensors[f"{name}.deconv.weight"].transpose(2, 3, 1, 0))
    # Contiguous, without a row of the background.
    np.testing.assert_array_equal(head.mask_logits.bias, tensors[f"{name}.predictor.bias"])
    assert model.settings["mask_head"]["background_masks"] == 0
    assert model.settings["mask_targets"]["rule"] == "polygon"


def test_which_file_it_is_and_what_it_reaches(v1_tensors, state_dict, tmp_path):
    deep = state_dict("detectron2/faster_rcnn_R_101_FPN")
    masks = {name: tensor for name, tensor in state_dict("detectron2/mask_rcnn_R_50_FPN").items() if ".mask_" in name}
    predictor = [f"roi_heads.mask_head.predictor.{kind}" for kind in ("weight", "bias")]
    agnostic = deep | masks | {name: masks[name][:1] for name in predictor}
    for source, tensors, backbone, config, figures in (
        ("torchvision", v1_tensors, "resnet50", "mask_rcnn_r50_fpn_torchvision", "box AP 37.9, mask AP 34.6"),
        ("detectron2", deep | masks, "resnet101", "mask_rcnn_r101_fpn", "box AP 42.9, mask AP 38.6 (3x schedule)"),
        ("detectron2", agnostic, "resnet101", "mask_rcnn_r101_fpn", "box AP 42.9, mask AP 38.6 (3x schedule)"),
    ):
        kind = published.kind_of(source, tensors)
        found = kind.recognise(tensors, backbone, tmp_path / "file.pth")
        assert (kind.architecture, found.config, kind.reached[found.config]) == ("mask_rcnn", config, figures)
        assert found.settings.get("model.mask_head.class_agnostic", False) == (tensors is agnostic)
    (note,) = published.kind_of("torchvision", v1_tensors).recognise(v1_tensors, "resnet50", tmp_path / "f.pth").notes
    assert "batch-norm epsilon 0, with which torchvision runs its COCO_V1" in note
    with pytest.raises(UserError, match="f.pth: a Mask R-CNN on MobileNetV3"):
        published.kind_of("torchvision", v1_tensors).recognise(v1_tensors, "mobilenet_v3_large", tmp_path / "f.pth")


def test_training_starts_with_the_masks_of_the_same_classes(tiny_settings, tmp_path):
    head = {"pooling_size": 4, "conv_layers": 1, "channels": 8}
    source = keras_fpn.MaskRCNN(**tiny_settings(), mask_head=head)
    source.mask_head.mask_logits.bias.assign([0.0, 1.0, 2.0, 3.0])
    source.save(tmp_path / "model.keras")
    turned = {"class_names": source.class_names[::-1]}
    model = keras_fpn.MaskRCNN(**tiny_settings() | turned, mask_head=head | {"background_masks": 1})
    assert start_from(model, tmp_path / "model.keras").absent == []
    assert model.mask_head.mask_logits.bias.numpy().tolist() == [3.0, 2.0, 1.0, 0.0, 0.0]
    plain = keras_fpn.FasterRCNN(**tiny_settings())
    assert "mask_head/conv_0/kernel" in start_from(plain, tmp_path / "model.keras").unused
