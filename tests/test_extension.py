"""Extensions from outside: the files of docs/extending.md, all the way, without an edit of ours."""

import csv
import gc
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import keras_fpn
from keras_fpn.commands import main as cli
from keras_fpn.data import find_layout
from keras_fpn.data.formats import read_content
from keras_fpn.parts import extensions
from keras_fpn.parts.registry import Registry

DOCUMENT = pathlib.Path(__file__).parent.parent / "docs" / "extending.md"
FILES = ("halo.py", "stripes.py", "colours.py")


@pytest.fixture(scope="module", autouse=True)
def registries_as_they_were():
    """Other files of tests know nothing of what is registered here."""
    gc.unfreeze()  # what is frozen is not among the objects
    held = [each for each in gc.get_objects() if isinstance(each, Registry)]
    gc.freeze()
    assert len(held) > 5
    before, modules, files = [dict(each._parts) for each in held], set(sys.modules), dict(extensions._loaded_files)
    yield
    for each, parts in zip(held, before, strict=True):
        each._parts.clear()
        each._parts.update(parts)
    extensions._loaded_files.clear()
    extensions._loaded_files.update(files)
    for name in {"halo", "stripes", "colours", "others", "lists"} - modules:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of the document, and a data set whose objects have a "colour"."""
    folder = tmp_path_factory.mktemp("extension")
    for name, content in re.findall(r"^`(\S+)`\n\n```(?:python|yaml)\n(.*?)^```", DOCUMENT.read_text(), re.S | re.M):
        (folder / name).write_text(content)
    from keras_fpn.data.shapes import write_shapes

    write_shapes(folder / "data", num_train=6, num_val=3, size=96, seed=3)
    for file in (folder / "data" / "annotations").iterdir():
        document = json.loads(file.read_text())
        for annotation in document["annotations"]:
            annotation["colour"] = annotation["id"] % 3
        file.write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def command(folder):
    """`command("train", ...)` -> exit code, from the folder, with the three extensions of the document."""

    def call(*arguments, extensions=FILES):
        named = ["--extension", *(str(folder / name) for name in extensions)] if extensions else []
        return cli.main([*map(str, arguments), *named])

    return call


@pytest.fixture(scope="module")
def trained(folder, command):
    """The run folder of `coloured.yaml`, whose own `extensions` bring the parts."""
    arguments = ("train", folder / "coloured.yaml", "--data", folder / "data", "--out", folder / "run")
    assert command(*arguments, extensions=()) == 0
    return folder / "run"


def test_only_public_names_are_imported(folder):
    for name in (*FILES, "others.py", "lists.py"):
        text = (folder / name).read_text()
        assert not re.search(r"(?:from|import) keras_fpn\.", text), name
        used = set(re.findall(r"keras_fpn\.(\w+)", text))
        assert used <= set(keras_fpn.__all__), name


def test_every_part_is_trained_measured_and_told(trained):
    with (trained / "results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["colour_loss"]) > 0 and 0 <= float(row["colour_recall"]) <= 1
    metrics = json.loads((trained / "metrics.json").read_text())
    assert {"AP", "proposals/AR1000", "colours/accuracy"} <= set(metrics)
    report = (trained / "report.html").read_text()
    assert "Colours" in report and "Faster R-CNN that tells colours" in report
    config = (trained / "config.yaml").read_text()
    assert all(str(trained.parent / name) in config for name in FILES)


def test_the_model_has_what_each_file_brought(trained):
    model = keras_fpn.load_model(trained)
    assert model.backbone.name == "stripes" and list(model.parts)[-1] == "colour_head"
    assert model.settings["pyramid"]["rounds"] == 2 and model.settings["colours"]["pooling_size"] == 3
    assert model.settings["pixels"]["mean"] == [127.5] * 3  # the backbone's own, and the profile's order of channels
    assert sum("round1" in layer.name for layer in model.pyramid.layers) == 4
    assert model.extensions == ["colours", "halo", "stripes"]
    assert [field.name for field in model.output_fields] == ["boxes", "scores", "classes", "colour"]


@pytest.mark.slow
def test_it_is_evaluated_with_expectations_of_its_own(trained, command, capsys):
    assert command("evaluate", trained, "--expect", "colours/accuracy=0.5", "--tolerance", "1") in (0, 1)
    printed = capsys.readouterr()  # two steps find nothing: undefined, and told so
    assert "accuracy" in printed.out and "colours/accuracy" in printed.out + printed.err
    assert command("evaluate", trained, "--expect", "colours/accuracies=0.5") == 2
    assert "did you mean 'colours/accuracy'" in capsys.readouterr().err


def test_results_and_pictures_tell_the_colour(trained, command, folder, monkeypatch):
    from keras_fpn.reporting import visualize

    told = []
    draw = visualize.draw_boxes
    monkeypatch.setattr(
        visualize, "draw_boxes", lambda image, boxes, labels, *more, **options: told.extend(labels)
        or draw(image, boxes, labels, *more, **options)
    )  # fmt: skip
    out = folder / "detections"
    arguments = ("--out", out, "--threshold", "0", "--json", folder / "found.json")
    assert command("detect", trained, folder / "data" / "val", *arguments) == 0
    found = json.loads((folder / "found.json").read_text())
    assert found and all(one["colour"] in ("red", "green", "blue") for one in found)
    assert len(told) == len(found) and all(re.search(r" \((red|green|blue)\)$", label) for label in told)
    assert len(list(out.glob("[!.]*"))) == 3


@pytest.mark.slow
def test_another_process_reads_it_with_its_extensions_and_refuses_it_without(trained, folder):
    code = (
        "import sys, numpy as np, keras_fpn\n"
        f"keras_fpn.extensions.load({[str(folder / name) for name in FILES]})\n"
        f"found = keras_fpn.load_model({str(trained)!r}).predict(np.full((1, 64, 96, 3), 90.0, 'float32'), verbose=0)\n"
        f"np.savez({str(folder / 'answers.npz')!r}, **found)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=folder)
    here = keras_fpn.load_model(trained).predict(np.full((1, 64, 96, 3), 90.0, np.float32), verbose=0)
    with np.load(folder / "answers.npz") as there:
        for name, value in here.items():
            np.testing.assert_allclose(there[name], value, rtol=1e-5, atol=1e-5)
    call = [sys.executable, "-m", "keras_fpn", "detect", trained, folder / "data" / "val", "--out", folder / "no"]
    done = subprocess.run(list(map(str, call)), capture_output=True, text=True, cwd=folder.parent)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "needs the extension 'colours'" in done.stderr


def test_a_run_goes_on_by_the_users_word_alone(trained, command, capsys):
    assert command("train", "--resume", trained) == 0
    assert "already finished" in capsys.readouterr().out


@pytest.mark.parametrize(("format", "file"), [
    pytest.param("saved_model", "served", marks=pytest.mark.slow),
    pytest.param("tflite", "a.tflite", marks=pytest.mark.slow),
    pytest.param("onnx", "a.onnx", marks=pytest.mark.slow),
])  # fmt: skip
def test_it_is_exported_and_the_verification_passes(format, file, trained, command, folder, capsys):
    size = ("--size", "64x96") if format == "tflite" else ()
    assert command("export", trained, "--format", format, "--out", folder / file, *size) == 0, capsys.readouterr().err
    assert "verified" in capsys.readouterr().out
    from keras_fpn.export import open_artefact

    artefact = open_artefact(folder / file / "1" if format == "saved_model" else folder / file)
    assert artefact.description.outputs["colour"]["kind"] == "colour"
    assert artefact.description.output_fields[-1].to_result(2, None) == {"colour": "blue"}


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["centre_net", "moving_rcnn"])
def test_other_shapes_of_a_member_train_and_come_back(architecture, folder, command, tmp_path):
    config = {
        "extensions": [str(folder / "others.py")],
        "model": {
            "architecture": architecture,
            "profile": "torchvision",
            "resize": {"min_side": 64, "max_side": 96},
            "backbone": {"name": "resnet18", "width": 4, "freeze_at": 0, "norm": "batch_norm"},
            "pyramid": {"channels": 8},
        },
        "data": {"batch_size": 2, "min_sides": [64], "group_by_aspect_ratio": False},
        "training": {"steps": 2, "warmup_steps": 0, "clip_norm": 10.0, "learning_rate": 0.001},
    }
    if architecture == "moving_rcnn":
        config["model"] |= {
            "anchors": {"sizes": {"P2": [8], "P3": [16], "P4": [32], "P5": [48], "P6": [64]}},
            "rpn": {"channels": 8},
            "proposals": {"post_nms_top_k_train": 30, "post_nms_top_k_test": 30},
            "box_head": {"units": 16},
        }
    (tmp_path / "one.yaml").write_text(json.dumps(config))
    run = ("train", tmp_path / "one.yaml", "--data", folder / "data", "--out", tmp_path / "run")
    assert command(*run, extensions=()) == 0
    model = keras_fpn.load_model(tmp_path / "run")
    losses = {"centre_net": ["centre_loss"], "moving_rcnn": ["move_1_loss", "move_2_loss", "move_3_loss"]}
    assert set(losses[architecture]) <= set(model.loss_names)
    out = ("--format", "saved_model", "--out", tmp_path / "served")
    # The verification of a second-stage model is above; here it would take half of the time.
    verify = () if architecture == "centre_net" else ("--no-verify",)
    assert command("export", tmp_path / "run", *out, *verify, extensions=("others.py",)) == 0


def test_a_format_that_a_part_refuses_is_refused_by_its_name(folder, command, tmp_path, capsys):
    keras_fpn.extensions.load([folder / "others.py"])
    from keras_fpn.models.detector import architecture

    architecture("centre_net")({"name": "resnet18", "width": 4}, pyramid={"channels": 8}).save(tmp_path / "c.keras")
    out = ("--format", "tflite", "--out", tmp_path / "c.tflite", "--size", "64x96")
    assert command("export", tmp_path / "c.keras", *out, extensions=()) == 2
    error = capsys.readouterr().err
    assert "centres" in error and "nobody has written it for LiteRT yet" in error and error.count("\n") == 1


INSTALLED = """
import keras_fpn


