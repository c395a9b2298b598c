"""One run, one process: who gets a folder, who is refused, and what becomes of a lock whose process is gone."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from keras_fpn.config.loading import load_config
from keras_fpn.console import processes
from keras_fpn.console.errors import UserError
from keras_fpn.training import lock, new_run

HOLD = """
import sys
from keras_fpn.training import lock
with lock.held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""
RACE = """
import sys, time
from keras_fpn.console.errors import UserError
from keras_fpn.training import lock
print("ready", flush=True)
sys.stdin.readline()
try:
    with lock.held(sys.argv[1]):
        print("got it", flush=True)
        sys.stdin.readline()
except UserError as error:
    print(error, flush=True)
"""


def _start(code, folder):
    arguments = [sys.executable, "-c", code, str(folder)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


@pytest.fixture
def other(tmp_path):
    """Another process that trains in `tmp_path`."""
    process = _start(HOLD, tmp_path)
    yield process
    process.kill()
    process.wait()


def _myself():
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": processes.start_of(os.getpid())}


def _write(folder, **owner):
    (folder / lock.NAME).write_text(json.dumps(_myself() | owner))


def test_a_second_process_is_refused_in_one_line(other, tmp_path):
    before = (tmp_path / lock.NAME).read_text()
    for enter in (lambda: lock.held(tmp_path), lambda: new_run.new_run_folder(tmp_path, None)):
        message = f"process {other.pid} trains there; wait .*kill {other.pid}"
        with pytest.raises(UserError, match=message) as told, enter():
            pass
        assert "\n" not in str(told.value)
    assert (tmp_path / lock.NAME).read_text() == before  # the loser removes nothing
    assert [path.name for path in tmp_path.iterdir()] == [lock.NAME]


def test_the_lock_of_a_killed_process_is_taken_over(other, tmp_path, capsys):
    other.send_signal(signal.SIGKILL)
    other.wait()
    with lock.held(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()
    assert f"of process {other.pid}, which is gone; taken over" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_later_process_of_the_same_number_is_not_mistaken(tmp_path):
    _write(tmp_path, pid=os.getppid(), started="long ago")
    with lock.held(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_of_another_machine_nobody_can_tell(tmp_path):
    _write(tmp_path, host="elsewhere", pid=7)
    with pytest.raises(UserError, match="process 7 on elsewhere trains there; .*if it is gone, remove .*run.lock"):
        lock.refuse_if_held(tmp_path)
    with pytest.raises(UserError, match="on elsewhere"), lock.held(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_lock_is_taken_over(content, tmp_path):
    (tmp_path / lock.NAME).write_text(content)
    with lock.held(tmp_path):
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("stale", [False, True])
def test_of_several_at_once_exactly_one_gets_it(stale, tmp_path):
    if stale:
        _write(tmp_path, started="long ago")
    racers = [_start(RACE, tmp_path) for _ in range(5)]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    lines = [racer.stdout.readline().strip() for racer in racers]
    lines = [racer.stdout.readline().strip() if "taken over" in line else line
             for line, racer in zip(lines, racers, strict=True)]  # fmt: skip
    for racer in racers:
        racer.communicate("end\n", timeout=20)
    assert lines.count("got it") == 1 and sum("trains there" in line for line in lines) == 4, lines
    assert not list(tmp_path.iterdir())


def test_without_hard_links(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "link")
    with lock.held(tmp_path):
        with pytest.raises(UserError, match="trains there"):
            _in_a_thread(lambda: lock.held(tmp_path))
        assert json.loads((tmp_path / lock.NAME).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def _in_a_thread(make):
    """Enter a context in another thread, and raise what it raised."""
    raised = []

    def enter():
        try:
            with make():
                pass
        except UserError as error:
            raised.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    for error in raised:
        raise error


def test_the_parts_of_a_run_enter_it_again_and_other_threads_do_not(tmp_path):
    with lock.held(tmp_path):
        with lock.held(tmp_path):
            pass
        assert (tmp_path / lock.NAME).exists()
        with pytest.raises(UserError, match=f"process {os.getpid()} trains there"):
            _in_a_thread(lambda: lock.held(tmp_path))
    _in_a_thread(lambda: lock.held(tmp_path))
    assert not list(tmp_path.iterdir())


def test_any_end_gives_the_folder_back(tmp_path):
    for error in (UserError("bad"), KeyboardInterrupt()):
        with pytest.raises(type(error)), lock.held(tmp_path):
            raise error
        assert not list(tmp_path.iterdir())


def test_what_dead_processes_left_half_written_is_cleared(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".last.{dead.pid}.tmp.keras").touch()
    (tmp_path / f".metrics.json.{dead.pid}.unfinished").mkdir()
    (tmp_path / f".results.{os.getpid()}.tmp.csv").touch()  # of an earlier process of this number
    (tmp_path / f".report.{os.getppid()}.tmp.html").touch()  # of one that is writing now
    (tmp_path / ".mine.tmp").touch()
    with lock.held(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {f".report.{os.getppid()}.tmp.html", ".mine.tmp"}


# A folder whose run was killed before its first checkpoint.


def _begun(folder):
    folder.mkdir()
    (folder / "config.yaml").write_text(load_config("tiny").to_yaml())
    (folder / "train_batch.jpg").touch()
    (folder / ".train_batch.999999999.tmp.jpg").touch()  # killed while it wrote the picture
    (folder / "began.json").touch()
    (folder / "logs" / "train").mkdir(parents=True)
    _write(folder, started="long ago")
    return folder


def test_a_run_killed_before_its_first_checkpoint_may_begin_anew(tmp_path, capsys):
    folder = _begun(tmp_path / "run")
    with new_run.new_run_folder(folder, "tiny"):
        assert [path.name for path in folder.iterdir()] == [lock.NAME]
    assert "stopped before its first checkpoint; it begins anew" in capsys.readouterr().out


def test_so_may_a_four_step_run(tmp_path):
    folder = _begun(tmp_path / "run")
    (folder / "four_step.json").write_text('{"last": 4}')
    _begun(folder / "1_rpn")
    with new_run.new_run_folder(folder, "tiny"):
        assert [path.name for path in folder.iterdir()] == [lock.NAME]


@pytest.mark.parametrize("name", ["last.keras", "previous.keras", "model.keras", "notes.txt", "logs.zip"])
def test_a_folder_with_more_in_it_is_left_alone(name, tmp_path):
    folder = _begun(tmp_path / "run")
    (folder / name).touch()
    new = new_run.new_run_folder(folder, "tiny")
    with pytest.raises(UserError, match="exists already; choose another --out"), new:
        pass
    assert (folder / name).exists() and (folder / "logs" / "train").exists()


def test_a_configuration_written_by_hand_and_logs_of_others_are_left_alone(tmp_path):
    by_hand, logs = tmp_path / "by_hand", tmp_path / "others"
    (logs / "logs").mkdir(parents=True)
    by_hand.mkdir()
    (by_hand / "config.yaml").write_text("# mine\nmodel: {profile: torchvision}\n")
    for folder in (by_hand, logs):
        with pytest.raises(UserError, match="exists already"), new_run.new_run_folder(folder, "tiny"):
            pass
        assert len(list(folder.iterdir())) == 1
