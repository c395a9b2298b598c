"""The RPN alone: through `keras_fpn.RPN`, and through the commands, where it is a configuration like any other."""

import csv
import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.commands import main as cli
from keras_fpn.config import building
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.metrics import PROPOSALS
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.training import named_files, run_folder, training


@pytest.fixture(scope="module")
def settings(tiny_settings):
    return {key: value for key, value in tiny_settings().items() if key in (*ARCHITECTURES["rpn"].groups, "seed")}


@pytest.fixture(scope="module")
def rpn(settings, tiny_model):
    """An RPN with the weights of the tiny Faster R-CNN. Shared: do not train it."""
    model = keras_fpn.RPN(**settings)
    for part in ("backbone", "pyramid", "rpn_head"):
        getattr(model, part).set_weights(getattr(tiny_model, part).get_weights())
    return model


def test_detections_are_the_proposals_of_a_detector_with_its_weights(rpn, tiny_model, tiny_batch):
    inputs, _ = tiny_batch
    found = rpn.predict(inputs, verbose=0)
    expected = tiny_model.inference(inputs)["proposals"]
    assert sorted(found) == ["boxes", "num_detections", "scores"] and found["num_detections"].dtype == np.int32
    np.testing.assert_array_equal(found["num_detections"], expected["num_proposals"])
    np.testing.assert_allclose(found["boxes"], expected["boxes"], atol=1e-3)
    for index, count in enumerate(found["num_detections"]):
        logits = expected["scores"][index, :count].numpy()
        np.testing.assert_allclose(found["scores"][index, :count], 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_what_is_padded_is_zero(settings, tiny_batch):
    few = settings | {"proposals": {"pre_nms_top_k_test": 2, "post_nms_top_k_test": 50}}
    found = keras_fpn.RPN(**few).predict(tiny_batch[0], verbose=0)
    assert found["boxes"].shape == (2, 50, 4) and (found["num_detections"] <= 10).all()  # two of each of five levels
    for boxes, scores, count in zip(found["boxes"], found["scores"], found["num_detections"], strict=True):
        assert (scores[:count] > 0).all() and (np.diff(scores[:count]) <= 0).all()
        assert not scores[count:].any() and not boxes[count:].any()


def test_the_losses_are_those_of_a_detector_and_classes_do_not_matter(rpn, tiny_model, tiny_batch):
    inputs, targets = tiny_batch
    seed = tf.constant([5, 0], tf.int64)
    expected, _ = tiny_model.training_losses(inputs, targets, seed)
    losses, recalls = rpn.training_losses(inputs, targets, seed)
    assert list(losses) == ["rpn_objectness_loss", "rpn_box_loss"] and list(recalls) == ["rpn_recall"]
    others = targets | {"classes": np.where(targets["classes"] < 0, -1, 99)}
    again, _ = rpn.training_losses(inputs, others, seed)
    for name, value in losses.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)
        assert value == again[name]


def test_a_stage_that_it_lacks_is_refused(settings):
    with pytest.raises(UserError, match="box_head: rpn has no such stage; leave it out"):
        keras_fpn.RPN(**settings, box_head={"units": 8})


def test_a_file_from_another_process_is_known(rpn, tmp_path):
    rpn.save(tmp_path / "model.keras")
    code = "import sys, keras_fpn; print(type(keras_fpn.load_model(sys.argv[1])).__name__)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "model.keras"], capture_output=True, text=True)
    assert done.stdout == "RPN\n", done.stderr[-2000:]


def test_the_shipped_configuration_is_the_published_network():
    config = load_config("rpn_r50_fpn")
    model = building.build_model(config, None)
    # The shapes of detectron2's rpn_R_50_FPN: convolutions of the backbone, pyramid, head.
    sizes = [int(np.prod(weight.shape)) for weight in model.weights if "norm" not in weight.path]
    assert sum(sizes) == 23_454_912 + 3_344_384 + 593_935
    assert model.proposals.post_nms_top_k_test == 2000 and model.proposals.post_nms_top_k_train == 1000


