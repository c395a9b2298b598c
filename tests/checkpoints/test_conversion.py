"""Published checkpoints become models: every tensor in its place, and a wrong file told in one line.

Keys and shapes are those of torchvision 0.29 and detectron2 (golden/make_state_dicts.py), numbers are drawn by name.
Most files here have an eighth of the channels: the layout is the same and the widths are read from the shapes.
"""

import errno
import json

import keras
import numpy as np
import pytest

import keras_fpn
from keras_fpn.checkpoints import conversion, published, recognition
from keras_fpn.checkpoints.class_names import read_class_names
from keras_fpn.checkpoints.files import read_checkpoint
from keras_fpn.console.errors import UserError
from tests.checkpoints.layouts import BOXES, SCORES, UNUSED_IDS, without_counters


@pytest.fixture(scope="module")
def r50_tensors(state_dict):
    return state_dict("torchvision/fasterrcnn_resnet50_fpn")


@pytest.fixture(scope="module")
def r50(r50_tensors, write):
    return conversion.convert_checkpoint(write(r50_tensors, "r50.safetensors"))


@pytest.fixture(scope="module")
def v2_tensors(state_dict):
    return state_dict("torchvision/fasterrcnn_resnet50_fpn_v2")


@pytest.fixture(scope="module")
def v2(v2_tensors, write):
    return conversion.convert(write(v2_tensors, "v2.safetensors"))


@pytest.fixture(scope="module")
def mobilenet_tensors(state_dict):
    return state_dict("torchvision/fasterrcnn_mobilenet_v3_large_fpn")


@pytest.fixture(scope="module")
def mobilenet(mobilenet_tensors, write):
    return conversion.convert(write(mobilenet_tensors, "best.safetensors"))


@pytest.fixture(scope="module")
def detectron2_tensors(state_dict):
    return state_dict("detectron2/faster_rcnn_R_50_FPN")


@pytest.fixture(scope="module")
def detectron2_r50(detectron2_tensors, write):
    return conversion.convert(write(detectron2_tensors, "d2.safetensors"))


# Every tensor in its place ---------------------------------------------------------------------------------------


def test_torchvision_is_recognised_with_its_conventions(r50):
    assert (r50.settings["backbone"]["name"], r50.settings["backbone"]["norm_epsilon"]) == ("resnet50", 0.0)
    assert r50.settings["roi_pooling"]["aligned"] is False
    assert r50.settings["pixels"]["channel_order"] == "RGB"
    assert r50.backbone.get_layer("stem_norm").epsilon == 0.0


def test_a_convolution_is_transposed_and_a_norm_is_not(r50, r50_tensors):
    kernel = r50.backbone.get_layer("res3_0_shortcut_conv").kernel.numpy()
    theirs = r50_tensors["backbone.body.layer2.0.downsample.0.weight"]  # (out, in, 1, 1)
    assert kernel[0, 0, 5, 3] == theirs[3, 5, 0, 0]
    stem = r50.backbone.get_layer("stem_conv").kernel.numpy()
    assert stem[1, 2, 0, 7] == r50_tensors["backbone.body.conv1.weight"][7, 0, 1, 2]
    norm = r50.backbone.get_layer("res5_2_norm3")
    for ours, name in zip(
        (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance),
        ("weight", "bias", "running_mean", "running_var"),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, r50_tensors[f"backbone.body.layer4.2.bn3.{name}"])


def test_pyramid_counts_from_the_finest_level(r50, r50_tensors):
    bias = r50.pyramid.get_layer("output_P2").bias
    np.testing.assert_array_equal(bias, r50_tensors["backbone.fpn.layer_blocks.0.0.bias"])
    bias = r50.pyramid.get_layer("lateral_C5").bias
    np.testing.assert_array_equal(bias, r50_tensors["backbone.fpn.inner_blocks.3.0.bias"])


def test_first_linear_layer_reads_the_crop_as_torch_flattens_it(r50, r50_tensors, draws):
    crop = draws.normal("crop", (3, 7, 7, 32))
    weight, bias = (r50_tensors[f"roi_heads.box_head.fc6.{name}"] for name in ("weight", "bias"))
    expected = np.maximum(crop.transpose(0, 3, 1, 2).reshape(3, -1) @ weight.T + bias, 0)  # channels first, ReLU
    np.testing.assert_allclose(r50.box_head.fc1(crop.reshape(3, -1)), expected, atol=1e-4)


