"""A disk that takes nothing more: one line that names the file, exit code 1, what was there stays, and nothing is left.

The limit on the size of a file stands in for the disk: whoever writes, Python, HDF5 or TensorFlow, is refused by the
system in the middle of a file, as by a full disk.
"""

import contextlib
import errno
import os

import pytest

import keras_fpn
from keras_fpn.data.shapes import write_shapes
from keras_fpn.inference.listing import INDEX

resource = pytest.importorskip("resource")
REFUSED = os.strerror(errno.EFBIG)


@contextlib.contextmanager
def files_up_to(number):
    """No file of this process may grow beyond a number of bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model that torchvision could run, and a data set."""
    folder = tmp_path_factory.mktemp("full")
    config = keras_fpn.load_config("tiny", ["model.detections.score_threshold=0"]).model
    names = ["circle", "square", "triangle", "star"]
    model = keras_fpn.FasterRCNN(4, profile=config.profile, class_names=names, **config.differences())
    model.save(folder / "model.keras")
    write_shapes(folder / "coco", num_train=1, num_val=2, size=64)
    return folder


@pytest.fixture(scope="module", autouse=True)
def loaded_once(loading_once, folder):
    with loading_once(folder / "model.keras"):
        yield


ANNOTATED = ("--annotations", "FOLDER/coco/annotations/instances_val.json", "--images", "FOLDER/coco/val")
EXPORT = ("export", "FOLDER/model.keras", "--no-verify", "--force", "--format")
COMMANDS = {
    "evaluate --json": ("evaluate", "FOLDER/model.keras", *ANNOTATED, "--json", "OUT.json"),
    "evaluate --metrics": ("evaluate", "FOLDER/model.keras", *ANNOTATED, "--metrics", "OUT.json"),
    "export saved_model": (*EXPORT, "saved_model", "--out", "OUT"),
    "export tflite": (*EXPORT, "tflite", "--size", "64x96", "--out", "OUT.tflite"),
    "export onnx": (*EXPORT, "onnx", "--out", "OUT.onnx"),
    "propose": ("propose", "FOLDER/model.keras", *ANNOTATED, "--out", "OUT"),
    "convert --to": ("convert", "FOLDER/model.keras", "--to", "torchvision", "--out", "OUT.safetensors"),
    "detect": ("detect", "FOLDER/model.keras", "FOLDER/coco/val", "--out", "OUT"),
    "detect --json": ("detect", "FOLDER/model.keras", "FOLDER/coco/val", "--json", "OUT.json", "--threshold", "0"),
    "data shapes": ("data", "shapes", "OUT", "--images", "2", "--val-images", "1", "--size", "64"),
    "benchmark --json": ("benchmark", "tiny", "--size", "64x96", "--runs", "1", "--json", "OUT.json"),
    "train": ("train", "tiny", "--data", "FOLDER/coco", "--out", "OUT", "--set", "training.deterministic=false"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name.startswith("export") else name for name in COMMANDS]
)
def test_it_is_one_line_and_nothing_is_lost_or_left(name, folder, run, tmp_path):
    arguments = [word.replace("FOLDER", str(folder)).replace("OUT", "out") for word in COMMANDS[name]]
    old = [tmp_path / word for word in arguments if word.startswith("out.")]
    for file in old:
        file.write_text("before")
    with files_up_to(100):
        code, _, error = run(*arguments)
    assert code in (1, 2) and error.count("\n") == 1 and error.startswith("error: ") and REFUSED in error, error
    assert "out" in error.partition(": ")[2]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    if name.startswith("detect"):  # its results are written as they come, and its index says which pictures are its own
        assert {path.name for path in files} <= {INDEX, "out.json"}
    else:
        assert files == old and all(file.read_text() == "before" for file in old)
