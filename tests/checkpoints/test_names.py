"""The tables of names beside the parts: a part of one's own brings its own, and one without is refused by name."""

import keras
import numpy as np
import pytest

import keras_fpn
from keras_fpn.backbones.build import build_backbone
from keras_fpn.checkpoints import conversion, detectron2, torchvision, variables
from keras_fpn.checkpoints.entries import entries
from keras_fpn.console.errors import UserError
from keras_fpn.parts.checkpoint_names import LINEAR, ClassRows, Named, flattened, named, reordered


class ColourHead(keras.layers.Layer):
    """A head that no source has: one score and three colours of each class, from a crop of 2 x 2 cells."""

    checkpoint_names = {
        "torchvision": lambda head, model: {
            "hidden": Named("roi_heads.colour_head.fc", kernel=flattened(2)),
            r"(score|colour)": r"roi_heads.colour_predictor.\1",
            "scale": "roi_heads.colour_head.scale",
        },
        "detectron2": {"hidden": "colour.hidden", "score": "colour.score"},
    }
    class_rows = {"score": ClassRows(1, others=1), "colour": ClassRows(3, others=0)}

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(5, name="hidden")
        self.score = keras.layers.Dense(num_classes + 1, name="score")
        self.colour = keras.layers.Dense(3 * num_classes, name="colour")
        self.scale = keras.layers.LayerNormalization(name="scale")

    def build(self, shape):
        self.hidden.build((None, 4 * 7))
        for layer in (self.score, self.colour, self.scale):
            layer.build((None, 5))


class ColourStage(keras_fpn.Stage):
    """Holds the head, and does nothing with it."""

    name, parts = "colour", ("colour_head",)

    def __init__(self, context, name=None):
        super().__init__(context, name)
        self.head = ColourHead(len(context.classes), name="colour")

    def layers(self):
        return {"colour_head": self.head}

    def build(self):
        self.head.build(None)

    def infer(self, features, state):
        return {}


class Coloured(keras_fpn.FasterRCNN):
    """A Faster R-CNN with a part of its own."""

    stage_types = (*keras_fpn.FasterRCNN.stage_types, ColourStage)


@pytest.fixture
def model(tiny_settings):
    """A tiny detector of torchvision's profile with a head of its own."""
    model = Coloured(**tiny_settings() | {"profile": "torchvision"})
    head = model.colour_head
    for index, variable in enumerate(head.weights):
        variable.assign(np.random.default_rng(index).normal(size=variable.shape))
    return model


def test_a_part_of_ones_own_is_written_and_read_by_its_table(model):
    tensors = conversion.to_torchvision(model)
    head, name = model.colour_head, "roi_heads.colour_"
    assert {key for key in tensors if key.startswith(name)} == {
        f"{name}{layer}.{kind}"
        for layer in ("head.fc", "head.scale", "predictor.score", "predictor.colour")
        for kind in ("weight", "bias")
    }
    # Classes 1..4 there, after the background, of which the colours know nothing.
    np.testing.assert_array_equal(tensors[f"{name}predictor.score.bias"], head.score.bias.numpy()[[4, 0, 1, 2, 3]])
    colours = tensors[f"{name}predictor.colour.weight"]
    assert colours.shape == (15, 5) and not colours[:3].any()
    np.testing.assert_array_equal(colours[3:], head.colour.kernel.numpy().T)
    crop = np.random.default_rng(0).normal(size=(1, 2, 2, 7)).astype(np.float32)
    theirs = crop.transpose(0, 3, 1, 2).reshape(1, -1) @ tensors[f"{name}head.fc.weight"].T
    np.testing.assert_allclose(theirs, crop.reshape(1, -1) @ head.hidden.kernel.numpy(), rtol=1e-5)
    before = [variable.numpy() for variable in head.weights]
    for variable in head.weights:
        variable.assign(np.zeros(variable.shape))
    variables.load(torchvision.entries(model), tensors, file="f")
    for variable, value in zip(head.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_part_or_a_layer_without_a_name_is_told(model):
    with pytest.raises(UserError, match="^colour_head ColourHead: colour has no name among detectron2's$"):
        list(detectron2.entries(model))
    with pytest.raises(UserError, match="^backbone resnet18: not among caffe's; its weights have no names there$"):
        list(entries(model, "caffe"))
    other = keras_fpn.RPN("resnet18", pyramid={"name": "bottom_up"})
    with pytest.raises(UserError, match="^pyramid bottom_up: not among detectron2's; its weights have no names there$"):
        list(detectron2.entries(other))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("resnet34", "torchvision"),
        ("resnet34", "torchvision classifier"),
        ("resnet34", "detectron2"),
        ("mobilenet_v3_large", "torchvision"),
        ("mobilenet_v3_large", "torchvision classifier"),
    ],
)
def test_every_weight_of_a_backbone_has_a_name_of_its_own(name, source):
    backbone = build_backbone({"name": name})
    found = list(entries(backbone, source))
    assert {id(entry.variable) for entry in found} == {id(variable) for variable in backbone.weights}
    assert len({entry.name for entry in found}) == len(found) == len(backbone.weights)


def test_names_match_whole_and_rows_go_back():
    table = {r"conv_(\d)": r"a.\1.0", r"conv_\d_norm": Named("b", LINEAR)}
    assert named(table, "conv_3") == Named("a.3.0") and named(table, "conv_3_norm") == Named("b", LINEAR)
    assert named(table, "conv_12") is None
    transform, tensor = reordered(LINEAR, [2, 0], 3), np.arange(6.0).reshape(3, 2)
    ours = transform.to_ours(tensor)
    np.testing.assert_array_equal(ours, [[4, 0], [5, 1]])
    np.testing.assert_array_equal(transform.to_source(ours), [[0, 1], [0, 0], [4, 5]])