def test_ninety_one_rows_become_eighty_classes_the_background_and_ten_unused(r50, r50_tensors):
    assert (r50.num_classes, len(r50.class_names)) == (80, 80)
    # fpn.md: id 12 was never used, so row 13, the stop sign, is class 11.
    assert (r50.class_names[11], r50.category_ids[11]) == ("stop sign", 13)
    assert (r50.class_names[-1], r50.category_ids[-1]) == ("toothbrush", 90)
    assert not set(r50.category_ids) & set(UNUSED_IDS)
    order = [*r50.category_ids, 0, *UNUSED_IDS]
    np.testing.assert_array_equal(r50.box_head.class_logits.bias, r50_tensors[f"{SCORES}.bias"][order])
    boxes = r50_tensors[f"{BOXES}.weight"].reshape(91, 4, -1)[order].reshape(364, -1)
    np.testing.assert_array_equal(r50.box_head.box_deltas.kernel, boxes.T)


def test_softmax_is_that_of_all_ninety_one_rows(r50, r50_tensors, draws):
    hidden = draws.normal("hidden", (2, 128))
    theirs = hidden @ r50_tensors[f"{SCORES}.weight"].T + r50_tensors[f"{SCORES}.bias"]
    theirs = np.exp(theirs) / np.exp(theirs).sum(1, keepdims=True)
    ours = keras.ops.softmax(r50.box_head.class_logits(hidden)).numpy()
    np.testing.assert_allclose(ours[:, :80], theirs[:, list(r50.category_ids)], rtol=1e-5)
    np.testing.assert_allclose(ours[:, 80], theirs[:, 0], rtol=1e-5)


@pytest.mark.parametrize("name", ("r50", "v2", "mobilenet"))
def test_there_and_back_is_exact_to_the_bit(name, request):
    tensors = without_counters(request.getfixturevalue(f"{name}_tensors"))
    model = request.getfixturevalue(name)
    back = conversion.to_torchvision(getattr(model, "model", model))
    assert back.keys() == tensors.keys()
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(back[key], tensor, err_msg=key, strict=True)


def test_v2_has_norms_everywhere_and_their_epsilon(v2, v2_tensors):
    model, head = v2.model, v2.model.settings["box_head"]
    assert (v2.num_tensors, v2.config) == (339, "faster_rcnn_r50_fpn_v2")  # fpn.md 4.2
    assert model.backbone.get_layer("stem_norm").epsilon == model.box_head.norms[3].epsilon == 1e-5
    assert (head["conv_layers"], head["fc_layers"], len(model.rpn_head.hidden)) == (4, 1, 2)
    np.testing.assert_array_equal(
        model.pyramid.get_layer("lateral_C3_norm").moving_mean,
        v2_tensors["backbone.fpn.inner_blocks.1.1.running_mean"],
    )


def test_mobilenet_has_depthwise_and_squeezing_convolutions(mobilenet, mobilenet_tensors):
    backbone = mobilenet.model.backbone
    theirs = mobilenet_tensors["backbone.body.4.block.1.0.weight"]  # (72, 1, 5, 5)
    assert backbone.get_layer("block4_depthwise_conv").kernel.numpy()[1, 2, 60, 0] == theirs[60, 0, 1, 2]
    np.testing.assert_array_equal(
        backbone.get_layer("block4_squeeze_fc2").bias, mobilenet_tensors["backbone.body.4.block.2.fc2.bias"]
    )
    assert backbone.get_layer("last_norm").epsilon == 1e-5


@pytest.mark.slow
def test_file_name_tells_the_small_mobilenet(mobilenet, state_dict, write):
    tensors = state_dict("torchvision/fasterrcnn_mobilenet_v3_large_fpn", narrow=False)
    small = conversion.convert(write(tensors, "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.safetensors"))
    assert (small.config, small.identity.notes) == ("faster_rcnn_mobilenet_v3_large_320_fpn", ())
    # At full size it is the published model, with nothing to set beside its configuration.
    assert (small.published, small.settings) == ("box AP 22.8", {})
    assert small.model.settings["resize"]["min_side"] == 320
    assert small.model.settings["proposals"]["post_nms_top_k_test"] == 150
    assert (mobilenet.config, mobilenet.published) == ("faster_rcnn_mobilenet_v3_large_fpn", None)
    assert "--config faster_rcnn_mobilenet_v3_large_320_fpn" in mobilenet.identity.notes[0]


