"""Ctrl-C, SIGTERM and SIGHUP: where they end a run, and what is told of it."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from keras_fpn.config.loading import load_config
from keras_fpn.console import signals
from keras_fpn.data.shapes import write_shapes
from keras_fpn.training import callbacks, named_files, new_run, run_folder, stopping, training

ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class FakeModel:
    stop_training = False


@pytest.fixture
def stop():
    stop = stopping.StopOnSignal()
    stop.set_params({"steps": 4})
    stop.set_model(FakeModel())
    before = {number: signal.getsignal(number) for number in ALL}
    stop.on_train_begin()
    yield stop
    stop.on_train_end()
    assert {number: signal.getsignal(number) for number in ALL} == before


@pytest.mark.parametrize("number", ALL)
def test_a_signal_within_a_step_waits_for_its_end(number, stop, capsys):
    stop.on_epoch_begin(0)
    os.kill(os.getpid(), number)
    assert stop.asked and "stopping after this step" in capsys.readouterr().out
    with pytest.raises(stopping.Interrupted):
        stop.on_train_batch_end(1)


@pytest.mark.parametrize("number", ALL)
def test_a_signal_during_an_evaluation_ends_it_there_and_then(number, stop):
    stop.nothing_is_at_hand()
    with pytest.raises(stopping.Interrupted):
        os.kill(os.getpid(), number)


def test_a_signal_in_the_last_step_of_an_epoch_ends_the_run_before_the_evaluation(stop):
    os.kill(os.getpid(), signal.SIGTERM)
    stop.on_train_batch_end(3)
    with pytest.raises(stopping.Interrupted):  # row and checkpoint are written by then
        stop.nothing_is_at_hand()


def test_after_the_evaluation_steps_are_waited_for_again(stop):
    stop.nothing_is_at_hand()
    stop.on_epoch_begin(1)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.asked


def test_a_terminal_that_is_gone_is_no_obstacle(stop, monkeypatch):
    def gone(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("builtins.print", gone)
    os.kill(os.getpid(), signal.SIGHUP)
    assert stop.asked


def test_a_hang_up_that_is_ignored_stays_so():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.sigterm_as_ctrl_c():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signals.requests_to_end() == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_hang_up_there_are_the_others(stop, monkeypatch):
    """As on Windows."""
    monkeypatch.delattr(signal, "SIGHUP")
    assert signals.requests_to_end() == [signal.SIGTERM]
    with pytest.raises(KeyboardInterrupt), signals.sigterm_as_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)


IMPORTING = """
import time
from keras_fpn.console.screen import quiet_stderr
from keras_fpn.console.signals import ends_at_once
with ends_at_once("stopped", 130), quiet_stderr():
    print("importing", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass  # as a library may
"""


@pytest.mark.parametrize("number", ALL)
def test_while_libraries_are_imported_a_signal_is_one_line(number):
    arguments = [sys.executable, "-c", IMPORTING]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (130, "stopped\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=4, num_val=2, size=64)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1, 4, 9])
def test_an_early_ctrl_c_is_one_line_and_leaves_no_folder(seconds, data, tmp_path):
    """While TensorFlow is imported, while data are read, while the graph is traced: the last may end after one step."""
    arguments = [sys.executable, "-m", "keras_fpn", "train", "tiny", "--data", data, "--out", tmp_path / "run"]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    process = subprocess.Popen(
        [*map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    printed, error = process.communicate(timeout=120)
    assert process.returncode == 130 and "Traceback" not in printed + error
    if "stopped at step" in printed:
        assert "stopped" not in error and new_run.has_checkpoint(tmp_path / "run")
    else:
        assert error.splitlines()[-1] == "stopped" and not (tmp_path / "run").exists()


SHORT = ["training.deterministic=false", "training.steps=4", "training.steps_per_epoch=2", "training.warmup_steps=0"]


@pytest.mark.slow
def test_a_run_that_is_told_to_end_while_it_evaluates_owes_that_evaluation(data, tmp_path, monkeypatch, capsys):
    config = named_files.with_data(load_config("tiny", SHORT), data)
    monkeypatch.setattr(training, "finish", lambda *_: {"AP": 0.5})
    with monkeypatch.context() as patched:
        patched.setattr(callbacks.COCOEvaluation, "measure", lambda _: os.kill(os.getpid(), signal.SIGTERM))
        outcome = training.train(config, tmp_path / "run")
    assert (outcome.step, outcome.metrics) == (2, None)
    assert int(training.load_model(tmp_path / "run" / "last.keras").optimizer.iterations) == 2
    assert not (tmp_path / "run" / "model.keras").exists()
    outcome = training.resume(tmp_path / "run")
    assert outcome.step == 4 and outcome.metrics is not None
    rows = run_folder.read_results(tmp_path / "run" / "results.csv", run_folder.FACTS)
    assert [(row["step"], row["steps"], "val_AP" in row) for row in rows] == [(2, 2, True), (4, 2, True)]

    # The newest checkpoint is damaged: the second epoch comes again.
    os.truncate(tmp_path / "run" / "last.keras", 1000)
    capsys.readouterr()
    assert training.resume(tmp_path / "run").step == 4
    printed = capsys.readouterr().out
    assert "last.keras: is damaged; going on from previous.keras" in printed and "at step 2 of 4" in printed
    assert len(run_folder.read_results(tmp_path / "run" / "results.csv")) == 2


KILLED = """
    import os, signal, sys
    from keras_fpn.commands import main as cli
    from keras_fpn.training import callbacks

    callbacks.COCOEvaluation.measure = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    cli.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_evaluates_loses_no_step(data, tmp_path, run):
    arguments = ["train", "tiny", "--data", data, "--out", tmp_path / "run", "--set", *SHORT]
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "run.lock").exists()
    code, printed, error = run("train", "--resume", tmp_path / "run")
    assert code == 0, error
    assert "at step 2 of 4" in printed and "epoch 1/2: its evaluation, before which the run was stopped" in printed
    rows = run_folder.read_results(tmp_path / "run" / "results.csv", run_folder.FACTS)
    assert [(row["step"], row["steps"], "val_AP" in row) for row in rows] == [(2, 2, True), (4, 2, True)]
    assert not (tmp_path / "run" / "run.lock").exists()
