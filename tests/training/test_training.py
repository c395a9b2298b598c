"""A run and its folder: what it leaves, how it stops and goes on, and what it refuses."""

import contextlib
import csv
import io
import json
import os
import signal

import keras
import numpy as np
import pytest
import yaml

import keras_fpn
from keras_fpn.commands import main as cli
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data.coco import read_coco
from keras_fpn.data.shapes import write_shapes
from keras_fpn.training import datasets, named_files, new_run, run_folder, schedule, stopping, training


class CtrlC(keras.callbacks.Callback):
    """In the middle of the first epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 2:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=12, num_val=4, size=64)
    return folder


@pytest.fixture(scope="module", params=("sgd", pytest.param("adamw", marks=pytest.mark.slow)))
def runs(shapes, tmp_path_factory, request):
    """Folders of two runs, and what was printed of the second: one to the end; one that Ctrl-C stops in the middle of
    an epoch, that then goes on to the end, and that is resumed once more."""
    folder = tmp_path_factory.mktemp("runs")
    whole, stopped = str(folder / "whole"), str(folder / "stopped")
    options = ["--data", str(shapes), "--set", "training.evaluate_every=2"]
    options += ["--set", f"training.optimizer={request.param}"]
    assert cli.main(["train", "tiny", "--out", whole, *options]) == 0
    train, printed = training.train, io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(training, "train", lambda *given: train(*given, extra_callbacks=[CtrlC()]))
        assert cli.main(["train", "tiny", "--out", stopped, *options]) == 130
        last = folder / "stopped" / "last.keras"
        print("STEP", int(training.load_model(last).optimizer.iterations))
        assert cli.main(["train", "--resume", stopped]) == 0
        before = last.stat().st_mtime_ns
        assert cli.main(["train", "--resume", stopped]) == 0
        assert last.stat().st_mtime_ns == before
    return folder / "whole", folder / "stopped", printed.getvalue()


def _rows(run_dir):
    with open(run_dir / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_its_folder(runs):
    whole, _, _ = runs
    names = {path.name for path in whole.iterdir()}
    assert names == {
        "config.yaml", "model.keras", "last.keras", "results.csv", "results.json", "logs", "train_batch.jpg",
        "val_detections.jpg", "report.html", "metrics.json", "previous.keras", "began.json",
    }  # fmt: skip
    rows = _rows(whole)
    assert [int(float(row["epoch"])) for row in rows] == [1, 2]
    assert [int(float(row["step"])) for row in rows] == [4, 8]
    assert {"loss", "rpn_objectness_loss", "roi_box_loss", "learning_rate", "val_AP"} <= set(rows[0])
    assert rows[0]["val_AP"] == "" and rows[1]["val_AP"] != ""  # measured every second epoch
    metrics = json.loads((whole / "metrics.json").read_text())
    assert {"AP", "AP50", "APs", "AR100", "proposals/AR100", "proposals/AR1000"} <= set(metrics)
    assert list((whole / "logs").rglob("events.out*"))


def test_the_optimizer_is_the_one_that_is_asked_for(runs):
    named = yaml.safe_load((runs[0] / "config.yaml").read_text())["training"]["optimizer"]
    optimizer = training.load_model(runs[0] / "last.keras").optimizer
    assert type(optimizer) is {"sgd": keras_fpn.SGD, "adamw": keras_fpn.models.optimizers.AdamW}[named]


def test_the_configuration_it_ran_is_complete(runs, shapes):
    config = yaml.safe_load((runs[0] / "config.yaml").read_text())
    assert config["data"]["train"]["annotations"] == str(shapes / "annotations" / "instances_train.json")
    assert config["model"]["detections"]["nms_threshold"] == 0.5
    assert config["training"]["evaluate_every"] == 2


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_last_bit(runs):
    whole, stopped, printed = runs
    assert "STEP 3" in printed  # the third of the four steps of the first epoch was the one at hand
    assert "stopped at step 3 of 8; resume with:" in printed
    assert f"keras-fpn train --resume {stopped}" in printed
    assert f"resuming {stopped} at step 3 of 8" in printed
    for name in ("last.keras", "model.keras"):
        first, second = (training.load_model(run_dir / name) for run_dir in (whole, stopped))
        for a, b in zip(first.variables, second.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)
    assert (whole / "metrics.json").read_text() == (stopped / "metrics.json").read_text()
    last, resumed = _rows(whole)[-1], _rows(stopped)[-1]
    assert all(last[name] == resumed[name] for name in last if name != "seconds")


def test_a_finished_run_says_so(runs):
    assert "already finished, all 8 steps" in runs[2]


def test_the_model_file_holds_no_optimizer(runs):
    whole, _, _ = runs
    assert (whole / "model.keras").stat().st_size < 0.75 * (whole / "last.keras").stat().st_size


def test_a_failed_start_leaves_no_folder(shapes, tmp_path):
    config = named_files.with_data(load_config("tiny", ["training.warmup_steps=8"]), shapes)
    with pytest.raises(UserError, match="8 steps do not fit a run of 8"):
        training.train(config, tmp_path / "run")
    config = named_files.with_data(load_config("tiny", ["model.num_classes=3"]), shapes)
    with pytest.raises(UserError, match="model.num_classes: 3, but"):
        training.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_broken_image_is_named_and_leaves_no_folder(shapes, tmp_path):
    write_shapes(tmp_path / "shapes", num_train=2, num_val=1, size=64)
    for image in (tmp_path / "shapes" / "train").iterdir():
        image.write_bytes(image.read_bytes()[:100])
    config = named_files.with_data(load_config("tiny", ["training.deterministic=false"]), tmp_path / "shapes")
    with pytest.raises(UserError, match=r"shapes/train/.*\.jpg"):
        training.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_that_diverges_is_told_and_leaves_no_folder(shapes, tmp_path):
    settings = ["training.learning_rate=1.0e+30", "training.clip_norm=null", "training.warmup_steps=0"]
    config = named_files.with_data(load_config("tiny", [*settings, "training.deterministic=false"]), shapes)
    with pytest.raises(UserError, match=r"loss.* became (nan|inf) at step [234]; lower training.learning_rate"):
        training.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_training_at_another_size_than_evaluation_is_told(shapes, tmp_path, capsys):
    settings = ["data.min_sides=[64, 96]", "model.resize.min_side=80", "model.num_classes=4", "training.steps=1"]
    config = load_config("tiny", [*settings, "training.warmup_steps=0", "training.deterministic=false"])
    training.train(named_files.with_data(config, shapes), tmp_path / "run")
    assert "trained at a shorter side of 64, 96 (data.min_sides) and evaluated at 80" in capsys.readouterr().out


def test_data_must_be_named():
    with pytest.raises(UserError, match="data.train.annotations is not set; give --data DIR"):
        named_files.with_data(load_config("tiny"))


def test_other_classes_in_the_validation_file_are_refused(shapes, tmp_path):
    file = tmp_path / "val.json"
    content = json.loads((shapes / "annotations" / "instances_val.json").read_text())
    content["categories"][0]["name"] = "disc"
    file.write_text(json.dumps(content))
    config = named_files.with_data(load_config("tiny", {"training.deterministic": False}), shapes)
    tree = config.model_dump()
    tree["data"]["val"]["annotations"] = str(file)
    with pytest.raises(UserError, match="its categories differ from those of .*, which has no 'disc'; give both"):
        training.train(type(config).model_validate(tree), tmp_path / "run")


def test_categories_of_the_validation_file_are_those_of_training_by_name(shapes, tmp_path):
    """Programs number them by what they meet in a file, and list no others."""
    file = tmp_path / "val.json"
    content = json.loads((shapes / "annotations" / "instances_val.json").read_text())
    wanted = read_coco(shapes / "annotations" / "instances_val.json", shapes / "val")
    number = {each["id"]: 100 - each["id"] for each in content["categories"]}
    used = {each["category_id"] for each in content["annotations"]}
    content["categories"] = [{**each, "id": number[each["id"]]} for each in content["categories"] if each["id"] in used]
    for each in content["annotations"]:
        each["category_id"] = number[each["category_id"]]
    file.write_text(json.dumps(content))
    tree = named_files.with_data(load_config("tiny"), shapes).model_dump()
    tree["data"]["val"]["annotations"] = str(file)
    train_set, val_set, evaluator = datasets.read_data(type(load_config("tiny")).model_validate(tree))
    assert val_set.class_names == train_set.class_names == tuple(evaluator.class_names)
    for record, same in zip(val_set.records, wanted.records, strict=True):
        assert record.classes.tolist() == same.classes.tolist()


def test_run_folders_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with new_run.new_run_folder(None, "configs/mine.yaml") as first:
        assert first.as_posix() == "runs/mine" and first.is_dir()
        with new_run.new_run_folder(None, "mine") as second:  # at the same time
            assert second.as_posix() == "runs/mine-2"
    (tmp_path / "full").mkdir()
    with new_run.new_run_folder("full", "mine") as folder:  # empty: may be used
        (folder / "file").touch()
    with pytest.raises(UserError, match="exists already"), new_run.new_run_folder("full", "mine"):
        pass


@pytest.mark.parametrize("out", [None, "a/b/c", "empty"])
def test_a_run_that_never_began_leaves_nothing(out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError), new_run.new_run_folder(out, "mine") as folder:
        (folder / "config.yaml").touch()
        raise UserError("bad image")
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_run_with_a_checkpoint_stays(tmp_path):
    with pytest.raises(UserError), new_run.new_run_folder(tmp_path / "run", "mine") as folder:
        (folder / "last.keras").touch()
        raise UserError("bad image")
    assert (tmp_path / "run" / "last.keras").exists()


def _edited(data, change, split="val"):
    file = data / "annotations" / f"instances_{split}.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


FAST = ["training.deterministic=false", "training.evaluate_every=0"]
KEYPOINTS = [*FAST, "model.architecture=keypoint_rcnn"]


def test_what_evaluation_would_refuse_is_told_before_training(tmp_path):
    write_shapes(tmp_path / "data", num_train=2, num_val=1, size=64)
    _edited(tmp_path / "data", lambda content: content["annotations"][0].update(area="abc"))
    config = named_files.with_data(load_config("tiny", FAST), tmp_path / "data")
    with pytest.raises(UserError, match="annotation 1: area is 'abc'"):
        training.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_the_measures_of_a_model_need_is_told_before_training(tmp_path):
    write_shapes(tmp_path / "data", num_train=2, num_val=1, size=64)
    _edited(tmp_path / "data", lambda content: [each.pop("sigmas") for each in content["categories"]])
    config = named_files.with_data(load_config("tiny", KEYPOINTS), tmp_path / "data")
    with pytest.raises(UserError, match="instances_val.json: nothing says how exactly its . keypoints can be placed"):
        datasets.read_data(config)


def test_keypoints_of_both_halves_are_the_same(tmp_path):
    write_shapes(tmp_path / "data", num_train=2, num_val=1, size=64)
    _edited(tmp_path / "data", lambda content: [each["keypoints"].reverse() for each in content["categories"]])
    config = named_files.with_data(load_config("tiny", KEYPOINTS), tmp_path / "data")
    told = r"instances_val.json: its keypoints \[.* are not those of .*instances_train.json, \[.*; give both one list"
    with pytest.raises(UserError, match=told):
        datasets.read_data(config)


def test_images_with_few_keypoints_are_not_trained_on_and_are_measured(tmp_path, caplog):
    def unlabelled(content):
        for each in content["annotations"]:
            if each["image_id"] in (1, 2):
                each.update(keypoints=[0] * len(each["keypoints"]), num_keypoints=0)

    write_shapes(tmp_path / "data", num_train=4, num_val=2, size=64)
    for split in ("train", "val"):
        _edited(tmp_path / "data", unlabelled, split)
    config = named_files.with_data(load_config("tiny", [*KEYPOINTS, "data.min_keypoints=1"]), tmp_path / "data")
    train_set, val_set, _ = datasets.read_data(config)
    assert [record.image_id for record in train_set.records] == [3, 4] and len(val_set) == 2
    assert "2 of 4 images have fewer than 1 labelled keypoints and are not trained on" in caplog.text
    assert schedule.unchecked_schedule(config, train_set).total_steps > 0


@pytest.mark.parametrize(
    ("change", "least", "told"),
    [
        (lambda each: each.update(keypoints=[], num_keypoints=0), 0, "no object has labelled keypoints, so nothing"),
        (lambda each: None, 10_000, "no image has enough to be trained on"),
    ],
)
def test_a_training_half_without_keypoints_teaches_none(tmp_path, change, least, told):
    write_shapes(tmp_path / "data", num_train=2, num_val=1, size=64)
    _edited(tmp_path / "data", lambda content: [change(each) for each in content["annotations"]], "train")
    overrides = [*KEYPOINTS, f"data.min_keypoints={least}"]
    config = named_files.with_data(load_config("tiny", overrides), tmp_path / "data")
    with pytest.raises(UserError, match=f"instances_train.json: {told}"):
        datasets.read_data(config)


def test_a_data_set_without_any_object_teaches_nothing(tmp_path):
    write_shapes(tmp_path / "data", num_train=2, num_val=1, size=64)
    _edited(tmp_path / "data", lambda content: content["annotations"].clear(), "train")
    config = named_files.with_data(load_config("tiny", FAST), tmp_path / "data")
    with pytest.raises(UserError, match="instances_train.json: no image has an object"):
        training.train(config, tmp_path / "run")


@pytest.mark.slow
def test_a_broken_validation_image_costs_no_step(tmp_path):
    write_shapes(tmp_path / "data", num_train=4, num_val=2, size=64)
    _edited(tmp_path / "data", lambda content: content["annotations"][0].update(bbox=[1, float("nan"), 3, 3]))
    picture = tmp_path / "data" / "val" / "000002.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(whole[:200])
    changes = ["training.deterministic=false", "training.steps=2", "training.steps_per_epoch=2",
               "training.warmup_steps=0", "data.invalid_boxes=drop"]  # fmt: skip
    config = named_files.with_data(load_config("tiny", changes), tmp_path / "data")
    with pytest.raises(UserError, match=r"000002\.jpg: cannot be read .*; then go on: keras-fpn train --resume"):
        training.train(config, tmp_path / "run")
    picture.write_bytes(whole)
    outcome = training.resume(tmp_path / "run")
    assert outcome.step == 2 and outcome.metrics["AP"] is not None
    (tmp_path / "run" / "results.csv").unlink(missing_ok=True)
    assert training.resume(tmp_path / "run").metrics == outcome.metrics
    (tmp_path / "run" / "metrics.json").write_text("{")
    with pytest.raises(UserError, match="metrics.json: not a whole JSON file"):
        training.resume(tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    (tmp_path / "run" / "last.keras").write_bytes((tmp_path / "run" / "model.keras").read_bytes())
    with pytest.raises(UserError, match="last.keras: holds no optimizer"):
        training.resume(tmp_path / "run")


def test_a_table_that_is_none_is_told(tmp_path):
    (tmp_path / "results.csv").write_text("epoch,loss\n1,abc\n")
    with pytest.raises(UserError, match="results.csv: not a table of numbers"):
        run_folder.read_results(tmp_path / "results.csv")


def test_no_run_to_resume(tmp_path):
    with pytest.raises(UserError, match="config.yaml is missing"):
        training.resume(tmp_path)


@pytest.mark.parametrize(
    ("step", "total", "size", "stretches"),
    [
        (0, 8, 4, [(0, 2, 4)]),
        (3, 8, 4, [(0, 1, 1), (1, 2, 4)]),  # the rest of an epoch is a call of its own
        (0, 10, 4, [(0, 2, 4), (2, 3, 2)]),  # so is a short last one
        (9, 10, 4, [(2, 3, 1)]),
        (5, 10, 4, [(1, 2, 3), (2, 3, 2)]),
        (8, 8, 4, []),
    ],
)
def test_what_is_left_of_a_run(step, total, size, stretches):
    assert [tuple(one) for one in schedule.stretches_from(step, schedule.Schedule(total, size))] == stretches


def test_the_length_of_a_run(shapes):
    data_set = read_coco(shapes / "annotations" / "instances_train.json", shapes / "train")
    # 12 images in batches of 5: three steps a pass.
    overrides = {"data.batch_size": 5, "training.steps_per_epoch": None, "training.epochs": 4}
    length = schedule.make_schedule(load_config("tiny", overrides), data_set)
    assert (length.total_steps, length.steps_per_epoch, length.epochs) == (12, 3, 4)
    length = schedule.make_schedule(load_config("tiny", {"training.steps": 10}), data_set)
    assert (length.total_steps, length.steps_per_epoch, length.epochs) == (10, 4, 3)


class _FakeModel:
    stop_training = False


def test_ctrl_c_in_the_last_step_of_an_epoch_lets_it_end():
    stop = stopping.StopOnSignal()
    stop.set_params({"steps": 4})
    stop.set_model(_FakeModel())
    stop.on_train_batch_end(0)
    stop.asked = True
    stop.on_train_batch_end(3)
    stop.on_epoch_end(0)
    assert stop.model.stop_training
    with pytest.raises(stopping.Interrupted):
        stop.on_train_batch_end(2)
