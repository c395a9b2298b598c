"""The command as a person meets it: answers at once, does the work, and tells a mistake in one line."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import keras_fpn
from keras_fpn.commands import main as cli
from keras_fpn.commands.data import shapes as data_shapes
from keras_fpn.data.shapes import write_shapes
from keras_fpn.inference import detecting

HELP = "import sys; from keras_fpn.commands import main as cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=2, num_val=5, size=80)
    return folder


@pytest.fixture(scope="module")
def model(tiny_settings):
    """A tiny detector with random weights and a threshold that lets boxes through."""
    settings = tiny_settings()
    settings["resize"] = {"min_side": 64, "max_side": 96}
    settings["detections"] = {"max_detections": 10, "score_threshold": 0.0}
    return keras_fpn.FasterRCNN(**settings)


@pytest.fixture(scope="module")
def model_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


def test_help_is_instant_and_imports_nothing_heavy():
    code = HELP + "print({'tensorflow', 'keras', 'numpy', 'pydantic', 'yaml'} & set(sys.modules) or 'LIGHT')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("LIGHT")
    assert "benchmark" in done.stdout
    # The best of several, since other work may share the machine.
    assert min(_seconds([sys.executable, "-c", HELP]) for _ in range(8)) < 0.2


def _seconds(command):
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - start


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"keras-fpn {keras_fpn.__version__}\n"


def test_without_a_command_the_help(run):
    code, out, _ = run()
    assert code == 2
    assert "evaluate" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["data", "shape", "x"], "unknown command 'shape'; did you mean 'shapes'?"),
        (["train", "tiny", "--ot", "x"], "unknown option --ot; did you mean '--out'?"),
        (["train", "tiny", "--resum=x"], "unknown option --resum; did you mean '--resume'?"),
        (["train"], "train needs a CONFIG"),
        (["train", "tiny", "--resume", "x"], "train needs a CONFIG"),
        (["train", "--data", "x", "tiny"], "train needs a CONFIG before --data: keras-fpn train CONFIG --data x tiny"),
        (["train", "--resume", "x", "--size", "9"], "--size does not go with --resume"),
        (["train", "tiny", "--size", "0"], "'0' is not a whole number above 0"),
        (["train", "--resume", "nowhere"], "nowhere: no run to resume, config.yaml is missing"),
        (["train", "tinny"], "tinny: no such configuration; did you mean 'tiny'?"),
        (["train", "tiny"], "data.train.annotations is not set; give --data DIR"),
        (["train", "tiny", "--data", "nowhere"], "nowhere"),
        (["train", "tiny", "--set", "training.stepps=3"], "unknown key 'stepps'; did you mean 'steps'?"),
        (["train", "tiny", "--set", "training.steps=three"], "training.steps"),
        (["train", "--resume", ""], "no run to resume, config.yaml is missing"),
        (["train", "tiny", "--data", "x", "--set", "data.val.images=y"], "--data x and --set data.val.images=y"),
        (["detect", "nowhere.keras"], "required: IMAGE_OR_FOLDER"),
        (["detect", "nowhere.keras", "nothing.jpg"], "nothing.jpg: no such image file or folder"),
        (["detect", "nowhere.keras", "x.jpg", "--threshold", "2"], "'2' is not a number from 0 to 1"),
        (["evaluate", __file__], "give --data DIR, or --annotations FILE and --images DIR"),
        (["evaluate", "nowhere.keras"], "nowhere.keras: no such model"),
        (["evaluate", "nowhere.keras", "--images", "x"], "--images goes with --annotations"),
        (["evaluate", "m.keras", "--annotations", "no.json", "--images", "x"], "m.keras: no such model"),
        (["benchmark", "tiny", "--size", "640"], "'640' is not HEIGHTxWIDTH"),
        (["benchmark", "nowhere.keras"], "nowhere.keras: no such model"),
        (["data", "shapes", "out", "--images", "-3"], "'-3' is not a whole number above 0"),
        (["demo", "--config", "shape"], "did you mean 'shapes'?"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments, message, run, tmp_path):
    code, out, error = run(*arguments)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert "Traceback" not in out + error
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_outside_training(run, monkeypatch):
    monkeypatch.setattr(data_shapes, "run", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    code, _, error = run("data", "shapes", "x")
    assert (code, error) == (130, "stopped\n")


def test_data_shapes_writes_a_coco_folder(run, tmp_path):
    code, out, _ = run("data", "shapes", "mine", "--images", 3, "--val-images", 2, "--size", 64, "--seed", 1)
    assert code == 0
    assert len(list((tmp_path / "mine" / "train").glob("*.jpg"))) == 3
    assert "keras-fpn train shapes --data mine" in out


def test_detect_draws_and_writes_coco_results(run, model, model_file, shapes, tmp_path):
    code, out, _ = run(
        "detect", model_file, shapes / "val", "--threshold", 0, "--json", "found.json", "--batch-size", 2
    )
    assert code == 0
    pictures = sorted(path.name for path in (tmp_path / "detections").glob("[!.]*"))
    assert pictures == sorted(path.name for path in (shapes / "val").iterdir())
    assert out.count("image ") == 5 and "image 5/5" in out
    results = json.loads((tmp_path / "found.json").read_text())
    assert list(results[0]) == ["file_name", "image_id", "category_id", "category", "bbox", "score"]
    scores = [result["score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert {result["category"] for result in results} <= set(model.class_names)


def test_detect_and_evaluate_find_the_same(run, model_file, shapes, tmp_path):
    run("detect", model_file, shapes / "val", "--threshold", 0, "--json", "found.json")
    annotations = shapes / "annotations" / "instances_val.json"
    code, out, _ = run(
        "evaluate", model_file, "--annotations", annotations, "--images", shapes / "val",
        "--json", "evaluated.json", "--metrics", "metrics.json",
    )  # fmt: skip
    assert code == 0
    assert "AP50" in out and "5 images" in out
    found, evaluated = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("found", "evaluated")
    )
    assert len(found) == len(evaluated) > 0
    for one, other in zip(_ordered(found), _ordered(evaluated), strict=True):
        assert one["category_id"] == other["category_id"]
        # Different decoders (Pillow, TensorFlow) may differ by a grey level, hence not to the last bit.
        np.testing.assert_allclose(one["bbox"], other["bbox"], atol=0.3)
        assert abs(one["score"] - other["score"]) < 1e-3
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"AP", "AP50", "ARl", "proposals/AR1000"} <= set(metrics)


def _ordered(results):
    def key(result):
        box = [round(value) for value in result["bbox"]]
        return os.path.basename(result["file_name"]), result["category_id"], box

    return sorted(results, key=key)


def test_evaluate_refuses_other_classes(run, model_file, shapes, tmp_path):
    content = json.loads((shapes / "annotations" / "instances_val.json").read_text())
    content["categories"].append({"id": 9, "name": "pentagon"})
    (tmp_path / "five.json").write_text(json.dumps(content))
    code, _, error = run("evaluate", model_file, "--annotations", "five.json", "--images", shapes / "val")
    assert code == 2
    assert "category 9 'pentagon' is only in the annotations" in error


def test_evaluate_names_annotations_that_are_not_there(run, model_file, shapes):
    code, _, error = run("evaluate", model_file, "--annotations", "no.json", "--images", shapes / "val")
    assert (code, error.count("\n")) == (2, 1) and "no.json: there is no such annotation file" in error


def test_detect_does_not_overwrite_its_input(run, model_file, shapes):
    code, _, error = run("detect", model_file, shapes / "val", "--out", shapes / "val")
    assert code == 2
    assert "is an input image; choose another --out" in error


def test_detect_names_a_file_that_is_no_image(run, model_file, tmp_path):
    (tmp_path / "text.jpg").write_text("not an image")
    code, _, error = run("detect", model_file, "text.jpg")
    assert code == 2
    assert "text.jpg: not a readable image" in error
    assert [path.name for path in tmp_path.iterdir()] == ["text.jpg"]  # and nothing was begun


def test_a_place_that_cannot_be_written_is_told_before_the_work(run, model_file, shapes, tmp_path):
    (tmp_path / "file").touch()
    data = ("--annotations", shapes / "annotations" / "instances_val.json", "--images", shapes / "val")
    for arguments in (
        ("detect", model_file, shapes / "val", "--json", tmp_path),
        ("detect", model_file, shapes / "val", "--json", "file/a.json"),
        ("detect", model_file, shapes / "val", "--out", "file"),
        ("evaluate", model_file, *data, "--json", tmp_path),
        ("evaluate", model_file, *data, "--metrics", "file/a.json"),
        ("benchmark", "tiny", "--json", tmp_path),
        ("train", "tiny", "--data", shapes, "--out", "file/run"),
    ):
        code, out, error = run(*arguments)
        assert (code, error.count("\n")) == (2, 1), (arguments, error)
        assert error.startswith("error: ") and "file" in error
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_error_of_the_system_is_one_line(run, monkeypatch):
    for number, code in ((30, 2), (28, 1)):  # read-only file system; no space left
        error = OSError(number, os.strerror(number), "some/file")
        monkeypatch.setattr(data_shapes, "run", lambda _, error=error: (_ for _ in ()).throw(error))
        got, _, told = run("data", "shapes", "x")
        assert told.startswith(f"error: some/file: {os.strerror(number)}; make ")
        assert (got, told.count("\n")) == (code, 1)


def test_data_shapes_keeps_what_is_there(run, tmp_path):
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (tmp_path / "coco" / "annotations" / "instances_train.json").write_text("mine")
    code, _, error = run("data", "shapes", "coco", "--images", 2, "--val-images", 1, "--size", 64)
    assert code == 2 and "coco: is not empty" in error
    assert (tmp_path / "coco" / "annotations" / "instances_train.json").read_text() == "mine"


@pytest.mark.slow
def test_benchmark_tells_every_stage(run, tmp_path):
    code, out, _ = run(
        "benchmark", "tiny", "--size", "64x96", "--runs", 2, "--stages", "--json", "times.json"
    )
    assert code == 0
    times = json.loads((tmp_path / "times.json").read_text())
    assert times["size"] == [64, 96]
    assert list(times["stages"])[-1] == "whole" and len(times["stages"]) == 6
    assert all(stage["median_ms"] >= stage["fastest_ms"] > 0 for stage in times["stages"].values())
    assert "RPN, proposals" in out


@pytest.mark.slow
def test_demo_goes_the_whole_road(run, tmp_path):
    options = ["--set", "training.deterministic=false", "training.evaluate_every=0"]
    code, out, _ = run(
        "demo", "--config", "tiny", "--images", 6, "--val-images", 2, "--size", 64, "--out", "demo", *options
    )
    assert code == 0
    assert {"model.keras", "metrics.json", "report.html", "data", "logs"} <= set(
        os.listdir(tmp_path / "demo")
    )
    assert "keras-fpn detect demo" in out
    assert "1/3 data" in out and "epoch 2/2" in out
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "AP50" in page
    for name, path in (("saved_model", "saved_model"), ("tflite", "model.tflite"), ("onnx", "model.onnx")):
        assert (tmp_path / "demo" / "exports" / path).exists() and f"keras-fpn detect demo/exports/{path}" in out
        assert f"{name}, float32: " in page  # its picture
    assert len(json.loads((tmp_path / "demo" / "exports" / "parity.json").read_text())["rows"]) >= 4
    assert "\r" not in out and "\x1b" not in out  # a log, not a terminal
    assert run("evaluate", "demo")[0] == 0


class TestInference:
    """`keras_fpn.detect`, the same from Python."""

    def test_paths_pictures_and_arrays_give_the_same(self, model, shapes):
        path = sorted((shapes / "val").iterdir())[0]
        picture = Image.open(path)
        found = detecting.detect(model, [path, str(path), picture, np.asarray(picture)], threshold=0.0)
        for other in found[1:]:
            np.testing.assert_array_equal(found[0].boxes, other.boxes)
        assert found[0].file_name == str(path) and found[2].file_name is None
        assert found[0].names == [model.class_names[label] for label in found[0].classes]

    def test_one_image_needs_no_list(self, model):
        assert len(detecting.detect(model, np.zeros((40, 30, 3), np.uint8))) == 1
        assert len(detecting.detect(model, np.zeros((40, 30), np.float32))) == 1  # grey

    def test_boxes_are_in_pixels_of_the_file(self, model):
        image = np.random.default_rng(0).integers(0, 255, (150, 333, 3), np.uint8)
        found = detecting.detect(model, image, threshold=0.0)[0]
        # max_side 96: the network saw 43 x 96, and the ratio of each axis is its own.
        assert found.boxes[:, 2].max() > 96
        assert (found.boxes >= 0).all()
        assert (found.boxes[:, 2] <= 333).all() and (found.boxes[:, 3] <= 150).all()

    def test_a_batch_of_one_size_changes_nothing_but_rounding(self, model):
        random = np.random.default_rng(1)
        images = [random.integers(0, 255, (64, 90, 3), np.uint8) for _ in range(3)]
        alone = detecting.detect(model, images, threshold=0.0)
        together = detecting.detect(model, images, threshold=0.0, batch_size=3)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)

    @pytest.mark.parametrize("batch_size", [2, 3, 8])
    def test_in_any_batch_an_image_is_answered_as_alone(self, model, batch_size):
        random = np.random.default_rng(4)
        sizes = ((64, 90), (96, 64), (50, 50), (64, 88), (40, 96), (64, 90), (96, 60))  # of four padded sizes
        images = [random.integers(0, 255, (*size, 3), np.uint8) for size in sizes]
        alone = detecting.detect(model, images, threshold=0.0)
        together = detecting.detect(model, images, threshold=0.0, batch_size=batch_size)
        assert [one.index for one in together] == list(range(7))
        for one, other in zip(alone, together, strict=True):
            assert one.image is not None and (one.image == other.image).all()
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
            assert len(one.boxes) == len(other.boxes) > 0

    def test_exif_orientation_is_applied(self, model, tmp_path):
        picture = Image.fromarray(np.random.default_rng(2).integers(0, 255, (40, 60, 3), np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6  # turned by a quarter when looked at
        picture.save(tmp_path / "turned.png", exif=exif)
        assert detecting.detect(model, tmp_path / "turned.png")[0].image.shape == (60, 40, 3)

    def test_the_threshold_holds(self, model):
        image = np.random.default_rng(3).integers(0, 255, (64, 64, 3), np.uint8)
        everything = detecting.detect(model, image, threshold=0.0)[0]
        middle = float(np.median(everything.scores))
        assert (detecting.detect(model, image, threshold=middle)[0].scores >= middle).all()
        assert detecting.detect(model, image, threshold=1.1)[0].names == []

    def test_a_wrong_array_is_refused(self, model):
        with pytest.raises(keras_fpn.UserError, match=r"shape \(3, 40, 40\)"):
            detecting.detect(model, np.zeros((3, 40, 40), np.uint8))