class QuietSettings(keras_fpn.PyramidSettings):
    volume: float = 0.5


@keras_fpn.register_neck("quiet", QuietSettings)
def build_quiet(channels_per_level, **options):
    raise NotImplementedError
"""


def test_annotations_in_another_format_are_found_checked_and_converted(folder, command, tmp_path):
    written = read_content(folder / "data" / "annotations" / "instances_train.json", folder / "data" / "train")
    names = {category["id"]: category["name"] for category in written["categories"]}
    images = {image["id"]: image for image in written["images"]}
    (tmp_path / "lists" / "pictures").mkdir(parents=True)
    for half in ("train", "val"):
        of_half = [item for item in written["annotations"] if (item["image_id"] % 3 == 0) == (half == "val")]
        lines = []
        for item in of_half:
            image = images[item["image_id"]]
            shutil.copy(folder / "data" / "train" / image["file_name"], tmp_path / "lists" / "pictures")
            sides = (image["width"], image["height"], names[item["category_id"]], *item["bbox"])
            lines.append(" ".join(map(str, (image["file_name"], *sides))))
        (tmp_path / "lists" / f"{half}.lst").write_text("\n".join(lines) + "\n")
    options = {"extensions": ("lists.py",)}
    assert command("data", "check", tmp_path / "lists", "--out", tmp_path / "page.html", **options) == 0
    assert command("data", "convert", tmp_path / "lists", tmp_path / "coco", **options) == 0
    for half in find_layout(tmp_path / "coco"):
        content = read_content(*half)
        found = {image["id"]: image["file_name"] for image in content["images"]}
        kinds = {category["id"]: category["name"] for category in content["categories"]}
        items = content["annotations"]
        boxes = {(found[item["image_id"]], kinds[item["category_id"]], *item["bbox"]) for item in items}
        wanted = {
            (images[item["image_id"]]["file_name"], names[item["category_id"]], *item["bbox"])
            for item in written["annotations"]
            if images[item["image_id"]]["file_name"] in found.values()
        }
        assert boxes == wanted and boxes


def test_an_installed_package_brings_parts_by_an_entry_point(tmp_path):
    """A package as pip leaves it: the module, and its metadata with the entry point."""
    (tmp_path / "quiet_pyramid.py").write_text(INSTALLED)
    (tmp_path / "quiet-1.0.dist-info").mkdir()
    (tmp_path / "quiet-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: quiet\nVersion: 1.0\n")
    points = "[keras_fpn.extensions]\nquiet = quiet_pyramid\n"
    (tmp_path / "quiet-1.0.dist-info" / "entry_points.txt").write_text(points)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from keras_fpn.config.loading import load_config\n"
        "print(load_config('tiny', ['model.pyramid.name=quiet', 'model.pyramid.volume=0.25']).model.pyramid.volume)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "0.25", done.stderr


def test_a_runs_file_imports_nothing_and_says_what_is_missing(tmp_path):
    from keras_fpn.config.loading import load_config, load_run_config

    (tmp_path / "hostile.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w')")
    config = load_config("tiny").to_yaml()
    for item in (str(tmp_path / "hostile.py"), "hostile"):
        (tmp_path / "config.yaml").write_text(config.replace("extensions: []", f"extensions: ['{item}']"))
        with pytest.raises(keras_fpn.UserError, match="needs the extension 'hostile', which is not loaded") as caught:
            load_run_config(tmp_path / "config.yaml")
        assert "\n" not in str(caught.value) and not (tmp_path / "was_here").exists()
