"""A run that goes on finds the settings and annotations that it began with, wherever the data lies by now."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data.proposal_files import write_proposals
from keras_fpn.data.shapes import write_shapes
from keras_fpn.training import named_files, restart, training


@pytest.fixture
def begun(tmp_path):
    """(folder of a run that has begun, folder of its data)"""
    write_shapes(tmp_path / "data", num_train=2, num_val=1, size=64)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    config = named_files.with_data(load_config("tiny"), tmp_path / "data")
    (run_dir / "config.yaml").write_text(config.to_yaml())
    restart.record(run_dir, config)
    return run_dir, tmp_path / "data"


def _edit(run_dir, old, new):
    file = run_dir / "config.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def _edit_annotations(data):
    file = data / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"].pop()
    file.write_text(json.dumps(content))


def test_nothing_changed(begun):
    run_dir, data = begun
    config = restart.config_to_go_on_with(run_dir)
    assert config == named_files.with_data(load_config("tiny"), data)


def test_a_setting_that_was_edited_is_named_with_its_values(begun, capsys):
    run_dir, _ = begun
    _edit(run_dir, "learning_rate: 0.01", "learning_rate: 0.05")
    with pytest.raises(UserError, match=r"training.learning_rate was 0.01 and is 0.05; put that back, or .*--accept"):
        restart.config_to_go_on_with(run_dir)
    assert restart.config_to_go_on_with(run_dir, accept_changes=True).training.learning_rate == 0.05
    assert "accepted: training.learning_rate was 0.01 and is 0.05" in capsys.readouterr().out
    restart.config_to_go_on_with(run_dir)  # accepted once and for all


def test_a_run_that_has_trained_nothing_may_be_edited(begun):
    _edit(begun[0], "learning_rate: 0.01", "learning_rate: 0.05")
    assert restart.config_to_go_on_with(begun[0], is_new=True).training.learning_rate == 0.05


def test_what_does_not_change_the_result_may_be_edited(begun):
    _edit(begun[0], "checkpoint_minutes: 10.0", "checkpoint_minutes: 1.0")
    assert restart.config_to_go_on_with(begun[0]).training.checkpoint_minutes == 1.0


def test_annotations_that_changed_are_named(begun):
    run_dir, data = begun
    _edit_annotations(data)
    with pytest.raises(UserError, match=r"instances_train.json \(data.train.annotations\) has other content, sha"):
        restart.config_to_go_on_with(run_dir)
    restart.config_to_go_on_with(run_dir, accept_changes=True)
    restart.config_to_go_on_with(run_dir)


def test_proposals_that_changed_are_named(begun, tmp_path):
    run_dir, data = begun

    def write(name, score):
        rows = [(1, np.array([[1, 2, 30, 40]], np.float32), np.array([score], np.float32))]
        write_proposals(tmp_path / name, rows, {"model": name})

    for name, score in (("given", 0.5), ("the same", 0.5), ("others", 0.75)):
        write(name, score)
    config = load_config("tiny", [f"data.train.proposals={tmp_path / 'given'}"])
    config = named_files.with_data(config, data)
    (run_dir / "config.yaml").write_text(config.to_yaml())
    restart.record(run_dir, config)
    restart.config_to_go_on_with(run_dir, overrides=[f"data.train.proposals={tmp_path / 'the same'}"])
    with pytest.raises(UserError, match=r"others \(data.train.proposals\) has other content, sha256"):
        restart.config_to_go_on_with(run_dir, overrides=[f"data.train.proposals={tmp_path / 'others'}"])


def test_data_that_moved(begun):
    run_dir, data = begun
    moved = shutil.move(data, data.with_name("moved"))
    with pytest.raises(UserError, match=r"instances_train.json: no such file, .*if it was moved, give --data DIR"):
        restart.config_to_go_on_with(run_dir)
    restart.config_to_go_on_with(run_dir, data_dir=moved)
    config = restart.config_to_go_on_with(run_dir)  # it is remembered
    assert config.data.train.annotations == str(Path(moved) / "annotations" / "instances_train.json")
    again = Path(shutil.move(moved, data))
    overrides = [f"data.{name}.{key}={again / place}" for name in ("train", "val") for key, place in (
        ("annotations", f"annotations/instances_{name}.json"), ("images", name))]  # fmt: skip
    assert restart.config_to_go_on_with(run_dir, overrides=overrides).data.val.images == str(again / "val")


def test_a_finished_run_with_other_settings_is_not_finished(begun, capsys):
    run_dir, data = begun
    (run_dir / "metrics.json").write_text('{"AP": 0.5}')
    assert training.resume(run_dir).metrics == {"AP": 0.5}
    _edit_annotations(data)
    training.resume(run_dir)  # where the data went is nothing to it
    with pytest.raises(UserError, match="has other content"):
        training.resume(run_dir, data_dir=data)
    _edit(run_dir, "steps: 8", "steps: 800")
    with pytest.raises(UserError, match=r"is finished, and changed since it began: training.steps was 8 and is 800"):
        training.resume(run_dir)
    training.resume(run_dir, accept_changes=True)
    (run_dir / "config.yaml").write_text("")
    with pytest.raises(UserError, match="config.yaml"):
        training.resume(run_dir)


def test_other_data_in_the_place_of_those_that_moved_are_refused(begun):
    run_dir, data = begun
    write_shapes(data.with_name("other"), num_train=3, num_val=1, size=64)
    before = (run_dir / "config.yaml").read_text()
    with pytest.raises(UserError, match="has other content"):
        restart.config_to_go_on_with(run_dir, data_dir=data.with_name("other"))
    assert (run_dir / "config.yaml").read_text() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.steps=9", "--set training.steps=9 does not go with --resume"),
        ("data.batch_size=4", "data.batch_size was 2 and is 4"),
    ],
)
def test_other_settings_are_not_set_anew(override, message, begun):
    with pytest.raises(UserError, match=message):
        restart.config_to_go_on_with(begun[0], overrides=[override])


def test_a_run_of_an_earlier_version_is_not_compared(begun):
    run_dir, _ = begun
    (run_dir / restart.NAME).unlink()
    _edit(run_dir, "learning_rate: 0.01", "learning_rate: 0.05")
    restart.config_to_go_on_with(run_dir)
    assert (run_dir / restart.NAME).exists()


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_note_is_one_line(content, begun):
    (begun[0] / restart.NAME).write_text(content)
    with pytest.raises(UserError, match="began.json: .*remove it, and nothing is compared"):
        restart.config_to_go_on_with(begun[0])


def test_a_run_without_a_checkpoint_begins_anew_with_its_configuration(begun, monkeypatch, capsys):
    run_dir, data = begun
    monkeypatch.setattr(training, "train", lambda config, folder, extra_callbacks: (config, folder))
    config, folder = training.resume(run_dir)
    assert folder == run_dir and config.data.train.images == str(data / "train")
    assert "stopped before its first checkpoint; begins anew with its config.yaml" in capsys.readouterr().out


def test_the_command_hands_over_where_the_data_lies(begun, run, monkeypatch):
    given = {}
    monkeypatch.setattr(training, "resume", lambda folder, **options: given.update(options, folder=folder) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("train", "--resume", begun[0], "--data", begun[1], "--accept-changes")
    assert given == {"folder": str(begun[0]), "data_dir": [str(begun[1])], "overrides": [], "accept_changes": True}


def test_accepting_changes_is_for_a_run_that_goes_on(run):
    code, _, error = run("train", "tiny", "--accept-changes")
    assert code == 2 and "--accept-changes goes with --resume" in error and error.count("\n") == 1
