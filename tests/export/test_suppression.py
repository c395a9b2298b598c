"""Ways of suppression in each format: verified against the model, or refused by name."""

import keras
import pytest

import keras_fpn
from keras_fpn import export
from keras_fpn.console.errors import UserError
from tests.export.small import FILES, SHARED


def suppressing(name):
    keras.utils.set_random_seed(5)
    return keras_fpn.FasterRCNN(**SHARED | {"detections": {"max_detections": 10, "suppression": name}})


@pytest.mark.parametrize(
    ("name", "format"),
    [("class_agnostic", "onnx"), ("class_agnostic", "tflite"), ("soft_linear", "saved_model"),
     ("soft_gaussian", "saved_model")],
)  # fmt: skip
@pytest.mark.slow
def test_what_a_format_carries_is_the_models(name, format, tmp_path):
    finding = export.export_model(suppressing(name), format, tmp_path / FILES[format]).finding
    assert finding.detections > 20 and finding.unpaired == 0


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_soft_suppression_is_refused_outside_tensorflow(format, tmp_path):
    with pytest.raises(UserError, match='^detections.suppression: "soft_linear" ') as error:
        export.export_model(suppressing("soft_linear"), format, tmp_path / FILES[format])
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []
