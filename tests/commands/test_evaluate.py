"""`keras-fpn evaluate --expect`: exit codes and lines, through the command."""

import json

import numpy as np
import pytest

import keras_fpn
from keras_fpn.commands import main as cli
from keras_fpn.data.shapes import write_shapes

# Random weights find something all the same: some anchor lies on the object.
EVERY_ANCHOR = {"pre_nms_top_k_test": 1000, "post_nms_top_k_test": 1000, "nms_threshold": 1.0}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Five annotated images."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=1, num_val=5, size=80)
    return folder


def _saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def model_file(tiny_settings, tmp_path_factory):
    settings = tiny_settings() | {"proposals": EVERY_ANCHOR, "resize": {"min_side": 64, "max_side": 96}}
    settings["detections"] = {"max_detections": 10, "score_threshold": 0.0}
    return _saved(keras_fpn.FasterRCNN(**settings), tmp_path_factory)


@pytest.fixture(scope="module")
def rpn_file(tiny_settings, tmp_path_factory):
    settings = tiny_settings() | {"proposals": EVERY_ANCHOR}
    groups = {key: settings[key] for key in ("backbone", "pyramid", "anchors", "rpn", "proposals")}
    return _saved(keras_fpn.RPN(**groups, resize={"min_side": 64, "max_side": 96}), tmp_path_factory)


@pytest.fixture(autouse=True, scope="module")
def loaded_once(loading_once, model_file, rpn_file):
    with loading_once(model_file, rpn_file):
        yield


@pytest.fixture
def evaluate(shapes, model_file, capsys):
    """`evaluate("--expect", ...)` -> (exit code, stdout, stderr)."""

    def call(*arguments, model=model_file, annotations=shapes / "annotations" / "instances_val.json"):
        options = ["--annotations", annotations, "--images", shapes / "val", *arguments]
        code = cli.main(["evaluate", str(model), *map(str, options)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def without(shapes, tmp_path):
    """Path of the annotations without the objects of one class."""

    def write(name):
        document = json.loads((shapes / "annotations" / "instances_val.json").read_text())
        (number,) = [category["id"] for category in document["categories"] if category["name"] == name]
        document["annotations"] = [one for one in document["annotations"] if one["category_id"] != number]
        path = tmp_path / "fewer.json"
        path.write_text(json.dumps(document))
        return path

    return write


@pytest.fixture(scope="module")
def figures(shapes, model_file, loaded_once, tmp_path_factory):
    """Metrics of the model, as the command itself writes them."""
    path = tmp_path_factory.mktemp("figures") / "metrics.json"
    data = ["--annotations", shapes / "annotations" / "instances_val.json", "--images", shapes / "val"]
    assert cli.main(["evaluate", str(model_file), *map(str, data), "--metrics", str(path)]) == 0
    return json.loads(path.read_text())


def test_figures_inside_are_told_and_exit_with_0(evaluate, figures):
    recall = figures["proposals/AR1000"]
    assert 0.05 < recall < 0.9  # so that the figures asked for below exist
    precision, given = round(figures["AP"], 3), round(recall + 0.0018, 4)
    code, out, error = evaluate("--expect", f"AP={precision}", "--expect", f"AR1000={given}")
    assert (code, error) == (0, "")
    assert out.splitlines()[-2:] == [
        f"AP: {figures['AP']:.4f}, expected {precision:.4g} within 0.002",
        f"proposals/AR1000: {recall:.4f}, expected {given:.4g} within 0.002",
    ]


def test_figures_outside_get_a_line_each_and_exit_with_1(evaluate, figures):
    recall = figures["proposals/AR1000"]
    low = round(recall - 0.04, 4)
    wanted = ("--expect", f"proposals/AR1000={low}", "--expect", "AR1000s=1")
    code, out, error = evaluate(*wanted, "--expect", f"AP={figures['AP']:.4f}", "--tolerance", "0.03")
    assert code == 1
    first, second = error.splitlines()
    assert first == f"proposals/AR1000: {recall:.4f}, expected {low:.4g} within 0.03: {recall - low:.4f} above"
    assert second.startswith("proposals/AR1000s: ") and second.endswith(" below")
    assert "AP: " in out.splitlines()[-1]
    assert evaluate(*wanted[:2], "--tolerance", "0.05")[0] == 0


def test_an_undefined_metric_is_no_figure(evaluate, without, caplog):
    code, _, error = evaluate("--expect", "AP/star=0", "--tolerance", "1", annotations=without("star"))
    assert code == 1
    assert error == "AP/star: undefined, the annotations have no object to measure it on; expected 0\n"
    assert "'star', of 4 classes; it cannot be measured" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--expect", "AP=37.0"], "--expect AP=37.0: figures go from 0 to 1, not to 100; write AP=0.370"),
        (["--expect", "AP=-0.1"], "--expect AP=-0.1: a figure goes from 0 to 1"),
        (["--expect", "AP=nan"], "--expect AP=nan: a figure goes from 0 to 1"),
        (["--expect", "AP"], "--expect AP: not NAME=FIGURE; write for example AP=0.370"),
        (["--expect", "AP=high"], "--expect AP=high: not NAME=FIGURE"),
        (["--expect", "mAP50=0.3"], "--expect mAP50: no such metric; did you mean 'AP50'?"),
        (["--expect", "AP/stars=0.3"], "--expect AP/stars: no such metric; did you mean 'AP/star'?"),
        (["--expect", "AR1000=0.3", "--expect", "proposals/AR1000=0.4"], "proposals/AR1000: both 0.3 and 0.4"),
        (["--tolerance", "0.1"], "--tolerance says how far off --expect may be; give --expect"),
        (["--expect", "AP=0.3", "--tolerance", "2"], "'2' is not a number from 0 to 1"),
    ],
)
def test_a_wrong_expectation_is_one_line(evaluate, arguments, message):
    code, out, error = evaluate(*arguments)
    assert (code, error.count("\n"), out) == (2, 1, "")
    assert error.startswith("error: ") and message in error


