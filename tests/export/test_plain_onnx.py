"""The ONNX file where nothing optimises it: the standard's own evaluator, and onnxruntime told not to.

Both take the graph by the letter of the standard, which optimisers forgive. Expected numbers come from the Keras model.
Keypoints are not here: the evaluator puts what each pass of a loop gives one after another, where the standard stacks
it (onnx 1.23).
"""

import functools

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest

from keras_fpn.export import to_onnx
from tests.export import test_dense, test_members

MODELS = {
    "faster_rcnn": lambda tiny_model: tiny_model,
    "mask_rcnn": lambda tiny_model: test_members.member("masks"),
    "retinanet": lambda tiny_model: test_dense.built("torchvision"),
    "fcos": lambda tiny_model: test_dense.built_fcos(),
}
BOUNDS = {"boxes": 0.05, "scores": 1e-4, "masks": 1e-3}


def evaluator(path):
    found = onnx.reference.ReferenceEvaluator(path)
    return found.output_names, functools.partial(found.run, None)


def plain_onnxruntime(path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return [one.name for one in session.get_outputs()], functools.partial(session.run, None)


@pytest.mark.parametrize("name", MODELS)
def test_by_the_letter_of_the_standard_it_answers_as_the_model(name, tiny_model, tmp_path):
    model, path = MODELS[name](tiny_model), str(tmp_path / "model.onnx")
    to_onnx.write_onnx(model, path, input_type="uint8")
    onnx.checker.check_model(path, full_check=True)
    images = np.random.default_rng(1).integers(0, 256, (2, 75, 101, 3), np.uint8)
    given = {"images": images, "image_sizes": np.array([[75, 101], [33, 40]], np.int32)}
    expected = model(given, training=False)
    assert min(expected["num_detections"]) > 0
    for names, run in (evaluator(path), plain_onnxruntime(path)):
        for key, found in zip(names, run(given), strict=True):
            assert found.dtype == expected[key].dtype.name, key
            np.testing.assert_allclose(found, expected[key], rtol=0, atol=BOUNDS.get(key, 0), err_msg=key)
