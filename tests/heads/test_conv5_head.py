"""The C4 baseline's head against torchvision's layer4 and detectron2's Res5ROIHeads (golden/make_conv5.py), and models
with it: the C4, the C5 and the finest-level detectors of the paper's table 2."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.backbones.build import build_backbone, build_conv5
from keras_fpn.console.errors import UserError
from keras_fpn.heads.conv5_head import Conv5Head
from keras_fpn.layers.roi_align import RoIAlign
from keras_fpn.layers.roi_pool import RoIPool
from keras_fpn.models.files import load_model

CLASSES, VALID = 3, 4
RESNETS = {
    "bottleneck": {"name": "resnet50", "stride_in": "3x3", "width": 2},
    "basic": {"name": "resnet18", "stride_in": "3x3", "width": 2},
    "first_1x1": {"name": "resnet50", "stride_in": "first_1x1", "width": 2},
}


def torch_name(layer, kind):
    """`0.bn1` of torchvision or `0.conv1.norm` of detectron2 for `res5_0_norm1`."""
    _, block, part = layer.split("_", 2)
    if kind == "first_1x1":
        part = {"shortcut_conv": "shortcut", "shortcut_norm": "shortcut.norm"}.get(part, part)
        part = f"conv{part[-1]}.norm" if part.startswith("norm") else part
    else:
        part = {"shortcut_conv": "downsample.0", "shortcut_norm": "downsample.1"}.get(part, part)
    return f"{kind}.{block}.{part.replace('norm', 'bn', 1) if part.startswith('norm') else part}"


def drawn_head(draws, kind, norm="frozen_batch_norm"):
    """The head with the weights that the golden script drew."""
    head = Conv5Head(CLASSES, build_conv5(RESNETS[kind] | {"norm": norm, "freeze_at": 0}))
    head.build((None, None, 14, 14, head.conv5.inputs[0].shape[-1]))
    for layer in head.conv5.layers:
        name = layer.weights and torch_name(layer.name, kind)
        if layer.weights and "norm" in layer.name:
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([draws.weight(f"{name}.{part}", layer.weights[0].shape) for part in parts])
        elif layer.weights:
            height, width, channels, filters = layer.kernel.shape
            values = draws.weight(f"{name}.weight", (filters, channels, height, width))
            layer.set_weights([values.transpose(2, 3, 1, 0)])
    for layer in (head.class_logits, head.box_deltas):
        name, shape = f"{kind}.{layer.name}", layer.kernel.shape[::-1]
        layer.set_weights([draws.weight(f"{name}.weight", shape).T, draws.weight(f"{name}.bias", shape[:1])])
    return head


def feature(draws, kind, head):
    """C4 of the golden script, `{"C4": [1, 10, 14, C]}`."""
    channels = head.conv5.inputs[0].shape[-1]
    return {"C4": tf.constant(draws.normal(f"{kind}/C4", (1, channels, 10, 14)).transpose(0, 2, 3, 1))}


@pytest.mark.parametrize(
    ("kind", "method", "pooling"),
    [
        ("bottleneck", "max", RoIPool(14, strides={"C4": 16})),
        ("bottleneck", "align", RoIAlign(14, 2, False, strides={"C4": 16})),
        ("basic", "max", RoIPool(14, strides={"C4": 16})),
        ("first_1x1", "align", RoIAlign(14, 0, True, strides={"C4": 16})),
    ],
)
def test_equals_torchvision_and_detectron2(golden, draws, kind, method, pooling):
    head, kept = drawn_head(draws, kind), golden("conv5")
    logits, deltas = head(pooling(feature(draws, kind, head), kept["boxes"][None]))
    expected = kept.under(f"{kind}/{method}")
    np.testing.assert_allclose(logits[0], expected["class_logits"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(deltas[0], expected["box_deltas"].reshape(-1, CLASSES, 4), rtol=1e-4, atol=1e-4)


def test_live_statistics_leave_out_crops_that_only_pad(golden, draws):
    """torchvision saw the four valid crops alone."""
    kind, kept = "bottleneck", golden("conv5")
    head = drawn_head(draws, kind, "batch_norm")
    crops = RoIAlign(14, 2, False, strides={"C4": 16})(feature(draws, kind, head), kept["boxes"][None])
    logits, deltas = head(crops, training=True, is_valid=tf.range(len(kept["boxes"]))[None] < VALID)
    expected = kept.under(f"{kind}/training")
    np.testing.assert_allclose(logits[0, :VALID], expected["class_logits"], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(deltas[0, :VALID], expected["box_deltas"].reshape(-1, CLASSES, 4), rtol=1e-3, atol=1e-3)
    norms = [layer for layer in head.conv5.layers if "norm" in layer.name and layer.weights]
    norms = {torch_name(layer.name, kind): layer for layer in norms}
    order = [f"{kind}.{block}.{part}" for block in range(3) for part in ("bn1", "bn2", "bn3", "downsample.1")]
    means = np.concatenate([norms[name].moving_mean.numpy() for name in order if name in norms])
    np.testing.assert_allclose(means, expected["running_mean"], rtol=1e-4, atol=1e-4)


def test_is_what_the_backbone_has_between_c4_and_c5():
    settings = RESNETS["bottleneck"] | {"freeze_at": 0}
    backbone, conv5 = build_backbone(settings), build_conv5(settings)
    for layer in conv5.layers:
        layer.set_weights(backbone.get_layer(layer.name).get_weights() if layer.weights else [])
    maps = backbone(np.random.default_rng(0).normal(size=(1, 96, 128, 3)).astype("float32"))
    np.testing.assert_allclose(conv5(maps["C4"]), maps["C5"], rtol=1e-5, atol=1e-5)


def test_comes_back_from_its_settings(draws):
    head = drawn_head(draws, "bottleneck", "batch_norm")
    again = Conv5Head.from_config(head.get_config())
    again.build((None, None, 14, 14, 32))
    again.set_weights(head.get_weights())
    crops = draws.normal("crops", (1, 2, 14, 14, 32))
    np.testing.assert_array_equal(again(crops)[0], head(crops)[0])


# Models ---------------------------------------------------------------------------------------------------------

SIZES = [8.0, 16.0, 32.0, 64.0, 128.0]
ROWS = {
    "a": {
        "pyramid": {"name": "single_scale", "levels": ["C4"]},
        "anchors": {"sizes": {"C4": SIZES}},
        "roi_pooling": {"levels": ["C4"], "output_size": 14},
        "box_head": {"name": "conv5"},
    },
    "b": {
        "pyramid": {"name": "single_scale", "levels": ["C5"]},
        "anchors": {"sizes": {"C5": SIZES}},
        "roi_pooling": {"levels": ["C5"]},
        "box_head": {"units": 32},
    },
    "f": {
        "pyramid": {"name": "finest_level", "channels": 16, "levels": ["P2"]},
        "anchors": {"sizes": {"P2": SIZES}},
        "roi_pooling": {"levels": ["P2"]},
        "box_head": {"units": 32},
    },
}


@pytest.fixture
def row(tiny_settings):
    """`row("a", model_class)`: a tiny model of a row of table 2; groups given are differences from it."""

    def build(name, model_class=keras_fpn.FasterRCNN, **differences):
        settings = tiny_settings() | ROWS[name]
        if model_class is keras_fpn.FastRCNN:
            for group in ("anchors", "rpn", "proposals", "anchor_targets"):
                del settings[group]
        for group, values in differences.items():
            settings[group] = {**settings.get(group, {}), **values}
        keras.utils.set_random_seed(5)
        return model_class(**settings)

    return build


def given_proposals(batch):
    inputs, targets = batch
    boxes = np.concatenate([targets["boxes"] + 3, targets["boxes"] * 0.8], axis=1)
    return inputs | {"proposals": boxes, "num_proposals": np.array([6, 4], np.int32)}, targets


def changed(model, step, batch):
    """Names of the layers whose trainable variables one step has changed, and of those that it has not."""
    before = [variable.numpy() for variable in model.trainable_variables]
    step(batch)
    moved, kept = set(), set()
    for variable, old in zip(model.trainable_variables, before, strict=True):
        (kept if np.array_equal(variable.numpy(), old) else moved).add(variable.path.split("/")[-2])
    return moved, kept


@pytest.mark.parametrize(("name", "model_class"), [("a", "FasterRCNN"), ("a", "FastRCNN"), ("b", "FastRCNN")])
def test_a_step_trains_backbone_and_head_and_is_saved(row, tiny_batch, tmp_path, name, model_class):
    model = row(name, getattr(keras_fpn, model_class))
    model.compile()
    batch = given_proposals(tiny_batch) if model_class == "FastRCNN" else tiny_batch
    moved, kept = changed(model, model.train_step, batch)
    assert {"stem_conv", "res4_1_conv2", "res5_0_conv1", "res5_1_conv2", "class_logits", "box_deltas"} <= moved
    assert kept == set()
    assert ("res5_0_conv1" in [layer.name for layer in model.backbone.layers]) == (name == "b")
    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert isinstance(again.box_head, Conv5Head) == (name == "a")
    assert [variable.path for variable in again.weights] == [variable.path for variable in model.weights]
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.slow
def test_each_row_detects_with_both_ways_of_pooling(row, tiny_batch):
    inputs, _ = given_proposals(tiny_batch)
    for name in ROWS:
        model = row(name, keras_fpn.FastRCNN, roi_pooling={"method": "max"})
        detections = model(inputs)
        assert detections["boxes"].shape == (2, 10, 4) and np.isfinite(detections["boxes"]).all()
        features, boxes = model.features(inputs), tf.constant(inputs["proposals"], tf.float32)
        align = row(name, keras_fpn.FastRCNN, roi_pooling={"method": "align"})
        for each, kind in ((model, RoIPool), (align, RoIAlign)):
            assert isinstance(each.roi_pooling, kind)
            assert list(each.roi_pooling.strides.values()) == {"a": [16], "b": [32], "f": [4]}[name]
            crops = each.roi_pooling(features, boxes)
            assert crops.shape[2:] == {"a": (14, 14, 32), "b": (7, 7, 64), "f": (7, 7, 16)}[name]
            logits, deltas = each.box_head(crops)
            assert logits.shape == (2, 6, 5) and deltas.shape == (2, 6, 4, 4)


def test_files_from_before_the_names_load(tiny_model, tmp_path):
    """Version 0.4 wrote neither `box_head.name` nor `pyramid.name`."""
    tiny_model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in new.namelist():
            content = new.read(name)
            if name == "config.json":
                config = json.loads(content)
                assert config["config"]["box_head"].pop("name") == "fc"
                assert config["config"]["pyramid"].pop("name") == "fpn"
                content = json.dumps(config)
            old.writestr(name, content)
    again = load_model(tmp_path / "old.keras")
    assert (again.settings["box_head"]["name"], again.settings["pyramid"]["name"]) == ("fc", "fpn")
    for ours, theirs in zip(tiny_model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize(("norm", "freeze_at"), [("frozen_batch_norm", 0), ("batch_norm", 0), ("batch_norm", 5)])
def test_freezing_is_the_backbones(norm, freeze_at):
    conv5 = build_conv5(RESNETS["basic"] | {"norm": norm, "freeze_at": freeze_at})
    head = Conv5Head(2, conv5)
    head.build((None, None, 14, 14, 8))
    # ResNet-18: 5 convolutions and 5 norms with a scale and a shift; two predictors with biases.
    assert len(head.trainable_variables) == 4 + (0 if freeze_at == 5 else 5 if norm == "frozen_batch_norm" else 15)
    before = conv5.get_layer("res5_0_norm1").moving_mean.numpy()
    head(np.ones((1, 3, 14, 14, 8), np.float32), training=True)
    learns = norm == "batch_norm" and freeze_at < 5
    assert np.array_equal(before, conv5.get_layer("res5_0_norm1").moving_mean.numpy()) != learns


@pytest.mark.parametrize(
    ("differences", "message"),
    [
        ({"backbone": {"name": "mobilenet_v3_large"}}, "backbone.width: mobilenet_v3_large does not read it"),
        ({"pyramid": {"levels": ["C5"]}}, "roi_pooling.levels: C4 is not among pyramid.levels C5"),
        (
            {"pyramid": {"levels": ["C5"]}, "roi_pooling": {"levels": ["C5"]}},
            r"box_head.name: conv5 reads C4, not C5; set roi_pooling.levels=\[C4\]",
        ),
        ({"box_head": {"name": "conv4"}}, "box_head.name: unknown head 'conv4'; did you mean 'conv5'"),
        ({"roi_pooling": {"levels": []}}, "roi_pooling.levels: list should have at least 1 item"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(row, differences, message):
    with pytest.raises(UserError, match=message) as raised:
        row("a", keras_fpn.FastRCNN, **differences)
    assert "\n" not in str(raised.value)


def test_networks_of_keras_have_no_conv5_that_could_be_taken():
    with pytest.raises(UserError, match="conv5 is a stage of resnet18, .*; ResNet50 has none of its own"):
        build_conv5({"name": "ResNet50", "norm": "batch_norm", "freeze_at": 0})
    with pytest.raises(UserError, match="conv5 is a stage of resnet18, .*; mobilenet_v3_large has none of its own"):
        build_conv5({"name": "mobilenet_v3_large", "norm": "batch_norm", "freeze_at": 0})


def test_levels_with_a_gap_are_refused(tiny_settings):
    with pytest.raises(UserError, match="roi_pooling.levels: P2, P4; give neighbours"):
        keras_fpn.FasterRCNN(**tiny_settings() | {"roi_pooling": {"levels": ["P2", "P4"]}})
