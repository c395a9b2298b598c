"""`keras.saving.load_model` in a process that imported `keras_fpn` and nothing of it."""

import importlib
import pkgutil
import subprocess
import sys

import keras
import pytest

import keras_fpn
from keras_fpn.parts.lazy_registration import REGISTERED


def test_every_class_that_the_package_registers_is_listed():
    for module in pkgutil.walk_packages(keras_fpn.__path__, "keras_fpn."):
        if not module.name.startswith(("keras_fpn.configs", "keras_fpn.export")) and "__main__" not in module.name:
            importlib.import_module(module.name)
    known = keras.saving.get_custom_objects()
    own = {name.split(">")[1]: item for name, item in known.items() if name.startswith("keras_fpn>")}
    assert {name: item.__module__ for name, item in own.items()} == {
        name: f"keras_fpn.{module}" for name, module in REGISTERED.items()
    }


@pytest.mark.parametrize("imports", [pytest.param("keras, keras_fpn", marks=pytest.mark.slow), "keras_fpn, keras"])
def test_keras_loads_a_model_without_another_import(imports, tiny_model, tmp_path):
    tiny_model.save(tmp_path / "model.keras")
    tiny_model.backbone.save(tmp_path / "backbone.keras")
    code = (
        f"import sys, {imports}\n"
        "assert 'keras_fpn.models' not in sys.modules\n"
        "print(*(type(keras.saving.load_model(path)).__name__ for path in sys.argv[1:]))"
    )
    files = [tmp_path / "backbone.keras", tmp_path / "model.keras"]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True)
    assert done.stdout == "Functional FasterRCNN\n", done.stderr[-2000:]
