"""`keras-fpn paper`: the table's page from runs that are made up, runs skipped and resumed, and what is refused."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import signal
import types

import numpy as np
import pytest

from keras_fpn.commands import main as cli
from keras_fpn.config.loading import shipped_configs
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.metrics import SEGMENTS, family_of
from keras_fpn.ops import masks
from keras_fpn.paper import command, curve, embedded, estimate, experiments, pictures, rows, summary, tables
from keras_fpn.training import training

# AR1000 in percent of the two seeds of each made-up row: c is ahead of all but d, and of e on average alone.
AR1000 = {"a": (30, 32), "b": (20, 20), "c": (50, 52), "d": (55, 55), "e": (51, 40), "f": (45, 47)}


@pytest.fixture(scope="module")
def tiny():
    """The embedded data set of a few small images, and rows of a few thousand weights for two steps."""
    overlay = embedded.OVERLAY | {
        "model.resize.min_side": 64,
        "model.resize.max_side": 64,
        "model.backbone.width": 8,
        "model.pyramid.channels": 8,
        "model.rpn.channels": 8,
        "data.min_sides": [64],
        "data.canvas": [64, 64],
        "data.batch_size": 2,
        "data.evaluation_batch_size": 2,
        "training.warmup_steps": 0,
    }
    steps = {"rpn": (2, 40_000), "other": (2, 80_000)}
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in (("OVERLAY", overlay), ("NUM_TRAIN", 4), ("NUM_VAL", 4), ("SIZE", 64), ("STEPS", steps)):
            monkeypatch.setattr(embedded, name, value)
        yield


def _made_up(folder, config, ar1000, seed):
    """A finished run folder without a model."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.to_yaml())
    metrics = {f"proposals/AR{limit}{area}": ar1000 / 100 for limit in (100, 1000) for area in ("", "s", "m")}
    metrics |= {"proposals/AR100l": None, "proposals/AR1000l": None}  # no large object in a small image
    (folder / "metrics.json").write_text(json.dumps(metrics))
    box = {"image_id": 1_000_001, "category_id": 0, "bbox": [1.0, 2.0, 20.0, 20.0], "score": 0.9}
    (folder / "results.json").write_text(json.dumps([box]))
    recalls = [ar1000 / 100 * limit / 1000 for limit in curve.LIMITS]
    found = {"curve": {"limits": list(curve.LIMITS), "": recalls, "s": recalls, "m": recalls, "l": [-1.0] * 7}}
    found |= {"parameters": 1234, "anchors": {"800x1000": 47_250, "64x64": 240}}
    found |= {"milliseconds": 12.3, "size": "64x64"} if seed == 0 else {}
    (folder / "findings.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def written(tiny, tmp_path_factory):
    """OUT of `keras-fpn paper table1` with two seeds, its runs made up, and what the command printed."""
    out, printed = tmp_path_factory.mktemp("paper") / "out", io.StringIO()
    setting = command.make_setting(out, seeds=2)
    for row, planned in experiments.plan(tables.table("table1"), setting).items():
        for experiment in planned:
            _made_up(experiment.run_dir, experiment.config, AR1000[row][experiment.seed], experiment.seed)
    with contextlib.redirect_stdout(printed):
        assert cli.main(["paper", "table1", "--seeds", "2", "--out", str(out)]) == 0
    return out, printed.getvalue()


def test_the_table_stands_beside_the_papers(written):
    out, printed = written
    assert "all 12 runs are finished" in printed
    text = (out / "table1.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| (c) FPN"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    # Mean and sample deviation of 50 and 52; the paper's row c.
    assert cells[1:6] == ["{Pk}", "47,250", "240", "✓", "✓"]
    assert cells[6:] == ["51.0 ± 1.4 (44.0)", "51.0 ± 1.4 (56.3)", "51.0 ± 1.4 (44.9)", "51.0 ± 1.4 (63.4)",
                         "– (66.2)", "12"]  # fmt: skip
    for name in ("command", "commit", "date", "machine", "versions"):
        assert f"\n* {name}: " in text
    for sentence in ("(c) above (a) | AR1k | +20.0 ± 0.0 | +8.0 | 2 of 2 | holds |",
                     "(c) above (d) | AR1k | -4.0 ± 1.4 | +6.8 | 0 of 2 | does not hold |",
                     "(c) above (e) | AR1k | +5.5 ± 9.2 | +10.2 | 1 of 2 | holds on average alone |",
                     "AR1k: (c) is ahead of 3 of 5 in every seed; not of (d), (e).",
                     "not most of all on small ones"):  # fmt: skip
        assert sentence in text


def test_the_csv_has_every_seed(written):
    with (written[0] / "table1.csv").open(newline="") as file:
        lines = {line["row"]: line for line in csv.DictReader(file)}
    assert list(lines) == list("abcdef")
    assert lines["e"]["AR1k"] == "45.5" and lines["e"]["AR1k seeds"] == "51.0 40.0"
    assert lines["e"]["AR1k deviation"] == "7.778" and lines["e"]["AR1k paper"] == "46.1"
    assert lines["a"]["AR1k l"] == "" and lines["a"]["anchors"] == "240"


def test_the_page_needs_nothing_from_outside(written):
    page = (written[0] / "table1.html").read_text()
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "") and "<script" not in page
    # all, small, medium; of large objects there are none
    assert page.count("<svg") == 3 and "Average recall, small objects" in page
    assert page.count("<img") % 7 == 0 and page.count("<img") >= 7  # the ground truth and six rows of each image
    assert "51.0<br>± 1.4<br>(56.3)" in page and "(e) top-down pyramid,<br>w/o lateral" in page


def test_runs_of_other_settings_are_not_mixed_in(written, run):
    code, _, errors = run("paper", "table1", "--seeds", 2, "--out", written[0], "--set", "training.steps=3")
    assert code == 2 and errors.count("\n") == 1
    assert "table1_a-seed0: was made with training.steps 2, and 3 is asked for now" in errors


@pytest.fixture
def one_row(tiny, monkeypatch):
    """Table 1 of row b alone."""
    table = tables.table("table1")
    short = dataclasses.replace(table, rows=(table.row("b"),), better="b", worse=())
    monkeypatch.setitem(tables.TABLES, "table1", short)
    monkeypatch.setattr(pictures, "NUM_IMAGES", 1)
    monkeypatch.setattr(curve, "LIMITS", (1, 1000))


@pytest.mark.slow
def test_a_row_is_trained_then_resumed_then_left_alone(one_row, run, tmp_path, monkeypatch):
    arguments = ("paper", "table1", "--seeds", 1, "--out", "out")
    code, printed, errors = run(*arguments)
    assert (code, errors) == (0, "")
    assert "1 of 1 runs to train" in printed and "run 1 of 1: table1_b, seed 0, about" in printed
    folder = tmp_path / "out" / "runs" / "table1_b-seed0"
    found = json.loads((folder / "findings.json").read_text())
    # 15 anchors on each cell of stride 32.
    assert found["anchors"] == {"800x1000": 12_000, "64x64": 60} and found["milliseconds"] > 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert found["curve"][""][-1] == metrics["proposals/AR1000"]

    (folder / "metrics.json").unlink()  # as a kill before the last file leaves it
    monkeypatch.setattr(training, "train", None)
    monkeypatch.setattr(estimate, "_timed_step", lambda *_: 900.0)  # no step is left, and 30 seconds besides
    code, printed, _ = run(*arguments)
    assert "about 1 min in all" in printed
    assert code == 0 and f"resuming {folder.relative_to(tmp_path)} at step 2 of 2" in printed
    assert json.loads((folder / "metrics.json").read_text()) == metrics

    monkeypatch.setattr(training, "resume", None)
    code, printed, _ = run(*arguments)
    assert code == 0 and "all 1 runs are finished" in printed and "wrote out/table1.html" in printed


def test_the_figures_are_those_of_the_papers_text():
    # "56.3 AR1k, 8.0 points over the single-scale RPN baseline"; "on small objects by 12.9 points" (section 5.1.1).
    first, third = tables.table("table1"), tables.table("table3")
    assert first.figure("c", "AR1k") - first.figure("a", "AR1k") == pytest.approx(8.0)
    assert first.figure("c", "AR1k s") - first.figure("a", "AR1k s") == pytest.approx(12.9)
    # "better than this strong baseline by 2.3 points AP and 3.8 points AP@0.5" (section 5.2.2).
    assert third.figure("c", "AP") - third.figure("a", "AP") == pytest.approx(2.3)
    assert third.figure("c", "AP@.5") - third.figure("a", "AP@.5") == pytest.approx(3.8)


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_row_has_its_figures_and_its_configuration(name):
    table = tables.table(name)
    assert [row.name for row in table.rows] == list(rows.RECIPES[name])
    for row in table.rows:
        assert len(row.facts) == len(table.fact_columns) and len(row.figures) == len(table.metrics)
        assert rows.RECIPES[name][row.name].config in shipped_configs()
    assert all(family_of(metric) is not None for metric in table.metrics.values())
    assert {table.better, *table.worse} <= {row.name for row in table.rows}


def test_needed_rows_come_first_and_shared_runs_once(tiny, tmp_path):
    setting = command.make_setting(tmp_path / "out", seeds=2)

    def folders(name):
        planned = experiments.plan(tables.table(name), setting)
        return [each.run_dir.name for each in experiments.with_needed(planned, setting)]

    # Table 2 stands on the proposals of table 1's row c; two lines of table 5 stand on one run of four steps.
    assert folders("table2")[:3] == ["table1_c-seed0", "table2_a-seed0", "table2_b-seed0"]
    assert folders("table5") == [f"table5_{depth}-seed{seed}" for seed in (0, 1) for depth in ("r50", "r101")]


def test_the_spread_is_that_of_a_sample():
    assert str(summary.spread([1.0, 2.0, 3.0])) == "2.0 ± 1.0" and str(summary.spread([4.0])) == "4.0"
    assert summary.spread([1.0, None]) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table4",), "paper table4: no such table; did you mean"),
        (("table1", "--annotations", "x.json"), "--annotations and --images go together"),
        (("table1", "--seeds", "0"), "'0' is not a whole number above 0"),
        (("table1", "--weights", "resnet50"), "--weights resnet50: write it as BACKBONE=FILE"),
        (("table1", "--weights", "resnet50=absent.keras"), "absent.keras: no such weights"),
        (("table1", "--data", "nowhere"), "nowhere: there is no such folder"),
        (("table1", "--set", "training.stepz=3"), "--set training.stepz: unknown key 'stepz'; did you mean 'steps'?"),
        (("table1", "--annotations", "nowhere/x.json", "--images", "y"), "nothing says what to train on; give --data"),
    ],
)
def test_bad_calls_are_one_line(arguments, message, run, tmp_path):
    code, _, errors = run("paper", *arguments, "--out", "out")
    assert code == 2 and errors.count("\n") == 1 and message in errors
    assert not (tmp_path / "out").exists()


