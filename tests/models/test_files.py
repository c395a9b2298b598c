"""Files of models: what a format version promises, and what is refused before Keras reads a file."""

import importlib.util
import json
import zipfile

import h5py
import numpy as np
import pytest

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.models.detector import FORMAT_VERSION

GOLDEN_FILE = "tests/golden/model_format.keras"


@pytest.fixture(scope="module")
def maker(request):
    """The script that made the golden file."""
    path = request.config.rootpath / "tests" / "golden" / "make_model_format.py"
    spec = importlib.util.spec_from_file_location("make_model_format", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def golden_file(request):
    return request.config.rootpath / GOLDEN_FILE


def _shape_of(path):
    """Contents of a file: the keys of its configuration, and the places and shapes of its tensors."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        with archive.open("model.weights.h5") as stored, h5py.File(stored, "r") as file:
            tensors = {}
            file.visititems(lambda name, item: tensors.update({name: item.shape} if hasattr(item, "shape") else {}))
    return set(_keys(config)), tensors, config["config"]["format_version"]


def _keys(node, path=""):
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{path}.{key}"
            yield from _keys(value, f"{path}.{key}")


def test_the_golden_file_is_of_this_version_and_answers_as_it_did(golden_file, golden, maker):
    model = keras_fpn.load_model(golden_file)
    assert _shape_of(golden_file)[2] == FORMAT_VERSION
    for name, value in model.predict(maker.image(), verbose=0).items():
        np.testing.assert_allclose(value, golden("model_format")[name], rtol=1e-4, atol=1e-4, err_msg=name)
    assert model.frozen == ("backbone",) and model.category_ids == (3, 7)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_a_file_of_today_holds_what_the_golden_file_holds(golden_file, maker, tmp_path):
    """Another shape of file is another format: raise FORMAT_VERSION and run tests/golden/make_model_format.py."""
    maker.small_model().save(tmp_path / "model.keras")
    (keys, tensors, version), golden = _shape_of(tmp_path / "model.keras"), _shape_of(golden_file)
    assert keys == golden[0]
    assert tensors == golden[1]
    assert version == golden[2]


def _rewritten(source, target, change):
    """A copy of a `.keras` file with its configuration changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return target


def _names_a_module(config):
    named = {"module": "hostile_module", "class_name": "Anything", "registered_name": "x>Anything"}
    config["config"]["pyramid"] = named


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config["config"].update(format_version=FORMAT_VERSION + 1), "reads version"),
        (lambda config: config["config"].update(format_version=None), "of no format version"),
        (lambda config: config["config"].pop("format_version"), "of no format version"),
        (lambda config: config["config"].update(extensions=["hostile_module"]), "needs the extension 'hostile_module'"),
        (lambda config: config["config"].update(extensions=["{folder}/hostile_module.py"]), "needs the extension"),
        (lambda config: config["config"].update(extensions=["a\n" * 100]), "needs the extension"),
        (lambda config: config["config"].update(frozen=3), "its config.json has frozen: 3, not a list of names"),
        (lambda config: config.update(config=None), "its config.json has no settings of a detector"),
        (lambda config: config.update(module="hostile_module", registered_name="x>Model"), "made of 'x>Model'"),
        (lambda config: config.update(module="hostile_module", registered_name=None), "made of 'hostile_module."),
        (_names_a_module, "made of 'x>Anything'"),
        (lambda config: config["config"]["pyramid"].update(name="halo"), "pyramid.name: unknown pyramid 'halo'"),
        (lambda config: config["config"]["pyramid"].update(rings=3), "pyramid.rings: unknown key"),
        (lambda config: config.clear(), "not"),
    ],
)
def test_a_file_that_asks_for_more_is_refused_in_a_line_and_nothing_is_imported(
    change, message, golden_file, tmp_path, monkeypatch
):
    (tmp_path / "hostile_module.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)

    def changed(config):
        change(config)
        own = config.get("config") or {}
        if "extensions" in own:
            own["extensions"] = [name.replace("{folder}", str(tmp_path)) for name in own["extensions"]]

    file = _rewritten(golden_file, tmp_path / "model.keras", changed)
    with pytest.raises(UserError) as caught:
        keras_fpn.load_model(file)
    assert message in str(caught.value) and str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "was_here").exists()


def test_a_file_from_before_a_setting_was_there_has_its_default(golden_file, golden, maker, tmp_path):
    """Boxes of each class, suppression per class and a stride in res5 are what there was: it means what it meant."""

    def change(config):
        del config["config"]["box_head"]["class_agnostic_boxes"], config["config"]["detections"]["suppression"]
        del config["config"]["backbone"]["res5_dilation"]

    model = keras_fpn.load_model(_rewritten(golden_file, tmp_path / "before.keras", change))
    assert model.settings["box_head"]["class_agnostic_boxes"] is False
    assert model.settings["detections"]["suppression"] == "per_class"
    assert model.settings["backbone"]["res5_dilation"] == 1
    for name, value in model.predict(maker.image(), verbose=0).items():
        np.testing.assert_allclose(value, golden("model_format")[name], rtol=1e-4, atol=1e-4, err_msg=name)