def test_the_best_epoch_by_average_recall_is_kept(rpn, tmp_path):
    keep = run_folder.Checkpoints(tmp_path)
    keep.set_model(rpn)
    times, text = [], "epoch,val_proposals/AR1000\n"
    for epoch, recall in enumerate((0.1, 0.3, 0.2)):
        text += f"{epoch + 1},{recall}\n"
        (tmp_path / "results.csv").write_text(text)
        keep.on_epoch_end(epoch)
        times.append((tmp_path / "model.keras").stat().st_mtime_ns)
    assert times[0] < times[1] == times[2]


class CtrlC(keras.callbacks.Callback):
    """In the first epoch, after its third step."""

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 2:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def run_dir(shapes_folder, tmp_path_factory):
    """A run of the tiny configuration as an RPN, stopped in its first epoch and resumed to its end."""
    folder = tmp_path_factory.mktemp("runs") / "rpn"
    changes = ["model.architecture=rpn", "training.deterministic=false"]
    config = named_files.with_data(load_config("tiny", changes), shapes_folder)
    stopped = training.train(config, folder, extra_callbacks=[CtrlC()])
    assert (stopped.step, stopped.metrics) == (3, None)
    assert training.resume(folder).step == 8
    return folder


@pytest.mark.slow
def test_a_run_leaves_average_recall_and_pictures(run_dir):
    with (run_dir / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["step"]) for row in rows] == [4, 8]
    assert all(float(row["val_proposals/AR1000"]) >= 0 for row in rows) and "val_AP" not in rows[0]
    assert set(json.loads((run_dir / "metrics.json").read_text())) == set(PROPOSALS.metrics)
    results = json.loads((run_dir / "results.json").read_text())
    assert {(result["category_id"], result["category"]) for result in results} == {(0, "object")}
    assert all(0 < result["score"] < 1 for result in results)
    page = (run_dir / "report.html").read_text()
    assert "Region proposal network" in page and "<span>AR1000</span>" in page and "<span>AP</span>" not in page
    assert (run_dir / "val_detections.jpg").stat().st_size > 0


def _command(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


@pytest.mark.slow
def test_evaluate_detect_and_benchmark_take_it(run_dir, shapes_folder, tmp_path, capsys):
    told = _command(capsys, "evaluate", run_dir, "--metrics", tmp_path / "metrics.json", "--batch-size", 2)
    assert "AR1000s" in told and "AP50" not in told
    measured = json.loads((tmp_path / "metrics.json").read_text())
    assert measured == pytest.approx(json.loads((run_dir / "metrics.json").read_text()), abs=1e-6)
    told = _command(
        capsys, "detect", run_dir, shapes_folder / "val", "--out", tmp_path / "pictures", "--threshold", 0,
        "--json", tmp_path / "found.json",
    )  # fmt: skip
    assert "object" in told and len(list((tmp_path / "pictures").glob("[!.]*"))) == 6
    found = json.loads((tmp_path / "found.json").read_text())
    assert {result["category"] for result in found} == {"object"}
    told = _command(capsys, "benchmark", run_dir, "--size", "64x96", "--runs", 1, "--stages")
    assert "RPN, proposals" in told and "box head" not in told and "whole" in told


@pytest.mark.slow
def test_it_is_measured_on_annotations_of_any_classes(run_dir, shapes_folder, tmp_path, capsys):
    content = json.loads((shapes_folder / "annotations" / "instances_val.json").read_text())
    for category in content["categories"]:
        category["name"] += " of another kind"
    (tmp_path / "others.json").write_text(json.dumps(content))
    where = ("--annotations", tmp_path / "others.json", "--images", shapes_folder / "val")
    assert "proposals" in _command(capsys, "evaluate", run_dir, *where)