def test_names_of_the_first_published_files_are_read(r50, r50_tensors, write):
    old = {
        name.replace("head.conv.0.0", "head.conv").replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if "_blocks" in name or "rpn.head.conv" in name
        else name: tensor
        for name, tensor in r50_tensors.items()
    }
    assert {"rpn.head.conv.weight", "backbone.fpn.layer_blocks.3.bias"} <= set(old)
    model = conversion.convert_checkpoint(write(old, "old.safetensors"))
    np.testing.assert_array_equal(model.rpn_head.hidden[0].kernel, r50.rpn_head.hidden[0].kernel)
    np.testing.assert_array_equal(
        model.pyramid.get_layer("output_P5").kernel, r50.pyramid.get_layer("output_P5").kernel
    )


def test_detectron2_is_recognised_with_its_conventions(detectron2_r50, detectron2_tensors):
    model = detectron2_r50.model
    assert (detectron2_r50.num_tensors, detectron2_r50.config) == (295, "faster_rcnn_r50_fpn")  # fpn.md 4.5
    assert (model.num_classes, model.category_ids[11]) == (80, 13)
    assert model.settings["pixels"]["channel_order"] == "BGR"
    assert model.settings["backbone"]["stride_in"] == "first_1x1"
    bias = detectron2_tensors[f"{SCORES}.bias"]
    np.testing.assert_array_equal(model.box_head.class_logits.bias, bias)  # the background is last there as well
    np.testing.assert_array_equal(model.box_head.box_deltas.kernel, detectron2_tensors[f"{BOXES}.weight"].T)
    np.testing.assert_array_equal(
        model.backbone.get_layer("res2_0_shortcut_norm").beta,
        detectron2_tensors["backbone.bottom_up.res2.0.shortcut.norm.bias"],
    )
    np.testing.assert_array_equal(
        model.rpn_head.deltas.bias, detectron2_tensors["proposal_generator.rpn_head.anchor_deltas.bias"]
    )


def test_older_detectron2_files_carry_pixels_and_anchors(detectron2_tensors, write):
    extra = {
        "pixel_mean": np.float32([103.53, 116.28, 123.675]).reshape(3, 1, 1),
        "pixel_std": np.float32([57.375, 57.12, 58.395]).reshape(3, 1, 1),
        **{f"proposal_generator.anchor_generator.cell_anchors.{i}": np.zeros((3, 4), np.float32) for i in range(5)},
    }
    model = conversion.convert_checkpoint(write(detectron2_tensors | extra, "2019.safetensors"))
    assert model.settings["pixels"]["mean"] == [103.53, 116.28, 123.675]
    assert model.settings["pixels"]["std"] == [57.375, 57.12, 58.395]


def test_detectron2_proposal_network(state_dict, write):
    tensors = state_dict("detectron2/rpn_R_50_FPN")
    found = conversion.convert(write(tensors, "rpn.safetensors"))
    assert type(found.model).__name__ == "RPN"
    assert (found.config, found.num_tensors) == ("rpn_r50_fpn", 287)
    np.testing.assert_array_equal(
        found.model.rpn_head.objectness.bias, tensors["proposal_generator.rpn_head.objectness_logits.bias"]
    )
    forced = conversion.convert(write(tensors, "rpn.safetensors"), source="detectron2")
    assert (forced.config, forced.num_tensors) == ("rpn_r50_fpn", 287)
    with pytest.raises(UserError, match="torchvision has no counterpart"):
        conversion.to_torchvision(found.model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config", "number"),
    [
        ("detectron2/faster_rcnn_R_101_FPN", "faster_rcnn_r101_fpn", 550),
        ("torchvision/resnet101", "faster_rcnn_r50_fpn_torchvision", 520),
        ("torchvision/resnet152", "faster_rcnn_r50_fpn_torchvision", 775),
        ("detectron2/faster_rcnn_X_101_32x8d_FPN", "faster_rcnn_x101_fpn", 550),
        ("torchvision/resnext50_32x4d", "faster_rcnn_r50_fpn_torchvision", 265),
        ("torchvision/mobilenet_v3_large", "faster_rcnn_mobilenet_v3_large_fpn", 262),
    ],
)
def test_other_depths_are_told_by_their_blocks(name, config, number, state_dict, write):
    # Of a ResNeXt the widths tell the number of groups.
    narrow = not any(kind in name for kind in ("mobilenet", "resnext", "_X_"))
    found = conversion.convert(write(state_dict(name, narrow), "file.safetensors"))
    assert (found.config, found.num_tensors) == (config, number)