@pytest.mark.slow
def test_a_model_of_proposals_has_no_ap(evaluate, rpn_file):
    code, _, error = evaluate("--expect", "AP=0.3", model=rpn_file)
    assert code == 2
    assert "this model proposes boxes without classes; expect proposals/AR1000" in error
    code, out, _ = evaluate("--expect", "AR100=0.5", "--tolerance", "1", model=rpn_file)
    assert code == 0 and out.splitlines()[-1].startswith("proposals/AR100: ")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent.keras", "absent.keras: no such model; give a .keras file"),
        (lambda folder: folder / "absent", "absent: no such model; give"),
        (lambda folder: written(folder / "run" / "config.yaml").parent, "run: no run folder, it has no model.keras"),
    ],
)
def test_what_is_no_model_is_told_before_anything_is_read(make, message, tmp_path, capsys):
    assert cli.main(["evaluate", str(make(tmp_path)), "--annotations", "a.json", "--images", "b"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["a.tflite", "a.onnx", "served/1/saved_model.pb"])
def test_only_some_commands_take_an_exported_model(name, tmp_path, capsys):
    written(tmp_path / name)
    path = tmp_path / name.split("/")[0]
    for arguments, message in (
        (["benchmark", path], f"{path}: an exported model, and benchmark takes a .keras file or the folder of a run"),
        (["evaluate", path, "--tta"], f"--tta: {path}: an exported file answers as it was written; leave the option"),
        (["evaluate", path, "--max-detections", 5], f"--max-detections: {path}: an exported file answers as it was"),
        (["evaluate", path], "give --data DIR, or --annotations FILE and --images DIR"),
    ):
        assert cli.main([str(argument) for argument in arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


FORMATS = {"onnx": "model.onnx", "tflite": "model.tflite", "saved_model": "served"}


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_an_exported_model_is_measured_as_the_model_is(format, evaluate, model_file, tmp_path):
    path = tmp_path / FORMATS[format]
    size = {"size": (64, 64)} if format == "tflite" else {}
    keras_fpn.export.export_model(str(model_file), format, path, verify=False, **size)
    told = []
    for number, model in enumerate((model_file, path)):
        results, metrics = (tmp_path / f"{name}{number}.json" for name in ("results", "metrics"))
        assert evaluate("--json", results, "--metrics", metrics, model=model)[0] == 0
        told.append([json.loads(file.read_text()) for file in (results, metrics)])
    (expected, figures), (found, ours) = told
    assert ours == {name: pytest.approx(figures[name], abs=1e-3) for name in ours}
    assert set(figures) - set(ours) == {name for name in figures if name.startswith("proposals/")}
    assert len(found) == len(expected) == 50
    scores = [sorted((one["image_id"], -one["score"]) for one in each) for each in (expected, found)]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-3)


def written(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


@pytest.mark.slow
def test_more_than_100_detections_add_their_rows(evaluate, tmp_path):
    code, out, _ = evaluate("--max-detections", 120, "--metrics", tmp_path / "metrics.json", "--expect", "AR@120=0.5")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"AP", "AR100", "AP@120", "AP50@120", "AR@120"} <= set(metrics) and "AP@120" in out
    assert metrics["AR@120"] >= metrics["AR100"]
    assert code == (0 if abs(metrics["AR@120"] - 0.5) <= 0.002 else 1)
    code, _, error = evaluate("--max-detections", 5000)
    assert code == 2 and "--max-detections: 5000 is above 1000" in error and error.count("\n") == 1


def test_boxes_in_another_form_are_read_as_they_are_said_to_be(evaluate, figures, shapes, tmp_path):
    document = json.loads((shapes / "annotations" / "instances_val.json").read_text())
    for one in document["annotations"]:
        left, top, width, height = one["bbox"]
        one["bbox"] = [left, top, left + width, top + height]
    (tmp_path / "corners.json").write_text(json.dumps(document))
    code, _, error = evaluate(annotations=tmp_path / "corners.json")
    assert code == 2 and "--set data.boxes=xyxy" in error and error.count("\n") == 1
    said = ("--set", "data.boxes=xyxy", "--metrics", tmp_path / "metrics.json")
    assert evaluate(*said, annotations=tmp_path / "corners.json")[0] == 0
    assert json.loads((tmp_path / "metrics.json").read_text()) == pytest.approx(figures, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda document: [one.update(iscrowd=1) for one in document["annotations"]], "leaves nothing to measure"),
        (lambda document: document["annotations"].clear(), "no image has an object, so nothing can be measured"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, message, evaluate, shapes, tmp_path):
    document = json.loads((shapes / "annotations" / "instances_val.json").read_text())
    change(document)
    (tmp_path / "changed.json").write_text(json.dumps(document))
    code, _, error = evaluate(annotations=tmp_path / "changed.json")
    assert code == 2 and message in error and error.count("\n") == 1


def test_outputs_of_one_name_are_refused(evaluate, tmp_path):
    code, _, error = evaluate("--json", tmp_path / "a.json", "--metrics", f"{tmp_path}/./a.json")
    assert code == 2 and "--json and --metrics are both" in error and error.count("\n") == 1


def test_a_model_of_nan_is_named(evaluate, tiny_model, tmp_path):
    broken = tiny_model.twin()
    broken.weights[-1].assign(np.full(broken.weights[-1].shape, np.nan))
    broken.save(tmp_path / "broken.keras")
    code, _, error = evaluate(model=tmp_path / "broken.keras")
    assert code == 2 and error.count("\n") == 1
    assert error.startswith(f"error: {tmp_path / 'broken.keras'}: its weight ") and "holds NaN or infinity" in error


def test_an_rpn_has_no_limit_of_detections_to_set(evaluate, rpn_file):
    code, _, error = evaluate("--max-detections", 120, model=rpn_file)
    assert code == 2 and "has no such setting; leave it out" in error
