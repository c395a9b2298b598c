"""`keras-fpn benchmark`: two models by turns, and models that take proposals as given."""

import json

import numpy as np
import pytest
import yaml

from keras_fpn.config.loading import load_config
from keras_fpn.inference import timing


@pytest.fixture
def fast_rcnn(tmp_path):
    """The shipped tiny detector's second stage alone, as a file."""
    config = load_config("tiny")
    settings = config.model_dump() | {"model": config.model.as_architecture("fast_rcnn").model_dump()}
    (tmp_path / "second.yaml").write_text(yaml.safe_dump(settings))
    return "second.yaml"


@pytest.mark.slow
def test_two_are_timed_by_turns_and_the_ratio_is_told(run, fast_rcnn, tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "PROPOSALS", 20)
    code, out, _ = run("benchmark", fast_rcnn, "--against", "tiny", "--size", "64x96", "--runs", 3, "--json", "t.json")
    assert code == 0
    told = json.loads((tmp_path / "t.json").read_text())
    assert (told["model"], told["against"], told["size"], told["runs"]) == (fast_rcnn, "tiny", [64, 96], 3)
    first, second = told["timings"]
    assert [first["model"], second["model"]] == [fast_rcnn, "tiny"]
    assert all(each["median_ms"] >= each["fastest_ms"] > 0 for each in told["timings"])
    assert told["ratio"] == pytest.approx(first["median_ms"] / second["median_ms"])
    assert first["proposals"] == 20 and 0 < second["proposals"] <= 1000
    assert out.splitlines()[-1] == f"  ratio {told['ratio']:.3f}: median of {fast_rcnn} / median of tiny"


def test_calls_alternate_after_a_warm_up():
    import tensorflow as tf

    order = []

    def function(name):
        def call(given):
            tf.py_function(lambda: order.append(name), [], [])
            return given

        return call

    seconds = timing._by_turns([function("A"), function("B")], [tf.constant(1.0), tf.constant(2.0)], 3)
    assert order == ["A", "B"] * 5 and [len(each) for each in seconds] == [3, 3]


def test_boxes_drawn_for_a_second_stage_lie_in_the_image():
    boxes = timing._random_boxes(np.random.default_rng(0), 2, 800, 1000).numpy()
    assert boxes.shape == (2, 1000, 4) and boxes.min() >= 0
    assert (boxes[..., 2] <= 1000).all() and (boxes[..., 3] <= 800).all()
    assert (boxes[..., 2:] - boxes[..., :2] >= 15.99).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--against", "nowhere.keras"), "nowhere.keras: no such model"),
        (("--against", "tini"), "tini: no such configuration; did you mean 'tiny'?"),
        (("--against", "tiny", "--stages"), "--stages: not allowed with argument --against"),
        (("--against", "tiny", "--json", "."), "."),
    ],
)
def test_what_cannot_be_compared_is_told_in_a_line(run, tmp_path, arguments, message):
    code, _, error = run("benchmark", "tiny", "--size", "64x64", *arguments)
    assert code == 2 and message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_formats_are_tabled_and_one_that_fails_has_its_reason(run, shapes_folder, tmp_path, monkeypatch):
    from keras_fpn.export import to_onnx

    def fail(*arguments, **options):
        raise RuntimeError("no ONNX operator for Strange of TensorFlow\nand more")

    steps = ["training.steps=2", "training.steps_per_epoch=2", "training.warmup_steps=0"]
    assert run("train", "tiny", "--data", shapes_folder, "--out", "run", "--set", *steps)[0] == 0
    monkeypatch.setattr(to_onnx, "write_onnx", fail)
    code, out, _ = run("benchmark", "run", "--formats", "onnx", "tflite:int8", "--size", "96x96", "--json", "t.json")
    assert code == 0
    model, *others = json.loads((tmp_path / "t.json").read_text())["rows"]
    *_, int8, onnx = others
    assert [row["format"] for row in (model, int8, onnx)] == ["keras", "tflite", "onnx"]
    for row in (model, int8):
        assert row["metric"] >= 0 and row["size_bytes"] > 0
        assert all(one["median_ms"] > 0 and one["peak_bytes"] > 0 for one in row["measurements"])
    reason = "RuntimeError: no ONNX operator for Strange of TensorFlow"
    assert onnx["refusal"] == reason and onnx["measurements"] == []
    assert f"onnx float32 is not there: {reason}." in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny"], "tiny: no such model; give a .keras file or the folder of a run"),
        (["x.keras"], "x.keras: no such model"),
        (["x.keras", "--formats", "onxx"], "--formats: unknown format 'onxx'; did you mean 'onnx'?"),
        (["x.keras", "--batch-size", 2], "--batch-size does not go with --formats"),
        (["x.keras", "--runs", 3], "--runs does not go with --formats"),
        (["x.keras", "--set", "size=100"], "--set does not go with --formats"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_line(run, arguments, message):
    given = arguments if "--formats" in arguments else [*arguments, "--formats", "all"]
    code, _, error = run("benchmark", *given)
    assert code == 2 and message in error and error.count("\n") == 1
