"""Presets of KerasHub's RetinaNet, laid out as KerasHub 0.32 writes them (golden/make_keras_hub_layout.py)."""

import json
import re

import h5py
import numpy as np
import pytest

from keras_fpn.checkpoints import conversion
from keras_fpn.console.errors import UserError
from tests.checkpoints.layouts import WIDTHS

# Their names of layers, and ours.
NAMES = (
    (r"conv1_conv", "backbone", "stem_conv"),
    (r"conv1_bn", "backbone", "stem_norm"),
    (r"stack(\d)_block(\d)_0_conv", "backbone", "res{}_{}_shortcut_conv"),
    (r"stack(\d)_block(\d)_0_bn", "backbone", "res{}_{}_shortcut_norm"),
    (r"stack(\d)_block(\d)_(\d)_conv", "backbone", "res{}_{}_conv{}"),
    (r"stack(\d)_block(\d)_(\d)_bn", "backbone", "res{}_{}_norm{}"),
    (r"fpn/lateral_conv_P(\d)", "pyramid", "lateral_C{}"),
    (r"fpn/output_conv_P(\d)", "pyramid", "output_P{}"),
    (r"fpn/coarser_P(\d)", "pyramid", "downsample_P{}"),
    (r"box_head/conv2d_(\d)", "dense_head", "box_conv_{}"),
    (r"box_head/group_norm_(\d)", "dense_head", "box_norm_{}"),
    (r"box_head/logits_layer", "dense_head", "box_deltas"),
    (r"classification_head/conv2d_(\d)", "dense_head", "class_conv_{}"),
    (r"classification_head/group_norm_(\d)", "dense_head", "class_norm_{}"),
)


@pytest.fixture(scope="module")
def preset(request, tmp_path_factory):
    """`preset("v1")`: a folder as KerasHub saves it, an eighth as wide, and `{KerasHub's path: array}`."""
    layouts = json.loads((request.config.rootpath / "tests" / "golden" / "keras_hub_retinanet.json").read_text())

    def write(name):
        folder, random, values = tmp_path_factory.mktemp("presets") / name, np.random.default_rng(0), {}
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(layouts[name]["config"]))
        for file, place, path, shape in layouts[name]["variables"]:
            values[path] = random.uniform(0.1, 1, [size // 8 if size in WIDTHS else size for size in shape])
            with h5py.File(folder / file, "a") as opened:
                opened[place] = values[path] = values[path].astype(np.float32)
        return folder, values

    return write


def ours(model, path):
    """The variable of our model that is KerasHub's of this path."""
    layer, variable = path.rsplit("/", 1)
    for pattern, part, name in NAMES:
        found = re.fullmatch(pattern, layer)
        if found:
            numbers = list(found.groups())
            if part == "backbone" and numbers:
                numbers[0] = int(numbers[0]) + 2  # their stack 0 is res2
            return variables_of(getattr(model, part))[f"{name.format(*numbers)}/{variable}"]
    return None


def variables_of(part):
    """`{"layer/variable": variable}`."""
    return {"/".join(variable.path.split("/")[-2:]): variable for variable in part.weights}


@pytest.mark.parametrize(("name", "config"), [("v1", "retinanet_r50_fpn_torchvision"), ("v2", "retinanet_r50_fpn_v2")])
def test_every_variable_goes_where_kerashub_has_it(name, config, preset):
    folder, values = preset(name)
    found = conversion.convert(folder)
    assert (found.config, found.num_tensors) == (config, len(values))
    missed = []
    for path, value in values.items():
        variable = ours(found.model, path)
        if variable is None:
            missed.append(path)
        else:
            np.testing.assert_array_equal(variable, value, path)
    # Its rows are COCO's 91, and stand in another order here.
    assert missed == ["classification_head/logits_layer/kernel", "classification_head/logits_layer/bias"]
    logits = variables_of(found.model.dense_head)["class_logits/bias"].numpy().reshape(9, -1)
    assert set(logits[4]) == set(values[missed[1]].reshape(9, 91)[4])
    assert logits[4, 0] == values[missed[1]].reshape(9, 91)[4, 1]  # a person, of id 1


def _without(folder, file, place):
    with h5py.File(folder / file, "a") as opened:
        del opened[place]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "config.json").write_text("{}"), "config.json that is none of KerasHub's"),
        (lambda folder: (folder / "config.json").write_text(json.dumps(
            {"class_name": "DFineBackbone", "config": {"image_encoder": {"class_name": "HGNetV2Backbone"}}}
        )), "KerasHub's DFineBackbone on HGNetV2Backbone; a preset of a RetinaNet on a ResNet"),
        (lambda folder: (folder / "model.weights.h5").unlink(), "has no model.weights.h5; save or download"),
        (lambda folder: (folder / "task.weights.h5").write_bytes(b"words"), "is damaged or cut short"),
        (lambda folder: _without(folder, "model.weights.h5", "layers/functional/layers/conv2d_7"),
         "has no layers/functional/layers/conv2d_7 in model.weights.h5"),
        (lambda folder: _without(folder, "task.weights.h5", "layers/prediction_head/prediction_layer/vars/1"),
         "1 missing: head.regression_head.bbox_reg.bias"),
    ],
)  # fmt: skip
def test_a_preset_that_is_none_or_not_whole(change, told, preset):
    folder, _ = preset("v1")
    change(folder)
    with pytest.raises(UserError, match=re.escape(told)) as caught:
        conversion.convert(folder)
    assert str(caught.value).startswith(str(folder)) and "\n" not in str(caught.value)


def test_a_file_of_a_preset_alone(preset):
    folder, _ = preset("v1")
    with pytest.raises(UserError, match="of a preset of KerasHub name the folder"):
        conversion.convert(folder / "task.weights.h5")
