"""Configurations: defaults, the shipped files, overrides, and one-line errors."""

import re
import subprocess
import sys

import numpy as np
import pytest
import yaml

from keras_fpn.config.loading import Config, load_config, shipped_configs
from keras_fpn.console.errors import UserError
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.models.settings import resolve
from keras_fpn.parts.settings import PROFILES

SHIPPED = [
    "cascade_mask_rcnn_r50_fpn",
    "cascade_rcnn_r50_fpn",
    "cascade_shapes",
    "faster_rcnn_convnext_t_fpn",
    "faster_rcnn_mobilenet_v3_large_320_fpn",
    "faster_rcnn_mobilenet_v3_large_fpn",
    "faster_rcnn_r101_fpn",
    "faster_rcnn_r50_c4",
    "faster_rcnn_r50_dc5",
    "faster_rcnn_r50_fpn",
    "faster_rcnn_r50_fpn_paper",
    "faster_rcnn_r50_fpn_torchvision",
    "faster_rcnn_r50_fpn_v2",
    "faster_rcnn_r50_pafpn",
    "faster_rcnn_r50_panet",
    "faster_rcnn_r50_panet_2fc",
    "faster_rcnn_swin_t_fpn",
    "faster_rcnn_x101_fpn",
    "fcos_mobilenet_shapes",
    "fcos_mobilenet_v3_large_320_fpn",
    "fcos_r50_fpn",
    "fcos_shapes",
    "keypoint_rcnn_r50_fpn",
    "keypoint_rcnn_r50_fpn_torchvision",
    "mask_rcnn_convnext_t_fpn",
    "mask_rcnn_r101_fpn",
    "mask_rcnn_r50_fpn",
    "mask_rcnn_r50_fpn_torchvision",
    "mask_rcnn_r50_fpn_v2",
    "mask_rcnn_swin_t_fpn",
    "mask_rcnn_vitdet_b",
    "mask_rcnn_x101_fpn",
    "retinanet_mobilenet_shapes",
    "retinanet_mobilenet_v3_large_320_fpn",
    "retinanet_r101_fpn",
    "retinanet_r50_bifpn",
    "retinanet_r50_fpn",
    "retinanet_r50_fpn_torchvision",
    "retinanet_r50_fpn_v2",
    "retinanet_r50_nas_fpn",
    "retinanet_shapes",
    "rpn_r50_fpn",
    "shapes",
    "shapes_keypoints",
    "shapes_masks",
    "tiny",
]


def test_the_shipped_configurations_are_found():
    assert [name for name in shipped_configs() if "/" not in name] == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_configuration_loads_and_survives_its_own_yaml(name, tmp_path):
    config = load_config(name)
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    assert load_config(file) == config


@pytest.mark.parametrize("name", SHIPPED)
def test_a_header_tells_the_command_and_the_figure_to_expect(name, checkout):
    text = (checkout / "configs" / f"{name}.yaml").read_text()
    header = text[: re.search(r"^[^#]", text, re.MULTILINE).start()]
    assert "keras-fpn " in header
    assert "Expect" in header


def test_defaults_are_detectron2_r50_fpn_1x():
    # detectron2: configs/Base-RCNN-FPN.yaml, COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml, config/defaults.py
    config = load_config("faster_rcnn_r50_fpn")
    training, data = config.training, config.data
    assert (training.steps, data.batch_size, training.learning_rate) == (90_000, 16, 0.02)
    assert [round(share * training.steps) for share in training.milestones] == [60_000, 80_000]
    assert (training.warmup_steps, training.warmup_factor, training.gamma) == (1000, 1e-3, 0.1)
    assert (training.momentum, training.weight_decay, training.clip_norm) == (0.9, 1e-4, None)
    assert data.min_sides == [640, 672, 704, 736, 768, 800]
    assert (data.horizontal_flip, data.group_by_aspect_ratio) == (True, True)
    model = config.model
    assert (model.resize.min_side, model.resize.max_side) == (800, 1333)
    assert model.anchors.sizes == {"P2": [32], "P3": [64], "P4": [128], "P5": [256], "P6": [512]}
    assert (model.anchor_targets.positive_iou, model.anchor_targets.negative_iou) == (0.7, 0.3)
    assert (model.anchor_targets.samples_per_image, model.anchor_targets.positive_fraction) == (256, 0.5)
    assert (model.roi_targets.samples_per_image, model.roi_targets.positive_fraction) == (512, 0.25)
    assert (model.proposals.nms_threshold, model.proposals.pre_nms_top_k_train) == (0.7, 2000)
    assert (model.detections.score_threshold, model.detections.nms_threshold) == (0.05, 0.5)
    assert (model.detections.max_detections, model.pyramid.channels, model.box_head.units) == (100, 256, 1024)
    assert (model.backbone.freeze_at, model.backbone.norm) == (2, "frozen_batch_norm")