def test_imagenet_file_becomes_a_backbone_without_its_classifier(state_dict, write):
    tensors = state_dict("torchvision/resnet18", narrow=False)
    found = conversion.convert(write(tensors, "resnet18-f37072fd.safetensors"))
    model = found.model
    assert (found.identity.architecture, found.num_tensors) == (None, 100)
    assert list(model.output) == ["C2", "C3", "C4", "C5"]
    np.testing.assert_array_equal(model.get_layer("res5_1_norm2").gamma, tensors["layer4.1.bn2.weight"])
    assert model.get_layer("stem_norm").epsilon == 1e-5
    assert "model.backbone.name=resnet18" in conversion.next_commands(found, "r18.keras")
    with pytest.raises(UserError, match="torchvision has no counterpart"):
        conversion.to_torchvision(model)


def test_depths_other_than_the_published_keep_their_epsilon(state_dict, write):
    tensors = state_dict("torchvision/fasterrcnn_resnet50_fpn")
    body = {f"backbone.body.{name}": value for name, value in state_dict("torchvision/resnet18").items()}
    body = {name: value for name, value in body.items() if ".fc." not in name}
    heads = {name: value for name, value in tensors.items() if ".body." not in name}
    for index, channels in enumerate((8, 16, 32, 64)):
        heads[f"backbone.fpn.inner_blocks.{index}.0.weight"] = np.ones((32, channels, 1, 1), np.float32)
    model = conversion.convert_checkpoint(write(body | heads, "r18.safetensors"))
    assert (model.settings["backbone"]["name"], model.settings["backbone"]["norm_epsilon"]) == ("resnet18", 1e-5)


def test_only_the_file_that_torchvision_sets_it_for_has_an_epsilon_of_zero(r50_tensors, own_tensors, write):
    found = conversion.convert(write(r50_tensors, "coco.safetensors"))
    # train --weights takes it over from the file: there is nothing to say of it, and the published figure holds.
    assert "model.backbone.norm_epsilon" not in found.settings
    assert "epsilon 0" in found.identity.notes[0]
    assert conversion.convert(write(r50_tensors, "fasterrcnn_resnet50_fpn_coco-258fb6c6.npz")).identity.notes == ()
    own = conversion.convert(write(own_tensors, "own.safetensors"), class_names=["ant", "bee", "wasp"])
    assert own.model.settings["backbone"]["norm_epsilon"] == 1e-5
    assert "--set model.backbone.norm_epsilon=0" in own.identity.notes[0]


def test_the_epsilon_is_the_files_under_a_configuration_of_ones_own(r50_tensors, write, tmp_path):
    path = write(r50_tensors, "under.safetensors")
    (tmp_path / "mine.yaml").write_text(
        "model: {profile: torchvision, backbone: {width: 8}, pyramid: {channels: 32}, rpn: {channels: 32},"
        " box_head: {units: 128}}"
    )
    model = conversion.convert_checkpoint(path, config=tmp_path / "mine.yaml")
    assert model.settings["backbone"]["norm_epsilon"] == 0
    said = conversion.convert(path, config=tmp_path / "mine.yaml", overrides=["model.backbone.norm_epsilon=1e-4"])
    assert said.model.backbone.get_layer("stem_norm").epsilon == 1e-4
    assert said.settings == {"model.backbone.norm_epsilon": 1e-4}


def test_settings_on_top_win(detectron2_tensors, write):
    path = write(detectron2_tensors, "set.safetensors")
    model = conversion.convert_checkpoint(path, overrides=["model.detections.score_threshold=0.3"])
    assert model.settings["detections"]["score_threshold"] == 0.3


