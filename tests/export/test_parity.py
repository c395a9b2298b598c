"""The parity table: every figure from running the files, and a file that differs is told."""

import dataclasses
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import keras_fpn
from keras_fpn.console import extras
from keras_fpn.data.coco import read_coco
from keras_fpn.export import parity, parity_command
from keras_fpn.export.description import describe
from keras_fpn.export.measuring import Measurement, measure_apart
from keras_fpn.export.parity_table import Row, Table
from keras_fpn.export.to_tflite import write_tflite

FRAME = (64, 128)  # of the TFLite file: not what the model's own rule makes of the images, which are 96 x 96


@pytest.fixture(scope="module")
def model(tiny_settings):
    keras.utils.set_random_seed(5)
    settings = tiny_settings() | {"resize": {"min_side": 96, "max_side": 96, "size_divisor": 32}}
    # Of random weights: four classes and the background score 0.2 or so.
    settings["detections"] = settings["detections"] | {"score_threshold": 0.05}
    return keras_fpn.FasterRCNN(**settings)


@pytest.fixture(scope="module")
def data_set(shapes_folder):
    read = read_coco(shapes_folder / "annotations" / "instances_val.json", shapes_folder / "val")
    return dataclasses.replace(read, records=read.records[:4])


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    model.save(folder / "model.keras")
    write_tflite(model, folder / "model.tflite", size=FRAME)
    return folder


class Answering:
    """In the place of an artefact: the ground truth of each record in turn, in the pixels of the frame."""

    format = "onnx"

    def __init__(self, model, records):
        self.description = describe(model, frame=FRAME)
        self._records = iter(records)

    def run(self, images, image_sizes):
        record = next(self._records)
        number = len(record.boxes)
        return {
            "boxes": record.boxes[None] * np.float32(image_sizes[0, 0] / record.height),
            "scores": np.linspace(0.9, 0.5, number, dtype=np.float32)[None],
            "classes": record.classes[None],
            "num_detections": np.array([number], np.int32),
        }


class Shifted:
    """A good artefact, but its boxes are off by half a pixel."""

    format = "tflite"

    def __init__(self, artefact):
        self._artefact, self.description = artefact, artefact.description

    def run(self, images, image_sizes):
        found = self._artefact.run(images, image_sizes)
        filled = np.arange(found["boxes"].shape[1]) < found["num_detections"][:, None]
        return found | {"boxes": found["boxes"] + 0.5 * filled[..., None].astype(np.float32)}


@pytest.fixture(scope="module")
def table(model, files, data_set):
    tflite = parity.Export(files / "model.tflite")
    right = SimpleNamespace(path=tflite.path, finding=None, artefact=tflite.artefact)
    shifted = SimpleNamespace(path=tflite.path, finding=None, artefact=Shifted(tflite.artefact))
    known = SimpleNamespace(max_box=0.25, max_score=0.125, detections=40, unpaired=3)
    perfect = SimpleNamespace(path=tflite.path, finding=known, artefact=Answering(model, data_set.records))
    return parity.measure(
        model,
        files / "model.keras",
        [right, shifted, perfect],
        data_set=data_set,
        files=[record.path for record in data_set.records],
        threads=(1,),
    )


@pytest.mark.slow
def test_the_model_itself_comes_first_and_again_on_other_pixels(table):
    assert [row.name for row in table.rows] == [
        "keras",
        "keras 64x128",
        "tflite 64x128",
        "tflite 64x128",
        "onnx 64x128",
    ]
    assert table.rows[0].max_box is None and table.rows[1].measurements == ()
    assert table.metric == "AP"


@pytest.mark.slow
def test_differences_are_those_of_the_verification(table, model, files):
    row = table.rows[2]
    assert row.refusal is None and row.compared > 50
    assert 0 < row.max_box <= 0.05 and 0 < row.max_score <= 1e-4
    # A picture of noise is among the cases: what it gives is no more than the largest.
    artefact = parity.Export(files / "model.tflite").artefact
    images = np.random.default_rng(0).integers(0, 256, (1, *FRAME, 3), np.uint8)
    sizes = np.array([FRAME], np.int32)
    found, expected = artefact.run(images, sizes), model({"images": images.astype(np.float32), "image_sizes": sizes})
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=0.05)


@pytest.mark.slow
def test_an_artefact_that_differs_is_refused_in_the_table(table):
    row = table.rows[3]
    assert row.max_box is None and row.max_score is None
    assert "px (at most 0.05)" in row.refusal
    assert any(note.startswith("tflite float32 fails the verification: ") for note in table.notes)


@pytest.mark.slow
def test_ap_is_that_of_the_answers(table):
    # The ground truth itself has an AP of 1 by its definition; the model has random weights.
    assert table.rows[4].metric == pytest.approx(1.0)
    assert table.rows[4].max_box == 0.25 and table.rows[4].max_score == 0.125
    assert 0 <= table.rows[0].metric < 0.2
    assert table.rows[2].metric == pytest.approx(table.rows[1].metric, abs=1e-4)