def test_rows_start_from_the_weights_of_their_backbone(tmp_path, shapes_folder):
    file = tmp_path / "resnet50.keras"
    file.touch()
    setting = command.make_setting(tmp_path, data=shapes_folder)
    setting = dataclasses.replace(setting, weights=(("resnet50", str(file)),))
    planned = experiments.plan(tables.table("table5"), setting)
    starts = {row: each[0].config.training.weights for row, each in planned.items()}
    assert starts == {"r50_no": str(file), "r50_yes": str(file), "r101_no": None, "r101_yes": None}


def test_weights_that_no_row_would_start_from_are_refused(run, tmp_path):
    (tmp_path / "resnet50.keras").touch()
    # On the embedded data set the rows are of smaller networks.
    code, _, errors = run("paper", "table1", "--weights", "resnet50=resnet50.keras", "--out", "out")
    assert code == 2 and errors.count("\n") == 1
    assert "no row here is of resnet50; they are of resnet18" in errors and not (tmp_path / "out").exists()


def test_sigterm_is_as_ctrl_c_and_leaves_nothing_half_written(tiny, run, tmp_path, monkeypatch):
    def killed(folder, **options):
        (folder / "train").mkdir(parents=True)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(experiments, "write_shapes", killed)
        code, printed, errors = run("paper", "table1", "--out", "out")
    assert (code, errors) == (130, "") and printed.endswith("stopped; the same command goes on where it was\n")
    assert not (tmp_path / "out").exists()

    leftover = tmp_path / "out" / ".data.999999999.unfinished"  # of SIGKILL
    leftover.mkdir(parents=True)
    experiments.draw_data(tmp_path / "out")
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["data"]