# Classes of one's own -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_tensors(r50_tensors):
    """A torchvision detector of three classes: four rows."""
    first = {f"{SCORES}.weight": 4, f"{SCORES}.bias": 4, f"{BOXES}.weight": 16, f"{BOXES}.bias": 16}
    return r50_tensors | {name: r50_tensors[name][:rows] for name, rows in first.items()}


def test_own_classes_are_named_in_the_order_of_their_labels(own_tensors, write):
    model = conversion.convert_checkpoint(write(own_tensors, "own.safetensors"), class_names=["ant", "bee", "wasp"])
    assert (model.class_names, model.category_ids) == (("ant", "bee", "wasp"), (1, 2, 3))
    bias = own_tensors[f"{SCORES}.bias"]
    np.testing.assert_array_equal(model.box_head.class_logits.bias, bias[[1, 2, 3, 0]])  # label 0 is the background
    back = conversion.to_torchvision(model)
    np.testing.assert_array_equal(back[f"{BOXES}.weight"], own_tensors[f"{BOXES}.weight"])


def test_own_classes_have_to_be_named(own_tensors, refused):
    message = refused(own_tensors)
    assert message.startswith("its predictor has 4 rows, those of COCO have 91; name the 3 classes")
    assert "--classes a,b,c" in message


def test_as_many_names_as_rows_but_the_background(own_tensors, detectron2_tensors, refused):
    assert "--classes names 2 classes, but its predictor has 4 rows" in refused(own_tensors, class_names=["a", "b"])
    assert "predictor has 81 rows: 80 and" in refused(detectron2_tensors, class_names=["a", "b"])


def test_predictors_that_disagree(r50_tensors, detectron2_tensors, refused):
    cut = {f"{BOXES}.bias": np.zeros(320, np.float32)}
    assert "cls_score has 91 rows, so bbox_pred needs 364, not 320" in refused(r50_tensors | cut)
    agnostic = {f"{BOXES}.bias": np.zeros(4, np.float32)}
    assert "class-agnostic), which no model of torchvision has" in refused(r50_tensors | agnostic)
    assert "of another shape: roi_heads.box_predictor.bbox_pred" in refused(detectron2_tensors | agnostic)


def test_class_names_of_a_list_or_a_file(tmp_path):
    assert read_class_names("traffic light, car") == ["traffic light", "car"]
    (tmp_path / "names.txt").write_text("ant\nbee, the\n\n")
    assert read_class_names(str(tmp_path / "names.txt")) == ["ant", "bee, the"]
    with pytest.raises(UserError, match="ant stands there twice"):
        read_class_names("ant,bee,ant")
    with pytest.raises(UserError, match="no such file"):
        read_class_names("names.txt")
    many = [f"class number {number}" for number in range(80)]  # longer than a file's name may be
    assert read_class_names(",".join(many)) == many


def test_a_model_of_ours_travels_with_its_names(tiny_settings, write):
    settings = tiny_settings() | {"profile": "torchvision", "category_ids": [3, 7, 8, 20]}
    model = keras_fpn.FasterRCNN(**settings)
    tensors = conversion.to_torchvision(model)
    assert not tensors[f"{BOXES}.weight"][:4].any()  # the background's box, which ours lacks
    path = write(tensors, "tiny.safetensors", conversion.torchvision_writing.metadata(model))
    back = conversion.convert_checkpoint(path)
    assert (back.class_names, back.category_ids) == (model.class_names, (3, 7, 8, 20))
    for group in ("resize", "anchors", "proposals", "roi_pooling", "detections"):  # no tensor tells them
        assert back.settings[group] == model.settings[group]
    assert back.settings["backbone"]["norm_epsilon"] == model.settings["backbone"]["norm_epsilon"]
    np.testing.assert_array_equal(back.box_head.fc1.kernel, model.box_head.fc1.kernel)
    np.testing.assert_array_equal(back.box_head.class_logits.kernel, model.box_head.class_logits.kernel)


@pytest.mark.slow
def test_networks_that_torchvision_does_not_have_are_not_written(tiny_settings):
    settings = tiny_settings() | {"profile": "torchvision", "backbone": {"name": "MobileNetV2"}}
    with pytest.raises(UserError, match="backbone MobileNetV2: not among torchvision's"):
        conversion.to_torchvision(keras_fpn.FasterRCNN(**settings))


