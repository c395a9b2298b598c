"""Mistakes in paths, names and options: one line each, before TensorFlow is imported."""

import json
import math
import os
import resource
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

from keras_fpn.data.shapes import write_shapes

ANNOTATED = ["--annotations", "coco/annotations/instances_val.json", "--images", "coco/val"]
NO_FILE = ["--annotations", "coco/annotations/instances_valid.json", "--images", "coco/val"]
NO_FOLDER = ["--annotations", "coco/annotations/instances_val.json", "--images", "coco/valid"]
ON_COCO = ["tiny", "--data", "coco"]
EXPORT = ["--format", "onnx", "--out"]

# {command: [(arguments, what its line says)]}
MISTAKES = {
    "detect": [
        (["nowhere", "a.png"], "nowhere: no such model"),
        (["text.keras", "a.png"], "text.keras: not a whole Keras model"),
        (["text.txt", "a.png"], "text.txt: no .keras file"),
        (["empty", "a.png"], "empty: neither a run nor a SavedModel"),
        (["m.keras", "b.png"], "b.png: no such image file"),
        (["m.keras", "empty"], "empty: no images in this folder"),
        (["m.keras", "text.txt"], "text.txt: not a readable image (it is text"),
        (["m.keras", "a.png", "--threshold", "nan"], "'nan' is not a number from 0 to 1"),
        (["m.keras", "a.png", "--threshold", "none"], "'none' is not a number from 0 to 1"),
        (["m.keras", "a.png", "--threshold", "-0.1"], "'-0.1' is not a number from 0 to 1"),
        (["m.keras", "a.png", "--threshold", "inf"], "'inf' is not a number from 0 to 1"),
        (["m.keras", "a.png", "--max-pixels", "0"], "'0' is not a whole number above 0"),
        (["m.keras", "a.png", "--treshold", "0.5"], "did you mean '--threshold'?"),
        (["m.keras", "a.png", "--out", "text.txt"], "text.txt: is a file; give the name of a folder"),
        (["m.keras", "a.png", "--json", "empty"], "empty: is a folder; give the name of a file"),
        (["m.keras", "a.png", "--json", "fifo"], "fifo: no regular file; give --json the name of a file"),
        (["m.keras", "fifo"], "fifo: no regular file; give image files or folders of them"),
        (["m.keras", ""], "'': no name of an image file or folder"),
        (["", "a.png"], "'': no such model"),
    ],
    "train": [
        ([], "train needs a CONFIG"),
        (["tinny", "--data", "coco"], "tinny: no such configuration; did you mean 'tiny'?"),
        (["tiny"], "data.train.annotations is not set; give --data DIR"),
        (["tiny", "--data", "nowhere"], "nowhere: there is no such folder"),
        (["tiny", "--data", "coco", "nowhere"], "nowhere: there is no such folder"),
        (["tiny", "--data", "coco", "--classes", "car=,bus"], "--classes car=,bus: write NAME, or NEW=OLD,OLD"),
        (["tiny", "--data", "coco", "--classes", "car", "--set", "data.classes=[bus]"], "both choose classes"),
        (["tiny", "--data", "empty"], "empty: no known data set in it (COCO instances, "),
        (["tiny", "--data", "a.png"], "a.png: is a file, and a folder is wanted"),
        ([*ON_COCO, "--set", "training.stepps=3"], "training.stepps: unknown key 'stepps'; did you mean 'steps'?"),
        ([*ON_COCO, "--set", "training.steps=many"], "training.steps"),
        ([*ON_COCO, "--set", "data.val.proposals=nowhere"], "nowhere: no folder of proposals"),
        ([*ON_COCO, "--weights", "nowhere.keras"], "nowhere.keras: no such weights"),
        ([*ON_COCO, "--weights", "text.txt"], "text.txt: no .keras file"),
        ([*ON_COCO, "--size", "100000"], "100000"),
        ([*ON_COCO, "--out", "coco"], "coco: exists already; choose another --out"),
        ([*ON_COCO, "--out", "text.txt"], "text.txt: is a file; give the name of a folder"),
        ([*ON_COCO, "--out", "text.txt/run"], "run: cannot be written, since "),
        ([*ON_COCO, "--accept-changes"], "--accept-changes goes with --resume"),
        (["--resume", "nowhere"], "nowhere: no run to resume"),
        (["--resume", "empty"], "empty: no run to resume"),
        (["--resume", "empty", "--data", "nowhere"], "nowhere: there is no such folder"),
        (["tiny", *(f"--set={each}" for each in (
            "data.train.annotations=no.json", "data.train.images=coco/train",
            "data.val.annotations=coco/annotations/instances_val.json", "data.val.images=coco/val",
        ))], "no.json: there is no such annotation file"),
    ],
    "evaluate": [
        (["nowhere", *ANNOTATED], "nowhere: no such model"),
        (["empty", *ANNOTATED], "empty: no run folder"),
        (["m.keras", "--data", "nowhere"], "nowhere: there is no such folder"),
        (["m.keras", "--data", "coco", *ANNOTATED], "--data and --annotations both name"),
        (["m.keras"], "give --data DIR, or --annotations FILE and --images DIR"),
        (["m.keras", *NO_FILE], "instances_valid.json: there is no such annotation file; check the path"),
        (["m.keras", *NO_FOLDER], "coco/valid: there is no such image folder"),
        (["m.keras", *ANNOTATED, "--proposals", "nowhere"], "nowhere: no folder of proposals (is not there)"),
        (["m.keras", *ANNOTATED, "--json", "empty"], "empty: is a folder; give the name of a file"),
        (["m.keras", *ANNOTATED, "--metrics", "text.txt/a"], "a: cannot be written, since "),
        (["m.keras", *ANNOTATED, "--expect", "AP=nine"], "--expect AP=nine"),
        (["m.keras", *ANNOTATED, "--set", "data.boxes=xyyx"], "data.boxes"),
        (["m.keras", *ANNOTATED, "--max-detections", "2000"], "--max-detections: 2000 is above 1000"),
        (["m.keras", *ANNOTATED, "--json", "a", "--metrics", "a"], "--json and --metrics are both a"),
        (["m.keras", *ANNOTATED, "--set", "data.canvas=64"], "--set data.canvas=64: only data.boxes, data.crowds, "),
    ],
    "propose": [
        (["nowhere", *ANNOTATED, "--out", "p"], "nowhere: no such model"),
        (["m.keras", *NO_FILE, "--out", "p"], "instances_valid.json: there is no such annotation file"),
        (["m.keras", *NO_FOLDER, "--out", "p"], "coco/valid: there is no such image folder"),
        (["m.keras", *ANNOTATED, "--out", "coco"], "coco: exists already and is not empty"),
    ],
    "export": [
        (["nowhere", *EXPORT, "a.onnx"], "nowhere: no such model"),
        (["empty", *EXPORT, "a.onnx"], "empty: no run folder"),
        (["m.keras", *EXPORT, "a.tflite"], "--out a.tflite: ONNX is a .onnx file"),
        (["m.keras", *EXPORT, "text.txt/a.onnx"], "a.onnx: cannot be written, since "),
        (["m.keras", "--format", "onxx", "--out", "a.onnx"], "did you mean 'onnx'?"),
        (["m.keras", "--format", "tflite", "--out", "a.tflite", "--precision", "int8", "--calibration", "nowhere"],
         "nowhere: no such image file or folder"),
    ],
    "benchmark": [
        (["tinny"], "tinny: no such configuration; did you mean 'tiny'?"),
        (["empty"], "empty: no run folder"),
        (["nowhere.keras"], "nowhere.keras: no such model"),
        (["tiny", "--against", "nowhere.keras"], "nowhere.keras: no such model"),
        (["tiny", "--size", "100"], "'100' is not HEIGHTxWIDTH"),
        (["tiny", "--json", "empty"], "empty: is a folder"),
    ],
    "convert": [
        (["nowhere.pth", "--out", "a.keras"], "nowhere.pth: does not exist; check the name"),
        (["empty", "--out", "a.keras"], "empty: is a folder; name the checkpoint file in it"),
        (["a.png", "--out", "a.keras"], "a.png: is a picture, not a checkpoint"),
        (["text.txt", "--out", "a.pth"], "--out a.pth: convert writes a .keras file here"),
        (["text.txt", "--out", "text.txt/a.keras"], "a.keras: cannot be written, since "),
        (["text.txt", "--out", "a.keras", "--classes", "no.txt"], "--classes no.txt: no such file"),
        (["text.txt", "--out", "a.keras", "--config", "tinny"], "tinny: no such configuration"),
        (["nowhere.keras", "--to", "torchvision", "--out", "a.safetensors"], "nowhere.keras: no such model"),
    ],
    "data from-tfds": [
        (["prepared", "out", "--split", "train=train,val=tset"], "@tset: no such split; there are train, test, and"),
        (["prepared", "out", "--split", "train=train[:3]+dev"], "@train[:3]+dev: no such split"),
        (["prepared", "coco"], "coco: is not empty"),
        (["coco", "out"], "coco: no TFDS data set lies there (no dataset_info.json)"),
        (["prepared", "out", "--box-form", "xy"], "box_form 'xy' is none; valid are REL_YXYX"),
    ],
    "data show": [
        ([], "the following arguments are required: DIR|CONFIG"),
        (["nowhere"], "nowhere: no such folder or configuration; give a folder"),
        (["tinny"], "tinny: no such folder or configuration; did you mean 'tiny'?"),
        (["empty"], "empty: no known data set in it (COCO instances, "),
        (["text.txt"], "text.txt"),
        (["tiny"], "data.train.annotations is not set; give --data DIR"),
        (["tinny", "--data", "coco"], "tinny: no such configuration; did you mean 'tiny'?"),
        (["tiny", "--data", "nowhere"], "nowhere: there is no such folder"),
        (["coco", "--out", "a.gif"], "--out a.gif: no picture that is written here; end its name in .jpg"),
        (["coco", "--out", "text.txt/a.png"], "a.png: cannot be written, since "),
        (["coco", "--batches", "0"], "'0' is not a whole number above 0"),
        (["coco", "--batches", "21"], "--batches 21: 336 pictures, and a sheet has room for 320; give at most 20"),
        (["coco", "--set", "data.canvs=64"], "data.canvs: unknown key 'canvs'; did you mean 'canvas'?"),
        (["tiny", "--set", "data.train.annotations=no.json", "data.train.images=coco/train"],
         "no.json: there is no such annotation file"),
    ],
    "demo": [
        (["--out", "coco"], "coco: exists already; choose another --out"),
        (["--out", "text.txt"], "text.txt: is a file"),
        (["--config", "shapess"], "shapess: no such configuration"),
        (["--task", "mask"], "--task mask: there is none of this name; valid are keypoints, masks"),
        (["--task", "masks", "--config", "tiny"], "not allowed with argument --task"),
        (["--size", "1"], "size: 1 is no whole number from 64 to 4096"),
    ],
    "paper": [
        (["table9"], "paper table9: no such table"),
        (["table1", "--data", "nowhere"], "nowhere: there is no such folder"),
        (["table1", "--data", "coco", *NO_FOLDER], "coco/valid: there is no such image folder"),
        (["table1", "--weights", "resnet50"], "--weights resnet50: write it as BACKBONE=FILE"),
        (["table1", "--weights", "resnet50=no.keras"], "no.keras: no such weights"),
        (["table1", "--out", "text.txt"], "text.txt: is a file"),
    ],
}  # fmt: skip