@pytest.mark.parametrize(
    ("name", "like"),
    [(f"mask_rcnn_{backbone}_fpn", f"faster_rcnn_{backbone}_fpn") for backbone in ("r50", "r101", "x101")],
)
def test_detectron2_trains_mask_rcnn_as_faster_rcnn(name, like):
    # configs/COCO-InstanceSegmentation/*.yaml differ from COCO-Detection's in MODEL.MASK_ON; masks are polygons, pooled
    # to 14 x 14, the head has four convolutions of 256 (config/defaults.py, Base-RCNN-FPN.yaml).
    config, other = load_config(name), load_config(like)
    assert (config.training, config.data) == (other.training, other.data)
    groups, others = config.model.groups(), other.model.groups()
    assert {group: groups[group] for group in others} == others
    assert groups["mask_targets"]["rule"] == "polygon" and groups["mask_pasting"]["rule"] == "detectron2"
    head = groups["mask_head"]
    assert (head["pooling_size"], head["conv_layers"], head["channels"], head["norm"]) == (14, 4, 256, None)


def test_detectron2_trains_a_cascade_as_mask_rcnn_with_more_proposals():
    # configs/Misc/cascade_mask_rcnn_R_50_FPN_1x.yaml; ROI_BOX_CASCADE_HEAD of config/defaults.py.
    config, other = load_config("cascade_mask_rcnn_r50_fpn"), load_config("mask_rcnn_r50_fpn")
    assert (config.training, config.data) == (other.training, other.data)
    groups, others = config.model.groups(), other.model.groups()
    assert groups["proposals"] == others["proposals"] | {"post_nms_top_k_train": 2000}
    assert groups["box_head"] == others["box_head"] | {"class_agnostic_boxes": True}
    same = set(others) - {"proposals", "box_head"}
    assert {group: groups[group] for group in same} == {group: others[group] for group in same}
    assert groups["cascade"] == {
        "positive_ious": [0.6, 0.7], "box_weights": [[20.0, 20.0, 10.0, 10.0], [30.0, 30.0, 15.0, 15.0]],
    }  # fmt: skip
    assert (groups["roi_targets"]["positive_iou"], groups["detections"]["box_weights"]) == (0.5, [10.0, 10.0, 5.0, 5.0])


def test_the_demos_cascade_differs_from_the_demo_in_its_heads_alone():
    cascade, plain = load_config("cascade_shapes"), load_config("shapes")
    assert (cascade.training, cascade.data) == (plain.training, plain.data)
    groups, others = cascade.model.groups(), plain.model.groups()
    assert set(groups) - set(others) == {"cascade"}
    assert {group for group in others if groups[group] != others[group]} == {"box_head"}


def test_the_paper_recipe():
    # Lin et al., section 5.2: 16 images, 60k steps at 0.02, then 20k at 0.002; RoI max pooling; 800 px.
    config = load_config("faster_rcnn_r50_fpn_paper")
    assert (config.training.steps, config.training.learning_rate, config.data.batch_size) == (
        80_000,
        0.02,
        16,
    )
    assert [round(share * config.training.steps) for share in config.training.milestones] == [60_000]
    assert (config.model.roi_pooling.method, config.model.proposals.post_nms_top_k_train) == ("max", 2000)
    assert config.data.min_sides == [800]


@pytest.mark.parametrize("name", ["faster_rcnn_r50_fpn_torchvision", "mask_rcnn_r50_fpn_torchvision"])
def test_the_torchvision_recipe(name):
    # references/detection/README.md: 26 epochs, lr 0.02 for 16 images, divided after epochs 16 and 22.
    config = load_config(name)
    assert (config.training.epochs, config.training.steps) == (26, None)
    assert [round(share * 26) for share in config.training.milestones] == [16, 22]
    assert config.model.roi_pooling.aligned is False