def test_what_torchvision_cannot_run_is_not_written(tiny_model, tiny_settings, detectron2_r50):
    with pytest.raises(UserError, match="pixels.channel_order=BGR .*roi_pooling.aligned=True .*other answers there"):
        conversion.to_torchvision(tiny_model)
    with pytest.raises(UserError, match="backbone.stride_in=first_1x1"):
        conversion.to_torchvision(detectron2_r50.model)
    dilated = tiny_settings() | {"profile": "torchvision"}
    dilated["backbone"] |= {"res5_dilation": 2}
    with pytest.raises(UserError, match="backbone.res5_dilation=2 .torchvision: 1."):
        conversion.to_torchvision(keras_fpn.FasterRCNN(**dilated))


# Wrong files --------------------------------------------------------------------------------------------------------


def test_every_tensor_is_accounted_for(r50_tensors, refused):
    tensors = dict(r50_tensors)
    tensors["roi_heads.box_head.fc_7.weight"] = tensors.pop("roi_heads.box_head.fc7.weight")
    tensors["backbone.body.layer3.5.conv2.weight"] = tensors["backbone.body.layer3.5.conv2.weight"][:, :5]
    tensors["roi_heads.extra"] = np.zeros(3, np.float32)
    del tensors["backbone.body.layer1.0.bn1.running_var"]
    message = refused(tensors)
    assert "2 left over: " in message and "roi_heads.extra" in message
    assert "roi_heads.box_head.fc_7.weight (nearest roi_heads.box_head.fc7.weight)" in message
    assert "2 missing: backbone.body.layer1.0.bn1.running_var, " in message
    assert "roi_heads.box_head.fc7.weight (nearest roi_heads.box_head.fc_7.weight)" in message
    assert "1 of another shape: backbone.body.layer3.5.conv2.weight is [32, 5, 3, 3], needed [32, 32, 3, 3]" in message


def test_source_overrules_what_the_names_tell(r50_tensors, refused):
    message = refused(r50_tensors, source="detectron2")
    # All 295 but the four of the predictors, which have the same names there and other rows.
    assert "291 left over: " in message and "291 missing: " in message and "4 of another shape: " in message
    assert "is [91, 128], needed [81, 128]" in message
    assert "backbone.body.bn1.{bias,running_mean,running_var,weight}, " in message


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("maskrcnn_resnet50_fpn", "a Mask R-CNN"),
        ("keypointrcnn_resnet50_fpn", "a Keypoint R-CNN"),
        ("retinanet_resnet50_fpn", "a RetinaNet"),
        ("fcos_resnet50_fpn", "an FCOS"),
    ],
)
def test_detectors_on_mobilenet_that_torchvision_has_none_of(name, kind, state_dict, mobilenet_tensors, write):
    heads = {key: value for key, value in state_dict(f"torchvision/{name}").items() if ".body." not in key}
    body = {key: value for key, value in mobilenet_tensors.items() if ".body." in key}
    with pytest.raises(UserError, match=f"{kind} on MobileNetV3, which torchvision has none of; ResNets are read"):
        conversion.convert(write(body | heads, f"{name}.safetensors"))


@pytest.mark.parametrize(
    ("base", "extra", "told"),
    [
        (None, {"head.classification_head.module_list.0.weight": (1,)}, "is an SSD (head.classification_head."),
        ("torchvision/mobilenet_v2", {}, "is a classifier of another kind (features."),
        ("torchvision/keypointrcnn_resnet50_fpn", {"roi_heads.mask_head.0.0.weight": (1,)}, "is a Mask R-CNN"),
        ("detectron2/faster_rcnn_R_50_FPN", {"roi_heads.box_head.0.fc1.weight": (1,)}, "is a Cascade R-CNN"),
        ("detectron2/faster_rcnn_R_50_FPN", {"backbone.bottom_up.res2.0.conv2.weight": (32, 2, 3, 3)}, "a ResNeXt"),
        ("detectron2/faster_rcnn_R_50_C4", {"roi_heads.mask_head.deconv.weight": (1,)}, "is a Mask R-CNN"),
        ("torchvision/resnet50", {"layer1.0.conv2.weight": (16, 16, 3, 3)}, "a wide ResNet"),
        (None, {"state.0.momentum_buffer": (3,)}, "is the state of an optimizer"),
        (None, {"conv1_w": (3,)}, "is a Detectron or Caffe2 file"),
        (None, {"neck.lateral_convs.0.conv.weight": (3,)}, "is an MMDetection model"),
        (None, {"some.thing": (3,)}, "none of its 1 tensors tells what it is (some.thing"),
    ],
)
def test_another_architecture_is_told_by_its_name(base, extra, told, state_dict, refused):
    tensors = state_dict(base) if base else {}
    message = refused(tensors | {name: np.ones(shape, np.float32) for name, shape in extra.items()})
    assert message.startswith(("is", "the backbone is", "none of")) and told in message
    assert "; of detectron2 Faster R-CNN with a pyramid, " in message and message.endswith(" (ViTDet)")