def test_the_time_left_is_that_of_what_is_not_done(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_timed_step", lambda config, train_set: 10.0)
    setting = command.make_setting(tmp_path, seeds=1)
    todo = experiments.with_needed(experiments.plan(tables.table("table5"), setting), setting)
    nothing = types.SimpleNamespace(records=())
    # Four trainings of two steps each: 5 s a step, since one of both stages at once takes 10; and 30 s a training.
    assert estimate.Estimate(todo, nothing, True).seconds == 2 * 4 * (2 * 5.0 + 30.0)
    (todo[0].run_dir / "1_rpn").mkdir(parents=True)
    (todo[0].run_dir / "1_rpn" / "metrics.json").touch()
    (todo[0].run_dir / "2_fast_rcnn").mkdir()
    (todo[0].run_dir / "2_fast_rcnn" / "results.csv").write_text("epoch,step,seconds\n1,1,7.5\n")
    clock = estimate.Estimate(todo, nothing, True)
    assert clock.seconds == 3 * 30.0 + 5 * 5.0 + 4 * (2 * 5.0 + 30.0)
    clock.ended(todo[0], 2 * 115.0)  # twice as long as was expected
    assert clock.seconds == 2 * 160.0


def test_segments_are_drawn_by_their_masks(tiny, run, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "NUM_IMAGES", 1)
    out = tmp_path / "out"
    experiments.draw_data(out)
    content = json.loads((out / "data" / "annotations" / "instances_val.json").read_text())
    of_images = [[each for each in content["annotations"] if each["image_id"] == image["id"]]
                 for image in content["images"]]  # fmt: skip
    objects = next(each for each in of_images if len(each) > 2)  # the first image that is worth a picture
    # What the run found: the objects' own masks, and boxes that have nothing to do with them.
    segments = [masks.from_annotation(each["segmentation"], 64, 64) for each in objects]
    results = [
        {"image_id": each["image_id"], "bbox": [0.0, 0.0, 1.0, 1.0], "score": 0.9, "segmentation": segment}
        for each, segment in zip(objects, segments, strict=True)
    ]
    setting = command.make_setting(out, seeds=1)
    for planned in experiments.plan(tables.table("table6"), setting).values():
        folder = planned[0].run_dir
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(planned[0].config.to_yaml())
        metrics = {f"segments/AR{limit}{area}": 0.5 for limit in (100, 1000) for area in ("", "s", "m", "l")}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "results.json").write_text(json.dumps(results))
        (folder / "findings.json").write_text(json.dumps({"milliseconds": 5.0, "size": "64x64"}))
    code, printed, errors = run("paper", "table6", "--seeds", 1, "--out", out)
    assert (code, errors) == (0, "")
    page = (out / "table6.html").read_text()
    assert "IoU of the masks" in page
    for row in tables.table("table6").rows:
        assert f"{row.label}: {len(objects)} of {len(objects)} objects" in page