def test_the_recipes_of_keypoints():
    # detectron2: configs/Base-Keypoint-RCNN-FPN.yaml; torchvision: KeypointRCNN_ResNet50_FPN_Weights, 46 epochs divided
    # after 36 and 43, and keypoint_rcnn.py, which trains at 640 to 800 px.
    detectron2, torchvision = map(load_config, ("keypoint_rcnn_r50_fpn", "keypoint_rcnn_r50_fpn_torchvision"))
    assert detectron2.model.roi_losses.box_beta == 0.5 and detectron2.training.steps == 90_000
    assert detectron2.model.proposals.post_nms_top_k_train == 1500
    assert torchvision.training.epochs == 46
    assert [round(share * 46) for share in torchvision.training.milestones] == [36, 43]
    assert torchvision.model.roi_losses.box_beta == 1 / 9
    assert torchvision.data.min_sides == [640, 672, 704, 736, 768, 800]


@pytest.mark.parametrize("architecture", ARCHITECTURES.names())
@pytest.mark.parametrize("profile", PROFILES)
def test_a_configuration_holds_the_groups_of_its_own_architecture(profile, architecture):
    config = load_config("faster_rcnn_r50_fpn", {"model.profile": profile, "model.architecture": architecture})
    assert list(config.model.groups()) == list(ARCHITECTURES[architecture].groups)
    assert config.model.groups() == resolve(architecture, profile)


@pytest.mark.parametrize("name", ["faster_rcnn_r50_fpn_v2", "mask_rcnn_r50_fpn_v2"])
def test_the_recipe_of_torchvisions_version_2(name):
    # pytorch/vision#5763, #5773: 400 epochs, lr 0.1 for 32 x 2 images, divided after 352 and 384, weight decay 4e-5,
    # large scale jitter (references/detection/presets.py: 0.1 to 2 on 1024 x 1024); no backbone weights, so none is
    # frozen.
    config = load_config(name)
    training, data, backbone = config.training, config.data, config.model.backbone
    assert (training.epochs, training.learning_rate, training.weight_decay) == (400, 0.1, 4e-5)
    assert [round(share * 400) for share in training.milestones] == [352, 384]
    assert (data.batch_size, data.canvas, data.scale_jitter) == (64, [1024, 1024], [0.1, 2.0])
    assert (backbone.norm, backbone.freeze_at, backbone.weights) == ("batch_norm", 0, None)


@pytest.mark.parametrize(
    ("name", "published", "frozen"),
    [
        ("faster_rcnn_r50_fpn_torchvision", 41_755_286, 222_400),  # conv1 and layer1
        ("faster_rcnn_r50_fpn_v2", 43_712_278, 0),
        ("faster_rcnn_mobilenet_v3_large_fpn", 19_386_354, 58_896),  # features 0 to 6
        ("mask_rcnn_r50_fpn_torchvision", 44_401_393, 222_400),
        ("mask_rcnn_r50_fpn_v2", 46_359_409, 0),
        pytest.param("retinanet_r50_fpn_torchvision", 34_014_999, 222_400, marks=pytest.mark.slow),
        pytest.param("fcos_r50_fpn", 32_269_600, 222_400, marks=pytest.mark.slow),
    ],
)
def test_as_many_weights_are_trained_as_at_torchvision(name, published, frozen):
    # `published` is num_params of torchvision's weights, of 91 rows: frozen batch normalisation has no parameters.
    rows = ["model.box_head.background_logits=11", "model.box_head.background_boxes=11"]
    rows += ["model.mask_head.background_masks=11"] if name.startswith("mask") else []
    rows = ["model.dense_head.unused_logits=11"] if name.startswith(("retinanet", "fcos")) else rows
    settings = load_config(name, rows).model
    kind = ARCHITECTURES[settings.architecture].load()
    model = kind(80, profile=settings.profile, **settings.differences())
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == published - frozen