def test_another_kind_of_file_is_one_class_more(state_dict, r50_tensors, mobilenet_tensors, monkeypatch, tmp_path):
    known = list(published.kinds())
    monkeypatch.setattr("keras_fpn.checkpoints.published.kind._KINDS", known)
    (faster,) = (kind for kind in known if kind.source == "torchvision" and kind.architecture == "faster_rcnn")

    @published.register_published
    class PanopticFPN(faster):
        architecture, words = "panoptic_fpn", "Panoptic FPN"
        patterns = (*faster.patterns, r"^sem_seg_head\.")

    def found(tensors):
        layout = recognition.source_of(tensors, tmp_path)
        return recognition.recognise(layout, layout.current_names(tensors), tmp_path)

    kind, recognised = found(r50_tensors | {"sem_seg_head.predictor.weight": np.ones(1, np.float32)})
    assert kind is PanopticFPN and recognised.architecture == "panoptic_fpn"
    assert found(mobilenet_tensors)[0] is faster
    with pytest.raises(UserError, match="is a classifier of another kind .*of torchvision .*Panoptic FPN"):
        found(state_dict("torchvision/mobilenet_v2"))


def test_group_normalisation_and_odd_blocks(detectron2_tensors, refused):
    group_norm = {name: value for name, value in detectron2_tensors.items() if ".running_" not in name}
    assert "group norm?" in refused(group_norm)
    odd = {name: value for name, value in detectron2_tensors.items() if ".res4.5." not in name}
    assert "blocks of no network here" in refused(odd)


def test_variances_that_are_none(r50_tensors, detectron2_tensors, refused):
    name = "backbone.body.layer1.1.bn2.running_var"
    zero = r50_tensors[name].copy()
    zero[3] = 0
    message = refused(r50_tensors | {name: zero})
    assert f"{name} has a variance of 0 and the epsilon is 0" in message
    name = "backbone.bottom_up.res2.1.conv2.norm.running_var"
    message = refused(detectron2_tensors | {name: -np.ones(8, np.float32)})
    assert f"{name} has a variance of -1" in message


def test_integers_and_numberless_predictors_are_no_weights(r50_tensors, refused):
    message = refused(r50_tensors | {"rpn.head.cls_logits.bias": np.zeros(3, np.int64)})
    assert "1 not of floats: rpn.head.cls_logits.bias is int64" in message
    one = {f"{SCORES}.bias": np.zeros(1, np.float32), f"{BOXES}.bias": np.zeros(4, np.float32)}
    assert f"{SCORES} has no rows for a class and the background" in refused(r50_tensors | one)


def test_one_wrong_tensor_does_not_outvote_the_others(r50_tensors, refused):
    name = "roi_heads.box_head.fc6.weight"
    message = refused(r50_tensors | {name: np.ascontiguousarray(r50_tensors[name].T)})
    assert f"1 of another shape: {name} is [1568, 128], needed [128, 1568]." in message


def test_sizes_that_no_model_has_are_the_file_s_mistake(r50_tensors, refused):
    empty = {name: value[:0] for name, value in r50_tensors.items() if "_blocks." in name}
    assert "no fasterrcnn_resnet50_fpn has its sizes: model.pyramid.channels" in refused(r50_tensors | empty)


def test_a_pyramid_without_names_is_told(detectron2_tensors, write):
    path = write(detectron2_tensors, "bottom_up.safetensors")
    with pytest.raises(UserError, match="pyramid bottom_up: not among detectron2's"):
        conversion.convert_checkpoint(path, overrides=["model.pyramid.name=bottom_up"])


