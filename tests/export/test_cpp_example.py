"""The example in C++: built by the line of its README, and asked; expected are Keras' answers on the same pixels."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from keras_fpn.export import to_onnx
from tests.export import test_members

openvino = pytest.importorskip("openvino", reason="OpenVINO is for tests")
SOURCE = "examples/cpp/detect_onnx.cpp"


@pytest.fixture(scope="module")
def program(tmp_path_factory, request):
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    folder = pathlib.Path(openvino.__file__).parent
    [library] = folder.glob("libs/libopenvino.so.*")
    built = tmp_path_factory.mktemp("cpp") / "detect_onnx"
    flags = ["-isystem", folder / "include", f"-L{folder}/libs", f"-l:{library.name}", f"-Wl,-rpath,{folder}/libs"]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", "-std=c++17", *warnings, request.config.rootpath / SOURCE, "-o", built, *flags], check=True)
    return built


@pytest.fixture(scope="module")
def model():
    return test_members.member("masks")


@pytest.mark.parametrize("input_type", ["uint8", "float32"])
def test_it_prints_what_the_model_finds(input_type, program, model, tmp_path):
    to_onnx.write_onnx(model, tmp_path / "model.onnx", input_type=input_type)
    (tmp_path / "labels.txt").write_text("a circle\na square\n")  # one less than there are
    pixels = np.random.default_rng(2).integers(0, 256, (75, 101, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.ppm")
    done = subprocess.run(
        [program, "model.onnx", "picture.ppm", "labels.txt", "0"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    sizes = np.array([pixels.shape[:2]], np.int32)
    expected = model({"images": pixels[None], "image_sizes": sizes}, training=False)
    lines = [line.rsplit(" ", 5) for line in done.stdout.splitlines()]
    count = int(expected["num_detections"][0])
    assert len(lines) == count > 5
    names = ["a circle", "a square", "2"]
    assert [name for name, *_ in lines] == [names[number] for number in expected["classes"][0, :count]]
    numbers = np.array([[float(part) for part in parts] for _, *parts in lines])
    np.testing.assert_allclose(numbers[:, 0], expected["scores"][0, :count], rtol=0, atol=1e-4)
    np.testing.assert_allclose(numbers[:, 1:], expected["boxes"][0, :count], rtol=0, atol=0.05)


def test_what_a_user_gets_wrong_is_one_line(program, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    for arguments, message in (
        ([], "usage: detect_onnx detector.onnx picture.ppm [labels.txt [threshold]]\n"),
        (["model.onnx", "a.png"], "error: a.png: no binary PPM picture of 8 bits (P6); convert it to one\n"),
    ):
        done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (2, message)
