"""Training in four steps: whose weights a step starts from, what stays frozen, what comes of it, how it goes on."""

import contextlib
import importlib
import io
import json
import os
import shutil
import signal

import keras
import numpy as np
import pytest

from keras_fpn.config import building
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data.proposal_files import read_proposals, write_proposals
from keras_fpn.data.shapes import write_shapes
from keras_fpn.evaluation import measuring
from keras_fpn.training import datasets, four_step, named_files, run_folder, training

SHORT = ["training.evaluate_every=0", "training.steps=2", "training.steps_per_epoch=2", "training.warmup_steps=0"]
FOLDERS = [step.folder for step in four_step.STEPS]


class Starts(keras.callbacks.Callback):
    """The weights that each run begins with, by part."""

    def __init__(self):
        super().__init__()
        self.parts = []

    def on_train_begin(self, logs=None):
        names = [name for name in ("backbone", "pyramid", "rpn_head", "box_head") if hasattr(self.model, name)]
        self.parts.append({name: getattr(self.model, name).get_weights() for name in names})


class CtrlC(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=4, num_val=2, size=64, seed=3)
    return folder


@pytest.fixture(scope="module")
def config(data):
    return named_files.with_data(load_config("tiny", SHORT), data)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The folder of an uninterrupted run, the weights that its steps began with, and what it printed."""
    folder, starts, printed = tmp_path_factory.mktemp("runs") / "whole", Starts(), io.StringIO()
    with contextlib.redirect_stdout(printed):
        outcome = four_step.run(config, folder, extra_callbacks=[starts])
    assert (outcome.step, outcome.total_steps) == (8, 8)
    return folder, starts.parts, printed.getvalue()


@pytest.fixture(scope="module")
def models(whole):
    """The models of the four steps, and the one made of them."""
    return [training.load_model(whole[0] / folder) for folder in FOLDERS], training.load_model(whole[0])


def _equal(some, others):
    return all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))


def _same_arrays(model, other):
    return _equal([variable.numpy() for variable in model.variables], [each.numpy() for each in other.variables])


@pytest.mark.slow
def test_the_first_two_steps_start_from_the_same_weights(whole):
    first, second = whole[1][:2]
    assert _equal(first["backbone"], second["backbone"]) and _equal(first["pyramid"], second["pyramid"])


@pytest.mark.slow
def test_the_last_two_steps_start_from_the_second(whole, models):
    (rpn, fast_rcnn, _, _), _ = models
    third, fourth = whole[1][2:]
    assert _equal(third["backbone"], fast_rcnn.backbone.get_weights())
    assert _equal(fourth["box_head"], fast_rcnn.box_head.get_weights())
    assert not _equal(third["rpn_head"], rpn.rpn_head.get_weights())  # anew: the detector network has none


@pytest.mark.slow
def test_backbone_and_pyramid_stay_those_of_the_second_step(whole, models):
    (_, fast_rcnn, rpn, last), assembled = models
    for part in four_step.SHARED:
        trained = getattr(fast_rcnn, part).get_weights()
        assert not _equal(whole[1][1][part], trained)
        for model in (rpn, last, assembled):
            assert _equal(getattr(model, part).get_weights(), trained)
    statistics = [each.numpy() for each in fast_rcnn.backbone.variables if "moving" in each.name]
    assert statistics and not all(np.isin(each, (0, 1)).all() for each in statistics)  # they did learn in step 2


@pytest.mark.slow
def test_what_is_not_shared_is_tuned(whole, models):
    (_, _, rpn, last), assembled = models
    assert not _equal(whole[1][2]["rpn_head"], rpn.rpn_head.get_weights())
    assert not _equal(whole[1][3]["box_head"], last.box_head.get_weights())
    assert _equal(assembled.rpn_head.get_weights(), rpn.rpn_head.get_weights())
    assert _equal(assembled.box_head.get_weights(), last.box_head.get_weights())
    assert assembled.frozen == () and tuple(rpn.frozen) == four_step.SHARED


@pytest.mark.slow
def test_the_whole_finds_what_its_last_step_finds_on_its_proposals(models, config):
    steps, assembled = models
    val_set = datasets.read_data(config)[1]
    for inputs, _ in measuring.evaluation_dataset(assembled, val_set, 2):
        found = assembled.inference(inputs)
        own, proposed = found["detections"], found["proposals"]
        given = inputs | {"proposals": proposed["boxes"], "num_proposals": proposed["num_proposals"]}
        again = steps[3](given)
        assert int(own["num_detections"].numpy().sum()) > 0
        for name, value in own.items():
            np.testing.assert_array_equal(again[name].numpy(), value.numpy(), err_msg=name)


@pytest.mark.slow
def test_each_step_says_where_it_is_and_is_a_run_of_its_own(whole):
    folder, _, printed = whole
    for line in (
        "step 1 of 4: region proposal network, from the initial weights",
        "step 1 of 4: region proposal network, its proposals of the training images",
        "step 2 of 4: Fast R-CNN on given proposals, from the initial weights",
        "step 3 of 4: region proposal network, on the features of 2_fast_rcnn, frozen",
        "step 4 of 4: Fast R-CNN on given proposals, on the features of 2_fast_rcnn, frozen",
    ):
        assert line in printed
    page = (folder / "report.html").read_text()
    for name in FOLDERS:
        assert (folder / name / "metrics.json").is_file() and f'<a href="{name}/report.html">{name}</a>' in page
    metrics = json.loads((folder / "metrics.json").read_text())
    assert {"AP", "proposals/AR1000"} <= set(metrics)
    assert [row["step"] for row in run_folder.read_results(folder / "results.csv")] == [2, 4, 6, 8]


@pytest.mark.slow
def test_the_folder_is_measured_like_that_of_any_run(whole, run, tmp_path):
    code, _, error = run("evaluate", whole[0], "--metrics", tmp_path / "metrics.json")
    assert code == 0, error
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads((whole[0] / "metrics.json").read_text())


def _copy_without(whole, folder, *names):
    """The folder as it was before these parts of it were made."""
    shutil.copytree(whole, folder)
    for name in (*names, "model.keras", "metrics.json", "results.json", "report.html", "results.csv"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.slow
def test_a_run_stopped_anywhere_ends_as_an_uninterrupted_one(whole, tmp_path, run, monkeypatch):
    """Stopped inside step 3 by Ctrl-C, and while its proposals are written by SIGTERM."""
    stopped = tmp_path / "stopped"
    _copy_without(whole[0], stopped, "3_rpn", "3_proposals")
    assert four_step.resume(stopped, extra_callbacks=[CtrlC()]).step == 5  # of step 3 the first of two
    assert not (stopped / "3_rpn" / "metrics.json").exists()

    def terminated(path, rows, *arguments):
        def some():
            yield next(rows)
            os.kill(os.getpid(), signal.SIGTERM)
            yield from rows

        return write_proposals(path, some() if path.name == "val" else rows, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(importlib.import_module("keras_fpn.inference.propose"), "write_proposals", terminated)
        code, printed, _ = run("train", "--resume", stopped)
    assert code == 130 and f"keras-fpn train --resume {stopped}" in printed
    assert "stopped in step 3 of 4: region proposal network" in printed
    assert [path.name for path in (stopped / "3_proposals").iterdir()] == ["train"]  # nothing half-written
    code, printed, error = run("train", "--resume", stopped)
    assert code == 0, error
    assert "step 2 of 4: Fast R-CNN on given proposals: done before" in printed
    for name in ("3_rpn/last.keras", "3_rpn/model.keras", "model.keras"):
        assert _same_arrays(*(training.load_model(folder / name) for folder in (whole[0], stopped)))
    for name in ("train", "val"):
        first, second = (read_proposals(folder / "3_proposals" / name) for folder in (whole[0], stopped))
        assert np.array_equal(first.words, second.words) and np.array_equal(first.scores, second.scores)
    assert (stopped / "metrics.json").read_text() == (whole[0] / "metrics.json").read_text()
    code, printed, _ = run("train", "--resume", stopped)
    assert code == 0 and "already finished, all 8 steps" in printed


@pytest.mark.slow
def test_a_folder_that_was_moved_goes_on_with_its_own_proposals(whole, tmp_path, monkeypatch):
    moved, gone_on = tmp_path / "moved", []
    _copy_without(whole[0], moved)
    (moved / "4_fast_rcnn" / "metrics.json").unlink()

    def resume(folder, extra_callbacks):
        gone_on.append((folder, load_config(folder / "config.yaml").data))
        return training.Outcome(folder, 1, 2)

    monkeypatch.setattr(training, "resume", resume)
    assert four_step.resume(moved).step == 7
    [(folder, data)] = gone_on
    assert folder == moved / "4_fast_rcnn"
    assert data.train.proposals == str(moved / "3_proposals" / "train")
    assert data.val.proposals == str(moved / "3_proposals" / "val")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", '"last" is None; write {"last": 4} into it'),
        ('{"last": 3}', '"last" is 3; write'),
        ("[4]", '"last" is None'),
        ("{", "four_step.json: not a whole JSON file"),
    ],
)
def test_a_damaged_note_of_the_steps_is_one_line(content, message, run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "four_step.json").write_text(content)
    code, _, error = run("train", "--resume", "run")
    assert code == 2 and error.count("\n") == 1 and message in error and "write" in error


@pytest.mark.slow
def test_two_steps_are_two_networks(whole, config, tmp_path):
    """Table 3: features not shared."""
    folder = tmp_path / "apart"
    _copy_without(whole[0], folder, "3_rpn", "3_proposals", "4_fast_rcnn", "four_step.json")
    (folder / "four_step.json").write_text('{"version": 1, "last": 2}')
    outcome = four_step.run(config, folder, last=2)
    assert outcome.metrics == json.loads((folder / "2_fast_rcnn" / "metrics.json").read_text())
    assert outcome.total_steps == 4 and not (folder / "model.keras").exists() and not (folder / "3_rpn").exists()
    page = (folder / "report.html").read_text()
    assert 'href="2_fast_rcnn/report.html"' in page and "3_rpn" not in page
    with pytest.raises(UserError, match="was begun to end after step 2, not 4"):
        four_step.run(config, folder)


@pytest.mark.slow
def test_networks_of_other_features_are_not_put_together(models):
    (rpn, fast_rcnn, _, _), assembled = models
    before = assembled.get_weights()
    with pytest.raises(UserError, match="backbone: the two networks do not share it"):
        four_step.assemble(assembled, rpn, fast_rcnn)
    assert _equal(assembled.get_weights(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.architecture=rpn"], "--four-step trains the two stages of a faster_rcnn in turn, and"),
        (["model.architecture=fast_rcnn"], "model.architecture is fast_rcnn"),
        (["data.val.proposals=given"], "--four-step makes proposals of its own"),
        (["data.canvas=[64, 64]", "data.scale_jitter=[0.5, 1]"], "set data.scale_jitter=null"),
        (["data.augment.mosaic.probability=0.5"], "cannot follow it; set data.augment.mosaic.probability=0"),
        (["training.freeze=[rpn_head]"], "training.freeze: 'rpn_head' is no part of every step"),
        (["four_step.rpn_steps=1", "training.warmup_steps=2"], "training.warmup_steps: 2 steps do not fit a run of 1"),
        (["four_step.rpn_milestones=[0.5, 0.4]"], "rpn_milestones must rise"),
    ],
)
def test_what_a_later_step_would_refuse_is_refused_at_once(settings, message, data, run, tmp_path):
    code, _, error = run("train", "tiny", "--four-step", "--data", data, "--out", "run", "--set", *SHORT, *settings)
    assert code == 2 and message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_proposals_in_the_configuration_are_refused():
    with pytest.raises(UserError, match="tiny: data.val.proposals: --four-step makes proposals of its own; leave"):
        four_step.check(load_config("tiny", ["data.val.proposals=given"]), "tiny")


def test_resume_takes_no_four_step(run):
    code, _, error = run("train", "--resume", "run", "--four-step")
    assert code == 2 and "--four-step does not go with --resume" in error


def test_the_rpn_has_a_length_of_its_own(config):
    tree = config.model_dump()
    tree["training"] |= {"epochs": 3, "steps": None, "milestones": [0.75]}
    tree["four_step"] = {"rpn_steps": 5, "rpn_milestones": [0.5]}
    config = type(config).model_validate(tree)
    runs = [four_step.step_config(config, step, "run").training for step in four_step.STEPS]
    assert [(one.steps, one.epochs, one.milestones) for one in runs] == [(5, None, [0.5]), (None, 3, [0.75])] * 2


C4 = [
    "model.pyramid.name=single_scale", "model.pyramid.levels=[C4]", "model.anchors.sizes={C4: [8, 16, 32, 48, 64]}",
    "model.roi_pooling.levels=[C4]", "model.roi_pooling.output_size=14", "model.box_head.name=conv5",
]  # fmt: skip


def test_a_single_scale_shares_the_backbone_up_to_c4(data):
    """Rows a: conv5 is the head's own."""
    config = named_files.with_data(load_config("tiny", C4), data)
    train_set = datasets.read_data(config)[0]
    rpn, fast_rcnn = (
        building.build_model(four_step.step_config(config, step, "run"), train_set) for step in four_step.STEPS[2:]
    )
    rpn.backbone.set_weights(fast_rcnn.backbone.get_weights())
    whole = building.build_model(config, train_set)
    four_step.assemble(whole, rpn, fast_rcnn)
    names = {layer.name for layer in whole.backbone.layers}
    assert any(name.startswith("res4") for name in names) and not any(name.startswith("res5") for name in names)
    fast_rcnn.freeze(four_step.SHARED)
    trained = {variable.path for variable in fast_rcnn.trainable_variables}
    assert any("res5" in path for path in trained) and not any("res4" in path for path in trained)
    assert _equal(whole.box_head.get_weights(), fast_rcnn.box_head.get_weights())


def test_frozen_parts_stay_frozen_in_a_file(tiny_settings, tmp_path):
    """The optimizer of last.keras holds what was trained, and nothing else."""
    from keras_fpn import FasterRCNN

    model = FasterRCNN(**tiny_settings())
    everything = len(model.trainable_variables)
    model.freeze(["backbone", "pyramid"])
    model.compile()
    model.save(tmp_path / "model.keras")
    again = training.load_model(tmp_path / "model.keras")
    assert again.frozen == ("backbone", "pyramid") and len(again.trainable_variables) < everything
    assert len(again.optimizer.variables) == len(model.optimizer.variables)


def test_a_frozen_part_that_is_not_there_or_is_all_there_is(config, tmp_path):
    tree = config.model_dump()
    everything = ["backbone", "pyramid", "rpn_head"]
    for parts, message in ((["box_heat"], "'box_heat' is no part of"), (everything, "leave one")):
        tree["training"]["freeze"] = parts
        tree["model"] = config.model.as_architecture("rpn").model_dump()
        with pytest.raises(UserError, match=f"training.freeze: .*{message}"):
            training.train(type(config).model_validate(tree), tmp_path / "run")
    assert not (tmp_path / "run").exists()