def test_a_file_of_an_architecture_that_nobody_recognises_is_held_against_the_one_that_is_named(
    detectron2_tensors, write, refused
):
    rpn = {name: value for name, value in detectron2_tensors.items() if not name.startswith("roi_heads.")}
    named = {"source": "detectron2", "overrides": ["model.architecture=rpn"]}
    found = conversion.convert(write(rpn, "named.safetensors"), **named)
    assert (type(found.model).__name__, found.num_tensors) == ("RPN", 287)
    assert "8 left over: roi_heads.box_head.fc1.{bias,weight}" in refused(detectron2_tensors, **named)


def test_configurations_that_fit_by_shape_alone_are_refused(own_tensors, r50_tensors, state_dict, refused):
    message = refused(r50_tensors, config="faster_rcnn_r50_fpn")
    assert "torchvision's weights give other answers under the profile 'detectron2'" in message
    own = {"class_names": ["ant", "bee", "wasp"]}
    message = refused(own_tensors, overrides=["model.num_classes=5"], **own)
    assert "has 3 classes, not model.num_classes=5" in message
    message = refused(own_tensors, overrides=["model.architecture=rpn"], **own)
    assert "builds model.architecture=rpn" in message
    rpn = state_dict("detectron2/rpn_R_50_FPN")
    assert "builds model.architecture=faster_rcnn" in refused(rpn, config="faster_rcnn_r50_fpn")


# The command --------------------------------------------------------------------------------------------------------


def test_convert_there_and_back(run, r50_tensors, write, tmp_path):
    code, out, err = run("convert", write(r50_tensors, "cli.safetensors"), "--out", "made of/model.keras")
    assert (code, err) == (0, "")
    assert "recognised torchvision fasterrcnn_resnet50_fpn: configuration faster_rcnn_r50_fpn_torchvision" in out
    assert "295 tensors" in out and "80 classes: person, bicycle" in out
    assert "keras-fpn detect 'made of/model.keras'" in out
    assert "train faster_rcnn_r50_fpn_torchvision --weights 'made of/model.keras'" in out
    assert "--set model.backbone.width=8 model.pyramid.channels=32 " in out
    code, out, err = run("convert", "made of/model.keras", "--to", "torchvision", "--out", "back.safetensors")
    assert (code, err) == (0, "")
    assert "num_classes=91" in out and "note: its batch-norm epsilon is 0; there, set `eps`" in out
    back = read_checkpoint(tmp_path / "back.safetensors")
    assert json.loads(back.metadata["class_names"])[11] == "stop sign"
    for name, tensor in without_counters(r50_tensors).items():
        np.testing.assert_array_equal(back.tensors[name], tensor, err_msg=name)


def test_a_full_disk_leaves_the_file_that_was(run, own_tensors, write, tmp_path, monkeypatch):
    def full(model, path):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    (tmp_path / "model.keras").write_bytes(b"before")
    code, _, err = run("convert", write(own_tensors, "own.safetensors"), "--out", "model.keras", "--classes", "a,b,c")
    assert (code, err) == (1, "error: model.keras: No space left on device; make room on its disk\n")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_a_file_that_does_not_fit_leaves_nothing(run, own_tensors, write, tmp_path):
    code, _, err = run("convert", write(own_tensors, "four.safetensors"), "--out", "model.keras")
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("f.pth", "--out", "model.h5"), "--out model.h5: convert writes a .keras file"),
        (("f.keras", "--to", "torchvision", "--out", "f.pth"), "--out f.pth: convert writes a .safetensors file"),
        (("f.keras", "--out", "g.keras"), "is a Keras model already; --to torchvision"),
        (("f.keras", "--to", "torchvision", "--out", "f.safetensors", "--classes", "a"), "--classes does not go with"),
        (("none.pth", "--out", "model.keras"), "none.pth"),
        ((__file__, "--to", "torchvision", "--out", "f.safetensors"), f"{__file__}: is no .keras file; convert it"),
    ],
)
def test_wrong_calls(run, arguments, told, tmp_path):
    code, _, err = run("convert", *arguments)
    assert code == 2 and told in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
