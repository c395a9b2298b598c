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