# Each command line of stdin; its exit code, and at the end whether TensorFlow was imported.
LIGHT = """
import json, sys
from keras_fpn.commands import main as cli
for arguments in json.load(sys.stdin):
    print(cli.main(arguments))
print("tensorflow" in sys.modules)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of which none is what it should be, but for a data set and what looks like a model from outside."""
    folder = tmp_path_factory.mktemp("mistakes")
    write_shapes(folder / "coco", num_train=1, num_val=1, size=64)
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    (folder / "empty").mkdir()
    (folder / "prepared").mkdir()
    splits = [{"name": name, "shardLengths": ["3"]} for name in ("train", "test")]
    (folder / "prepared" / "dataset_info.json").write_text(json.dumps({"name": "mine", "splits": splits}))
    os.mkfifo(folder / "fifo")
    for name in ("text.txt", "text.keras"):
        (folder / name).write_text("just words")
    with zipfile.ZipFile(folder / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    return folder


@pytest.mark.parametrize("command", MISTAKES)
def test_they_are_told_before_tensorflow_is_imported(command, folder):
    before = sorted(folder.rglob("*"))
    given = [[*command.split(), *arguments] for arguments, _ in MISTAKES[command]]
    call = [sys.executable, "-c", LIGHT]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, input=json.dumps(given))
    assert done.stdout.splitlines() == ["2"] * len(given) + ["False"], done.stderr
    for line, (arguments, message) in zip(done.stderr.splitlines(), MISTAKES[command], strict=True):
        assert line.startswith("error: ") and message in line, (arguments, line)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["train", "tiny", "--data", "nowhere"], ["evaluate", "m.keras", *NO_FOLDER]])
def test_a_typo_is_told_at_once(arguments, folder):
    """Half a second, or thrice what NumPy, pydantic, YAML and Pillow take, on a processor that is slow at them."""

    # Compiled once, as what is installed is, whatever the environment says.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}

    def seconds(*call):
        """Of the processor: other work may share the machine."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, *call], cwd=folder, capture_output=True, env=environment)
        assert done.returncode == (2 if "-m" in call else 0)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    ours = libraries = math.inf
    for _ in range(25):  # The least of several is the work itself; beside a busy core it takes more to meet it.
        ours = min(ours, seconds("-m", "keras_fpn", *arguments))
        libraries = min(libraries, seconds("-c", "import numpy, pydantic, yaml, PIL.Image"))
        if ours < max(0.5, 3 * libraries):
            break
    assert ours < max(0.5, 3 * libraries)