def test_the_curve_of_segments_ends_at_what_was_measured_of_all():
    image = {"id": 1, "height": 20, "width": 40}
    mask = np.zeros((20, 40), bool)
    mask[5:15, 5:15] = True
    segment = masks.encode(mask)
    ground_truth = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 10, 10], "segmentation": segment}
    evaluator = COCOEvaluator({"images": [image], "categories": [{"id": 1}], "annotations": [ground_truth]})
    others = [np.roll(mask, 20, axis=1), mask]  # the better one comes second
    common = {"image_id": 1, "category_id": 1, "bbox": [0.0, 0.0, 1.0, 1.0]}
    results = [
        common | {"score": score, "segmentation": masks.encode(each)}
        for score, each in zip((0.9, 0.8), others, strict=True)
    ]
    metrics = {f"segments/AR1000{area}": value for area, value in {"": 0.75, "s": 0.75, "m": None, "l": None}.items()}
    measured = curve.measure(SEGMENTS, evaluator, results, metrics)
    assert measured["limits"] == [1, 3, 10, 30, 100, 1000]
    assert measured[""] == measured["s"] == [0.0, 1.0, 1.0, 1.0, 1.0, 0.75]
    assert measured["m"] == [-1.0] * 6  # no object of that size


def test_segments_need_masks_before_anything_is_trained(shapes_folder, run, tmp_path):
    folder = tmp_path / "boxes_only"
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / split).symlink_to(shapes_folder / split)
        content = json.loads((shapes_folder / "annotations" / f"instances_{split}.json").read_text())
        for annotation in content["annotations"]:
            del annotation["segmentation"]
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    code, _, errors = run("paper", "table6", "--data", folder, "--out", "out")
    assert code == 2 and errors.count("\n") == 1 and "masks are needed here" in errors
    assert not (tmp_path / "out").exists()