def test_layers_override_each_other(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {profile: paper, backbone: {name: resnet18}}\ntraining: {epochs: 3}\n")
    config = load_config(file, ["training.learning_rate=1e-3", "model.anchors.sizes.P2=[16, 24]"])
    assert config.model.profile == "paper"
    assert config.model.roi_pooling.method == "max"  # of the profile
    assert config.model.backbone.name == "resnet18"  # of the file
    assert config.training.learning_rate == 1e-3  # YAML 1.1 reads 1e-3 as a string
    assert config.model.anchors.sizes["P2"] == [16, 24]
    assert config.model.anchors.sizes["P3"] == [64]


def test_a_length_in_epochs_replaces_one_in_steps():
    assert load_config("tiny", ["training.epochs=3"]).training.steps is None
    assert load_config("faster_rcnn_r50_fpn_torchvision", ["training.steps=5"]).training.epochs is None


def test_overrides_can_be_a_mapping():
    config = load_config("tiny", {"data.min_sides": [32, 48], "training.seed": 7})
    assert (config.data.min_sides, config.training.seed) == ([32, 48], 7)


def test_a_configuration_is_frozen():
    config = load_config("tiny")
    with pytest.raises(ValueError, match="frozen"):
        config.training.seed = 3


def test_a_norm_and_the_start_weights_may_be_null_or_named():
    config = load_config("tiny", ["model.pyramid.norm=batch_norm", "model.box_head.norm=batch_norm"])
    assert config.model.pyramid.norm == "batch_norm"
    assert config.model.box_head.norm == "batch_norm"
    assert load_config("tiny", ["model.pyramid.norm=null"]).model.pyramid.norm is None
    assert config.training.weights is None
    assert load_config("tiny", ["training.weights=start.keras"]).training.weights == "start.keras"


def test_another_architecture_leaves_the_groups_of_its_own():
    # The file names groups of both stages, and the command another architecture: what was said of the rest goes.
    config = load_config("tiny", ["model.architecture=rpn"])
    assert config.model.architecture == "rpn"
    assert config.model.rpn.channels == 16
    assert not {"architecture", "box_head", "detections"} & set(config.model.groups())


def test_a_later_choice_of_a_part_drops_what_was_said_to_the_former():
    # tiny sets the width and the stride of a ResNet, and what RoIAlign alone reads is in its profile.
    config = load_config("tiny", ["model.backbone.name=mobilenet_v3_large", "model.roi_pooling.method=max"])
    assert "width" not in config.model.groups()["backbone"]
    assert config.model.backbone.norm == "batch_norm"
    assert "aligned" not in config.model.groups()["roi_pooling"]
    assert config.model.roi_pooling.canonical_size == 32


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["traning.steps=3"], "--set traning.steps: unknown key 'traning'; did you mean 'training'?"),
        (["training.step=3"], "did you mean 'steps'?"),
        (["training.steps=three"], "--set: training.steps: input should be a valid integer"),
        (["training.steps=0"], "training.steps: input should be greater than 0 (found 0)"),
        (["training.steps"], "write it as key=value"),
        (["training.steps.x=1"], "training.steps is a value and has no keys below it"),
        (["model.backbone=resnet18"], "--set model.backbone: a section; set one of name, norm, freeze_at"),
        (["model.profile=detectron"], "did you mean 'detectron2'?"),
        (["model.profile=[1]"], "--set: model.profile: unknown value [1]"),
        (["model.roi_pooling.method=avg"], "method: unknown pooling 'avg'; valid are align, max"),
        (["training.milestones=[1/0]"], "has no length"),
        (["training.milestones=[0.9, 0.5]"], "milestones must rise"),
        (["training.steps=5", "training.epochs=5", "training.steps=6", "training.epochs=null"], None),
        (["training.steps=null"], "give the length of the run in steps or in epochs"),
        (["data.scale_jitter=[0.1, 2]"], "scale_jitter needs a canvas"),
        (["training.learning_rate=.nan"], "training.learning_rate"),
        (["training.learning_rate={a"], "not YAML"),
        (["training.learning_rate=true"], "learning_rate: input should not be true or false (found True)"),
        (["training.steps=yes"], "training.steps: input should not be true or false (found True)"),
        (["training.seed=4294967296"], "training.seed: input should be less than 4294967296"),
        (["model.pyramid.levels=[P2, P4]"], "pyramid.levels: must be neighbours, finest first"),
        (["model.pyramid.levels=[P3, P2]"], "pyramid.levels: must be neighbours, finest first"),
        (["model.roi_pooling.levels=[P2, P7]"], "roi_pooling.levels: P7 is not among pyramid.levels"),
        (["model.resize.interpolation=area"], "input should be 'pillow' or 'bilinear' (found 'area')"),
        (["model.anchors.order=size"], "input should be 'size_major' or 'ratio_major' (found 'size')"),
        (["model.proposals.score_threshold=1.5"], "score_threshold: input should be less than or equal to 1"),
        (["model.box_head.fc_layers=3"], "box_head.fc_layers: input should be 1 or 2 (found 3)"),
        (["model.box_head.norm=group"], "'group_norm' or 'layer_norm' (found 'group')"),
        (["model.box_head.background_logits=0"], "background_logits: input should be greater than 0"),
        (["model.architecture=ssd"], "--set: model.architecture: unknown architecture 'ssd'; valid are faster_rcnn"),
        (["model.anchor_targets.negative_iou=0.9"], "negative_iou must not be above positive_iou"),
        (["model.architecture=rpn", "model.box_head.units=5"], "box_head: rpn has no such stage; leave it out"),
        (
            ["model.backbone.name=mobilenet_v3_large", "model.backbone.width=8"],
            "mobilenet_v3_large does not read it, only resnet18, resnet34",
        ),
        (
            ["model.pyramid.name=single_scale", "model.pyramid.channels=8", "model.pyramid.levels=[C4]"],
            "--set model.pyramid.channels: single_scale does not read it, only fpn, bottom_up",
        ),
        (["model.roi_pooling.method=max", "model.roi_pooling.aligned=true"], "max does not read it, only align, adap"),
        (["model.backbone.name=resnet5"], "--set model.backbone.name: unknown backbone 'resnet5'; did you mean"),
    ],
)
def test_a_wrong_override_is_one_line(overrides, message):
    if message is None:
        assert load_config("tiny", overrides).training.steps == 6
        return
    with pytest.raises(UserError) as caught:
        load_config("tiny", overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model: {bakbone: {name: resnet18}}", "model.bakbone: unknown group of settings; did you mean 'backbone'?"),
        ("training: {lr: 3}", "training.lr: unknown key; valid are steps"),
        ("model: resnet50", "model: expected keys below it, found 'resnet50'"),
        ("- model", "expected sections model, data, training, four_step; found list"),
        ("model: {profile: paper\ntraining: 3", "line 2: not YAML"),
        ("model: {anchors: {sizes: {P9: [3]}}}", "model.anchors.sizes.P9"),
        ("model: {architecture: rpn, box_head: {units: 5}}", "model.box_head: rpn has no such stage; leave it out"),
        ("model: {backbone: {name: mobilenet_v3_large, width: 8}}", "model.backbone.width: mobilenet_v3_large"),
        ("model: {architecture: 5}", "model.architecture: unknown architecture 5"),
        ("model: {architecture: [rpn]}", "model.architecture: "),
        ("model: {backbone: {name: [a]}}", "model.backbone.name: "),
        ("extensions: here.py", "extensions: give a list of modules or .py files"),
        ("extensions: [no_such_module]", "extension no_such_module: no module of this name"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(content, message, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(UserError) as caught:
        load_config(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding_is_one_line(tmp_path):
    (tmp_path / "mine.yaml").write_bytes("# größer\ntraining: {steps: 3}".encode("latin-1"))
    with pytest.raises(UserError, match=r"mine\.yaml: not UTF-8"):
        load_config(tmp_path / "mine.yaml")


def test_an_empty_file_is_the_defaults(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    assert load_config(tmp_path / "empty.yaml") == load_config("faster_rcnn_r50_fpn")


def test_an_unknown_name_says_the_nearest():
    with pytest.raises(UserError, match="did you mean 'faster_rcnn_r50_fpn'"):
        load_config("faster_rcnn_r50_fp")
    with pytest.raises(UserError, match="no such configuration file"):
        load_config("here/is/none.yaml")


def test_to_yaml_holds_everything():
    tree = yaml.safe_load(load_config("shapes").to_yaml())
    assert Config.model_validate(tree) == load_config("shapes")
    assert tree["training"]["momentum"] == 0.9


@pytest.fixture
def checkout(request):
    return request.config.rootpath


def test_the_page_of_settings_is_that_of_the_settings(checkout):
    from keras_fpn.config import settings_page

    code = "from keras_fpn.config import settings_page as page; print(page.page(), end='')"  # no test's extensions
    page = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=checkout).stdout
    assert page == (checkout / "docs" / "settings.md").read_text(), settings_page.__doc__
