"""Weights of a file as the start of another model: what fits is taken, the rest is listed."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

import keras_fpn
from keras_fpn.backbones.build import build_backbone
from keras_fpn.checkpoints.transfer import start_from
from keras_fpn.console.errors import UserError
from keras_fpn.data.shapes import write_shapes
from keras_fpn.models.architectures import ARCHITECTURES


@pytest.fixture
def build(tiny_settings):
    """`build(num_classes=..., group={...})`: a tiny detector whose weights, statistics too, are all drawn anew."""

    def make(seed=0, model_class=keras_fpn.FasterRCNN, **differences):
        settings = tiny_settings() | differences
        if model_class is keras_fpn.RPN:
            groups = ARCHITECTURES[model_class.architecture].groups
            settings = {key: value for key, value in settings.items() if key in groups}
        elif settings["num_classes"] != 4 and "class_names" not in differences:
            settings["class_names"] = None
        model = model_class(**settings)
        random = np.random.default_rng(seed)
        for variable in model.weights:
            if variable.dtype == "float32":
                variable.assign(random.uniform(0.5, 1.5, variable.shape))
        return model

    return make


@pytest.fixture
def saved(tmp_path):
    def save(model, name="start.keras"):
        model.save(tmp_path / name)
        return tmp_path / name

    return save


def _weights(model):
    stages = (model.backbone, model.pyramid, model.rpn_head, getattr(model, "box_head", None))
    layers = [layer for stage in stages if stage for layer in stage._flatten_layers(include_self=False)]
    return {f"{layer.name}/{weight.name}": weight.numpy() for layer in layers for weight in layer.weights}


def _differing(ones, others):
    return {name for name in ones if name in others and not np.array_equal(ones[name], others[name])}


def test_everything_is_taken_from_a_model_like_it(build, saved):
    source, model = build(1), build(2)
    assert len(_differing(_weights(source), _weights(model))) > 100
    transfer = start_from(model, saved(source, "model.keras").parent)  # as the folder of a run
    assert _differing(_weights(source), _weights(model)) == set()
    # ResNet-18: 20 convolutions and 20 norms of four vectors; 4 + 4 pyramid, 3 RPN and 4 box head layers with biases.
    assert transfer.taken == {"backbone": (100, 100), "pyramid": (16, 16), "rpn_head": (6, 6), "box_head": (8, 8)}
    assert (transfer.resized, transfer.absent, transfer.unused, transfer.notes) == ([], [], [], [])


def test_predictors_of_other_classes_are_left_as_initialised_and_listed(build, saved):
    source, model = build(1), build(2, num_classes=3)
    before = _weights(model)
    transfer = start_from(model, saved(source))
    predictors = {f"{layer}/{kind}" for layer in ("class_logits", "box_deltas") for kind in ("kernel", "bias")}
    assert _differing(_weights(source), _weights(model)) == predictors
    assert predictors.isdisjoint(_differing(before, _weights(model)))
    assert ("box_head/class_logits/kernel", (32, 5), (32, 4)) in transfer.resized
    assert ("box_head/box_deltas/bias", (16,), (12,)) in transfer.resized
    assert len(transfer.resized) == 4 and transfer.taken["box_head"] == (4, 8)
    told = "\n".join(transfer.lines())
    assert "backbone 100 of 100, pyramid 16 of 16, rpn_head 6 of 6, box_head 4 of 8 tensors" in told
    assert "re-initialised, another size: box_head/class_logits/kernel 32x5 -> 32x4, " in told


def test_the_same_classes_in_another_order_take_their_rows_along(build, saved):
    source = build(1)
    order = [2, 0, 3, 1]
    names = [source.class_names[index] for index in order]
    model = build(2, class_names=names)
    transfer = start_from(model, saved(source))
    theirs, ours = _weights(source), _weights(model)
    np.testing.assert_array_equal(ours["class_logits/kernel"], theirs["class_logits/kernel"][:, [*order, 4]])
    np.testing.assert_array_equal(
        ours["box_deltas/kernel"].reshape(32, 4, 4), theirs["box_deltas/kernel"].reshape(32, 4, 4)[:, order]
    )
    np.testing.assert_array_equal(ours["box_deltas/bias"].reshape(4, 4), theirs["box_deltas/bias"].reshape(4, 4)[order])
    assert transfer.notes == []


def test_classes_of_other_names_are_taken_in_order_and_told(build, saved):
    source, model = build(1), build(2, class_names=["circle", "disc", "cross", "star"])
    transfer = start_from(model, saved(source))
    assert _differing(_weights(source), _weights(model)) == set()
    (note,) = transfer.notes
    assert note == "the predictors start from those of other classes, in their order: 'disc' from 'square' ..."


@pytest.mark.parametrize("into_fewer", [True, False])
def test_rows_that_are_no_class_do_not_hinder(build, saved, into_fewer):
    """91 rows of torchvision into the 81 of a configuration, and back; here 4 classes with 1 or 3 rows beside them."""
    many = {"background_logits": 3, "background_boxes": 2, "units": 32}
    source = build(1, box_head=many if into_fewer else {"units": 32})
    model = build(2, box_head={"units": 32} if into_fewer else many)
    before = _weights(model)
    transfer = start_from(model, saved(source))
    theirs, ours = _weights(source), _weights(model)
    assert transfer.resized == [] and transfer.taken["box_head"] == (8, 8)
    np.testing.assert_array_equal(ours["class_logits/kernel"][:, :5], theirs["class_logits/kernel"][:, :5])
    np.testing.assert_array_equal(ours["class_logits/bias"][:5], theirs["class_logits/bias"][:5])
    np.testing.assert_array_equal(ours["box_deltas/kernel"][:, :16], theirs["box_deltas/kernel"][:, :16])
    np.testing.assert_array_equal(ours["box_deltas/bias"][:16], theirs["box_deltas/bias"][:16])
    np.testing.assert_array_equal(ours["class_logits/bias"][5:], before["class_logits/bias"][5:])


KEYPOINT_HEAD = {"pooling_size": 4, "conv_layers": 1, "channels": 8}
BIRD = ["beak", "left_wing", "right_wing", "tail"]


@pytest.mark.parametrize(
    ("theirs", "ours", "pairs", "told"),
    [
        (BIRD, BIRD[::-1], [(0, 3), (1, 2), (2, 1), (3, 0)], None),
        (BIRD, ["tail", "crest", "beak"], [(0, 3), (2, 0)], "keypoint_head: the file has no crest among its 4 names"),
        (BIRD, ["a", "b", "c", "d"], [], "the file has no a, b, c, d among its 4 names; their rows begin anew"),
        (None, BIRD, [(0, 0), (1, 1), (2, 2), (3, 3)], None),  # nobody named them: by number
        (BIRD, None, [(0, 0), (1, 1), (2, 2), (3, 3)], None),
    ],
)
def test_keypoints_pair_by_their_names(build, saved, theirs, ours, pairs, told):
    def made(seed, names):
        more = {"keypoint_names": names} if names else {"num_keypoints": 4}
        return build(seed, keras_fpn.KeypointRCNN, keypoint_head=KEYPOINT_HEAD, **more)

    source, model = made(1, theirs), made(2, ours)
    kernel, bias = (variable.numpy().copy() for variable in model.keypoint_head.score_lowres.weights)
    transfer = start_from(model, saved(source))
    given = [variable.numpy() for variable in source.keypoint_head.score_lowres.weights]
    for here, there in pairs:
        kernel[:, :, here], bias[here] = given[0][:, :, there], given[1][there]
    found = [variable.numpy() for variable in model.keypoint_head.score_lowres.weights]
    np.testing.assert_array_equal(found[0], kernel)
    np.testing.assert_array_equal(found[1], bias)
    notes = [note for note in transfer.notes if "keypoint_head" in note]
    assert transfer.taken["keypoint_head"] == (4 if pairs else 2, 4) and transfer.resized == []
    assert len(notes) == (told is not None) and (told is None or told in notes[0])


@pytest.mark.parametrize("into_fewer", (True, False))
def test_as_many_rows_of_other_classes_do_not_fit_by_chance(build, saved, into_fewer):
    """80 classes and 11 other rows are as many as 90 classes and the background; here 4 and 3 as 6 and 1."""
    many, few = {"box_head": {"units": 32, "background_logits": 3, "background_boxes": 2}}, {"num_classes": 6}
    few |= {"category_ids": [1, 2, 3, 4, 5, 6], "box_head": {"units": 32}}
    source, model = (build(1, **few), build(2, **many)) if into_fewer else (build(1, **many), build(2, **few))
    before = _weights(model)
    transfer = start_from(model, saved(source))
    assert transfer.taken["box_head"] == (4, 8) and len(transfer.resized) == 4
    changed = _differing(before, _weights(model))
    assert "fc1/kernel" in changed and not [name for name in changed if name.startswith(("class_logits", "box_deltas"))]


def test_an_rpn_starts_a_detector_and_the_other_way_round(build, saved):
    rpn, detector = build(1, keras_fpn.RPN), build(2)
    before = _weights(detector)
    transfer = start_from(detector, saved(rpn))
    assert transfer.taken == {"backbone": (100, 100), "pyramid": (16, 16), "rpn_head": (6, 6)}
    assert len(transfer.absent) == 8 and "box_head/fc1/kernel" in transfer.absent
    assert _differing(before, _weights(detector)) == set(_weights(rpn))
    transfer = start_from(rpn, saved(build(3), "detector.keras"))
    assert transfer.absent == [] and len(transfer.unused) == 8 and "box_head/fc1/kernel" in transfer.unused
    assert "  in the file and not used: box_head/fc1/kernel, " in "\n".join(transfer.lines())


def test_a_backbone_file_fills_the_backbone_alone(build, saved):
    source, model = build(1), build(2)
    before = _weights(model)
    transfer = start_from(model, saved(source.backbone))
    assert transfer.taken == {"backbone": (100, 100)} and len(transfer.absent) == 30
    told = "not in the file, left as initialised: 16 tensors of pyramid, 6 tensors of rpn_head, 8 tensors of box_head"
    assert any(told in line for line in transfer.lines())
    changed = _differing(before, _weights(model))
    assert changed == {f"{layer.name}/{w.name}" for layer in model.backbone.layers for w in layer.weights}


def test_layers_that_keras_numbered_pair_by_place(build, saved):
    """keras.applications leave some layers unnamed: conv2d_7 of one model is not conv2d_7 of another."""

    def backbone():
        inputs = keras.Input((None, None, 3), name="image")
        maps, taps = keras.layers.Conv2D(4, 3, 4, "same")(inputs), {}
        for level in ("C2", "C3", "C4", "C5"):
            taps[level] = maps = keras.layers.Conv2D(4, 3, 2, "same")(maps)
        return keras.Model(inputs, taps, name="numbered")

    model, source = build(2), backbone()
    object.__setattr__(model, "backbone", backbone())  # past Keras, which lets a built model keep its layers
    assert source.layers[2].name != model.backbone.layers[2].name
    transfer = start_from(model, saved(source))
    assert transfer.taken["backbone"] == (10, 10) and transfer.unused == []
    for ours, theirs in zip(model.backbone.weights, source.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_other_conventions_are_told_with_the_settings_that_suit(build, saved, tiny_settings):
    source = build(1, profile="torchvision", pyramid={"channels": 16, "norm": "frozen_batch_norm"})
    transfer = start_from(build(2), saved(source))
    (note,) = transfer.notes
    for key in ("pixels.channel_order", "pixels.mean", "backbone.stride_in", "anchors.rounding", "anchors.order"):
        assert key in note
    assert "model.roi_pooling.aligned=false" in note and "model.pixels.channel_order=RGB" in note
    assert "model.pyramid.norm=frozen_batch_norm" in note and "(the file's profile is 'torchvision')" in note
    assert "resize" not in note and "detections" not in note
    # Set as the note says, nothing is left to tell.
    words = note.partition("--set ")[2].partition(" (the file")[0].split(" ")
    tiny = tiny_settings()
    groups = {group: dict(tiny[group]) for group in ("pyramid", "backbone", "anchors", "roi_pooling")}
    for key, value in (word.removeprefix("model.").split("=", 1) for word in words):
        group, name = key.split(".")
        groups.setdefault(group, {})[name] = yaml.safe_load(value.strip("'"))
    assert start_from(build(3, **groups), saved(source)).notes == []


def test_a_backbones_conventions_are_read_off_its_layers(build, saved):
    settings = {"name": "resnet50", "width": 8, "freeze_at": 0}
    source = build_backbone(settings | {"stride_in": "3x3", "norm": "frozen_batch_norm", "norm_epsilon": 1e-3})
    transfer = start_from(build(2, backbone=settings | {"stride_in": "first_1x1"}), saved(source))
    (note,) = [note for note in transfer.notes if "epsilon" not in note]
    assert "model.backbone.stride_in=3x3" in note
    assert "model.pixels.channel_order=RGB" in note


def _features(model):
    images = np.random.default_rng(3).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    return model.features({"images": images, "image_sizes": np.int32([[64, 96]])})


def _epsilons(model):
    layers = model._flatten_layers(include_self=False)
    return {layer.epsilon for layer in layers if hasattr(layer, "moving_variance")}


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["frozen_batch_norm", "batch_norm"])
@pytest.mark.parametrize("part", ["detector", "backbone"])
def test_the_files_epsilon_goes_along_with_its_statistics(build, saved, part, norm):
    backbone = {"name": "resnet18", "width": 8, "freeze_at": 0}
    source = build(1, backbone=backbone | {"norm_epsilon": 0.02})
    model = build(2, backbone=backbone | {"norm": norm})
    model.predict(np.zeros((1, 32, 32, 3), np.float32), verbose=0)  # a graph with the epsilon that was
    transfer = start_from(model, saved(source if part == "detector" else source.backbone))
    assert _epsilons(model) == {0.02} and model.settings["backbone"]["norm_epsilon"] == 0.02
    (note,) = [note for note in transfer.notes if "epsilon" in note]
    assert note == "the backbone's batch-norm epsilon is now 0.02, that of the file, and was 1e-05"
    for level, theirs in source.backbone(_pixels()).items():
        np.testing.assert_allclose(model.backbone(_pixels())[level], theirs, rtol=1e-5, atol=1e-5)
    if part == "detector":
        for level, theirs in _features(source).items():
            np.testing.assert_allclose(_features(model)[level], theirs, rtol=1e-5, atol=1e-5)
    again = keras_fpn.load_model(saved(model, "again.keras"))
    assert _epsilons(again) == {0.02} and again.settings["backbone"]["norm_epsilon"] == 0.02
    scores = [each.predict(255 * _pixels(), verbose=0)["scores"] for each in (model, again)]
    np.testing.assert_array_equal(*scores)


def _pixels():
    return np.random.default_rng(4).uniform(0, 1, (1, 64, 64, 3)).astype(np.float32)


def test_an_epsilon_of_zero_is_not_taken_for_statistics_that_are_learnt(build, saved):
    backbone = {"name": "resnet18", "width": 8, "freeze_at": 0}
    source = build(1, backbone=backbone | {"norm_epsilon": 0.0})
    model = build(2, backbone=backbone | {"norm": "batch_norm"})
    transfer = start_from(model, saved(source))
    assert _epsilons(model) == {1e-5}
    (note,) = transfer.notes
    assert note == (
        "the file's batch-norm epsilon of 0 suits frozen statistics only; the backbone's stays 1e-05"
    )


@pytest.mark.slow
def test_a_backbone_of_another_kind_is_refused_and_changes_nothing(build, saved):
    model = build(2)
    before = _weights(model)
    mobilenet = build_backbone({"name": "mobilenet_v3_large", "norm": "batch_norm", "norm_epsilon": 1e-3})
    with pytest.raises(UserError, match=r"its backbone is mobilenet_v3_large, .*is resnet18, and "):
        start_from(model, saved(mobilenet))
    wider = build(1, backbone={"name": "resnet34", "width": 12, "freeze_at": 0})
    with pytest.raises(UserError, match=r"is resnet18, and backbone/.* does not fit; give weights of this"):
        start_from(model, saved(wider))
    # 77 of the 100 tensors of ResNet-18 have a namesake of the same shape, which means nothing there.
    deeper = build(1, backbone={"name": "resnet50", "width": 8, "freeze_at": 0})
    with pytest.raises(UserError, match="its backbone is resnet50, .*res2_0_conv1/kernel 1x1x8x8 -> 3x3x8x8"):
        start_from(model, saved(deeper))
    # All 100 tensors of ResNet-18 are in ResNet-34, and so each fits.
    longer = build(1, backbone={"name": "resnet34", "width": 8, "freeze_at": 0})
    with pytest.raises(UserError, match="its backbone is resnet34, .*backbone/res2_2_conv1/kernel does not fit"):
        start_from(model, saved(longer))
    assert _differing(before, _weights(model)) == set()


def test_files_that_cannot_be_used(build, saved, tmp_path):
    model = build(2)
    with pytest.raises(UserError, match=r"nowhere\.keras: no such weights; give a \.keras file"):
        start_from(model, tmp_path / "nowhere.keras")
    with pytest.raises(UserError, match=r"model\.keras: no such weights"):  # a folder that is no run
        start_from(model, tmp_path)
    whole = saved(build(1)).read_bytes()
    (tmp_path / "short.keras").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"short\.keras: not a whole Keras model") as caught:
        start_from(model, tmp_path / "short.keras")
    assert "\n" not in str(caught.value)
    (tmp_path / "weights.pth").write_bytes(whole)
    with pytest.raises(UserError, match=r"weights\.pth: no \.keras file; keras-fpn convert makes one"):
        start_from(model, tmp_path / "weights.pth")
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(UserError, match="a Sequential, neither a detector nor a backbone of this package"):
        start_from(model, saved(other))
    sick = build(1)
    sick.rpn_head.weights[0].assign(tf.fill(sick.rpn_head.weights[0].shape, np.nan))
    before = _weights(model)
    with pytest.raises(UserError, match="rpn_head/conv_0/kernel holds values that are not finite"):
        start_from(model, saved(sick))
    assert _differing(before, _weights(model)) == set()


# Through the command ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=4, num_val=2, size=64)
    return folder


@pytest.mark.slow
def test_train_starts_from_a_model_of_other_classes(run, shapes, tmp_path):
    """A detector of 80 classes, fine-tuned on the data set's own: from a run folder, by a relative path."""
    config = keras_fpn.load_config("tiny").model
    settings = config.differences()
    settings["backbone"] |= {"norm_epsilon": 1e-3}
    pretrained = keras_fpn.FasterRCNN(80, profile=config.profile, **settings)
    marked = pretrained.rpn_head.weights[0]
    marked.assign(tf.fill(marked.shape, 0.125))
    (tmp_path / "before").mkdir()
    pretrained.save(tmp_path / "before" / "model.keras")
    number = len(json.loads((shapes / "annotations" / "instances_train.json").read_text())["categories"])
    settings = [f"model.num_classes={number}", "training.learning_rate=1e-12", "training.warmup_steps=0"]
    settings += ["training.steps=1", "training.evaluate_every=0"]
    code, out, error = run(
        "train", "tiny", "--data", shapes, "--out", "run", "--weights", "before", "--set", *settings
    )
    assert (code, error) == (0, "")
    assert f"weights of {tmp_path / 'before' / 'model.keras'}" in out
    assert "re-initialised, another size: box_head/class_logits/kernel " in out
    assert "starts from random weights" not in out
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert kept["training"]["weights"] == str(tmp_path / "before" / "model.keras")
    assert kept["model"]["backbone"]["norm_epsilon"] == 1e-3  # the file's, and so that of the run when it is resumed
    assert "batch-norm epsilon is now 0.001, that of the file" in out
    assert _epsilons(keras_fpn.load_model(tmp_path / "run" / "last.keras").backbone) == {1e-3}
    tuned = keras_fpn.load_model(tmp_path / "run")
    assert tuned.num_classes == number
    np.testing.assert_allclose(tuned.rpn_head.weights[0].numpy(), 0.125, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "nowhere.keras"], "nowhere.keras: no such weights"),
        (["--set", "training.weights=nowhere.keras"], "nowhere.keras: no such weights"),
        (["--weights", "a.keras", "--set", "training.weights=b.keras"], "both name weights; give one of them"),
    ],
)
def test_wrong_weights_make_no_folder(run, shapes, tmp_path, arguments, message):
    code, _, error = run("train", "tiny", "--data", shapes, "--out", "run", *arguments)
    assert (code, error.count("\n")) == (2, 1)
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_makes_no_folder(run, shapes, tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 and no more")
    code, _, error = run("train", "tiny", "--data", shapes, "--out", "run", "--weights", "broken.keras")
    assert (code, error.count("\n")) == (2, 1)
    assert "broken.keras: not a whole Keras model; copy or convert it again" in error
    assert [path.name for path in tmp_path.iterdir()] == ["broken.keras"]


def test_a_resumed_run_takes_no_weights(run):
    code, _, error = run("train", "--resume", "run", "--weights", "model.keras")
    assert code == 2 and "--weights does not go with --resume" in error


# conv5, a stage of the backbone or a part of the head ------------------------------------------------------------

C4 = {
    "pyramid": {"name": "single_scale", "levels": ["C4"]},
    "anchors": {"sizes": {"C4": [8.0, 16.0, 32.0, 64.0, 128.0]}},
    "roi_pooling": {"levels": ["C4"], "output_size": 14},
    "box_head": {"name": "conv5"},
}


def _values(model):
    """`{layer/variable: values}` of all that a file holds of the layers, wherever they are."""
    return {"/".join(variable.path.split("/")[-2:]): variable.numpy() for variable in model.weights}


@pytest.fixture
def build_c4(build):
    """Like `build`, of the paper's C4 baseline; a `FastRCNN`, too."""

    def make(seed, model_class=keras_fpn.FasterRCNN):
        if model_class is not keras_fpn.FastRCNN:
            return build(seed, model_class, **C4)
        source = build(seed, **C4)  # whose settings it shares, but for those of the RPN
        groups = ARCHITECTURES[model_class.architecture].groups
        model = model_class(4, **{group: source.settings[group] for group in groups})
        for variable in model.weights:
            variable.assign(np.random.default_rng(seed).uniform(0.5, 1.5, variable.shape))
        return model

    return make


def test_a_backbone_file_starts_an_rpn_on_c4_without_its_conv5(build, build_c4, saved):
    source, model = build(1), build_c4(2, keras_fpn.RPN)
    transfer = start_from(model, saved(source.backbone))
    # ResNet-18 to C4: 15 convolutions and norms; conv5 has 5 of each. An RPN head of three layers.
    assert transfer.taken == {"backbone": (75, 75)} and len(transfer.absent) == 6
    assert len(transfer.unused) == 25 and "backbone/res5_1_conv2/kernel" in transfer.unused
    (note,) = [note for note in transfer.notes if "conventions" not in note]
    assert note == "the model's backbone ends at C4: what the file has beyond is not used"
    assert "in the file and not used: 25 tensors of backbone" in "\n".join(transfer.lines())
    theirs, ours = _values(source), _values(model)
    assert _differing({name: ours[name] for name in ours if name.startswith(("stem", "res"))}, theirs) == set()


def test_conv5_of_a_backbone_file_starts_the_head_on_c4(build, build_c4, saved):
    source, model = build(1), build_c4(2)
    before = _values(model)
    transfer = start_from(model, saved(source.backbone))
    assert transfer.taken == {"backbone": (75, 75), "box_head": (25, 29)}
    assert transfer.unused == [] and [name for name in transfer.absent if name.startswith("box_head")] == [
        f"box_head/{layer}/{kind}" for layer in ("class_logits", "box_deltas") for kind in ("kernel", "bias")
    ]
    moved = {name for name in before if name.startswith(("stem", "res"))}
    assert _differing(before, _values(model)) == moved and len(moved) == 100
    assert _differing(_values(source.backbone), _values(model)) == set()


@pytest.mark.slow
def test_the_heads_conv5_has_the_backbones_epsilon(build, build_c4, saved):
    source, model = build(1, backbone={"name": "resnet18", "width": 8, "norm_epsilon": 0.02}), build_c4(2)
    (note,) = [note for note in start_from(model, saved(source)).notes if "epsilon" in note]
    assert _epsilons(model) == {0.02} and _epsilons(model.box_head) == {0.02}
    assert _epsilons(keras_fpn.load_model(saved(model, "again.keras"))) == {0.02}
    again = build(3)
    start_from(again, saved(model, "c4.keras"))
    assert _epsilons(again) == {0.02}


def test_conv5_goes_from_the_pyramids_backbone_into_the_head_and_back(build, build_c4, saved):
    pyramid, c4 = build(1), build_c4(2)
    transfer = start_from(c4, saved(pyramid))
    assert transfer.taken["backbone"] == (75, 75) and transfer.taken["box_head"] == (25, 29)
    assert {name for name in transfer.unused if name.startswith("box_head")} == {
        f"box_head/{layer}/{kind}"
        for layer in ("fc1", "fc2", "class_logits", "box_deltas")
        for kind in ("kernel", "bias")
    }
    assert not [note for note in transfer.notes if "anchors" in note or "roi_pooling" in note]
    assert _differing(_values(pyramid.backbone), _values(c4)) == set()
    again = build(3)
    transfer = start_from(again, saved(c4, "c4.keras"))
    assert transfer.taken["backbone"] == (100, 100) and "box_head" not in transfer.taken
    assert {name for name in transfer.unused if name.startswith("box_head")} == {
        f"box_head/{layer}/{kind}" for layer in ("class_logits", "box_deltas") for kind in ("kernel", "bias")
    }
    assert _differing(_values(pyramid.backbone), _values(again)) == set()


@pytest.mark.slow
def test_detectors_on_c4_start_one_another(build_c4, saved):
    whole = build_c4(1)
    other = build_c4(2)
    transfer = start_from(other, saved(whole))
    assert (transfer.absent, transfer.unused, transfer.resized, transfer.notes) == ([], [], [], [])
    assert _differing(_values(whole), _values(other)) == set()
    rpn, second = build_c4(3, keras_fpn.RPN), build_c4(4, keras_fpn.FastRCNN)
    for part, taken in ((rpn, {"backbone", "rpn_head"}), (second, {"backbone", "box_head"})):
        transfer = start_from(part, saved(whole))
        assert set(transfer.taken) >= taken and transfer.absent == []
        assert _differing(_values(part), _values(whole)) == set()
    fresh = build_c4(5)
    transfer = start_from(fresh, saved(rpn, "rpn.keras"))
    assert len(transfer.absent) == 29 and "box_head/res5_0_conv1/kernel" in transfer.absent
    transfer = start_from(fresh, saved(second, "second.keras"))
    assert len(transfer.absent) == 6 and _differing(_values(whole), _values(fresh)) == set()


def test_a_backbone_that_ends_too_soon_is_refused(build, build_c4, saved):
    model = build(2)
    before = _values(model)
    with pytest.raises(UserError, match="its backbone ends at C4, the model's goes on to C5; give weights of a whole"):
        start_from(model, saved(build_c4(1, keras_fpn.RPN)))
    assert _differing(before, _values(model)) == set()