@pytest.mark.slow
def test_costs_are_those_of_the_files(table, files):
    keras_row, tflite_row = table.rows[0], table.rows[2]
    assert keras_row.size_bytes == (files / "model.keras").stat().st_size
    assert tflite_row.size_bytes == (files / "model.tflite").stat().st_size
    assert 0 < tflite_row.latency(1) < 10_000 and tflite_row.latency(2) is None
    assert tflite_row.measurements[0].fastest_ms <= tflite_row.latency(1)
    assert tflite_row.measurements[0].runs >= 5
    assert 0 < tflite_row.arena_bytes < tflite_row.peak_bytes < keras_row.peak_bytes
    assert keras_row.arena_bytes is None


@pytest.mark.slow
def test_memory_is_of_the_runtime_alone(table):
    # TensorFlow takes 400 MB and more: neither it nor the memory of this process, which has it, is counted.
    assert table.rows[2].peak_bytes < 300e6


def test_a_file_that_cannot_be_run_is_told(tmp_path):
    np.savez(tmp_path / "inputs.npz", images=np.zeros((1, 8, 8, 3), np.float32), image_sizes=[[8, 8]])
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    with pytest.raises(RuntimeError, match=r"bad\.tflite: cannot be measured with 1 threads: .*UserError"):
        measure_apart(tmp_path / "bad.tflite", tmp_path / "inputs.npz", 1)


def written(metric=0.725):
    """A table with the widest cells there may be."""
    cost = [Measurement(threads, 1234.5, 1200.0, 5, 2_345_000_000, 123_400_000) for threads in (1, 2)]
    rows = (
        Row("keras", "float32", metric=metric, size_bytes=7_400_000, measurements=(cost[0],)),
        Row("saved_model", "bfloat16", None, "a", 166_000_000, 0.000123, 0.0, 9, 0, None, metric, (cost[0],)),
        Row("tflite", "dynamic_int8", (1344, 1344), "b", 66_000_000, 12.34, 0.1234, 9, 1, None, metric, tuple(cost)),
    )
    return Table("a detector", rows, None if metric is None else "AP", ("a note " * 30,))


def test_text_fits_a_terminal_and_holds_every_figure():
    text = written().to_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text and "…" not in text
    for figure in ("72.5", "7.4", "166", "1e-04", "12 ", "0.12 ", "1234", "2345", "123"):
        assert figure in text, figure


def test_markdown_has_as_many_cells_in_each_row():
    lines = written().to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 5 and len({line.count("|") for line in rows}) == 1
    assert rows[1].startswith("| --- | --- | ---: |")
    assert "| 72.5 |" in rows[2]
    assert lines[6].startswith("* a note")


def test_what_was_not_measured_has_no_column():
    assert "AP" not in written(metric=None).to_text()
    assert "AP" in written().to_text()


def test_json_and_section_tell_the_same():
    content = json.loads(json.dumps(written().to_json()))
    assert content["rows"][2]["measurements"][1] | {"threads": 2} == content["rows"][2]["measurements"][1]
    section = written().to_section("Exports", "text")
    assert section.rows[2][:4] == ("tflite 1344x1344", "dynamic_int8", "12", "0.12")
    assert len(section.head) == len(section.rows[0]) == 10


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["m", "--formats", "tflit"], "--formats: unknown format 'tflit'; did you mean 'tflite'?"),
        (["m", "--formats", "onnx:float16"], "--formats: onnx has no precision 'float16'"),
        (["m", "--annotations", "a.json"], "--annotations and --images go together"),
        (["m", "--size", "0x3"], "argument --size"),
        (["absent.keras"], "absent.keras: no such model"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert parity_command.main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.slow
def test_the_command_leaves_out_what_is_not_installed(files, capsys, monkeypatch, tmp_path):
    find = extras.importlib.util.find_spec
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    out = tmp_path / "out"
    call = [files / "model.keras", "--formats", "onnx", "tflite:dynamic_int8", "--size", "96x96", "--threads", "2"]
    call += ["--out", out, "--json", tmp_path / "t.json", "--markdown", tmp_path / "t.md"]
    assert parity_command.main(list(map(str, call))) == 0
    printed = capsys.readouterr().out
    # Of the format's packages the one that only running takes: nothing is written that could not be measured.
    assert 'left out: onnx float32: onnxruntime is not installed; pip install "keras-fpn[onnx]"' in printed
    content = json.loads((tmp_path / "t.json").read_text())
    assert [(row["format"], row["precision"]) for row in content["rows"]] == [
        ("keras", "float32"),
        ("tflite", "dynamic_int8"),
        ("onnx", "float32"),
    ]
    assert content["rows"][-1]["refusal"].startswith("onnxruntime is not installed")
    assert content["metric"] is None and "| tflite 96x96 | dynamic_int8 |" in (tmp_path / "t.md").read_text()
    assert content["rows"][1]["size_bytes"] == (out / "tflite_dynamic_int8.tflite").stat().st_size
