"""Places that are written to: refused beforehand, and whole or not at all."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from keras_fpn.console import files
from keras_fpn.console.errors import UserError


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    files.check_output(tmp_path / "new" / "a.json")
    files.check_output(tmp_path / "file")
    for path, folder, message in (
        (tmp_path, False, "is a folder; give the name of a file"),
        (tmp_path / "file", True, "is a file; give the name of a folder"),
        (tmp_path / "file" / "a.json", False, "file is a file; choose another"),
    ):
        with pytest.raises(UserError, match=message):
            files.check_output(path, folder=folder)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    files.write_json(tmp_path / "a.json", [1])
    monkeypatch.setattr(files.Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        files.write_json(tmp_path / "a.json", [2])
    assert json.loads((tmp_path / "a.json").read_text()) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.fixture
def order(monkeypatch):
    """Names of what is brought to the disk and of what is renamed, in order."""
    calls, fsync, replace = [], files.os.fsync, files.os.replace

    def note_fsync(handle):
        calls.append(("fsync", files.os.path.basename(files.os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def note_replace(source, target, **options):
        calls.append(("replace", files.os.path.basename(target)))
        replace(source, target, **options)

    monkeypatch.setattr(files.os, "fsync", note_fsync)
    monkeypatch.setattr(files.os, "replace", note_replace)
    return calls


def test_a_file_is_on_the_disk_before_it_has_its_name(order, tmp_path):
    files.write_text(tmp_path / "a.json", "1")
    assert order == [("fsync", f".a.{files.os.getpid()}.tmp.json"), ("replace", "a.json"), ("fsync", tmp_path.name)]


def test_so_is_a_folder_with_all_in_it(order, tmp_path):
    with files.built_aside(tmp_path / "folder") as aside:
        (aside / "inner").mkdir(parents=True)
        (aside / "inner" / "a").write_text("1")
    place = order.index(("replace", "folder"))
    assert {name for kind, name in order[:place]} >= {"folder", "inner", "a"}
    assert order[place + 1 :] == [("fsync", tmp_path.name)]


def test_the_older_file_keeps_another_name(order, tmp_path):
    path, older = tmp_path / "a.txt", tmp_path / "b.txt"
    for number in "123":
        temporary = files.temporary_name(path)
        with files.whole_or_not_at_all(path, temporary, older):
            temporary.write_text(number)
    assert (path.read_text(), older.read_text()) == ("3", "2")
    assert order[-4:] == [
        ("fsync", files.temporary_name(path).name),
        ("replace", "b.txt"), ("replace", "a.txt"), ("fsync", tmp_path.name),
    ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 2


def test_the_older_file_without_hard_links(monkeypatch, tmp_path):
    monkeypatch.delattr(files.os, "link")
    path, older = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("1")
    with files.whole_or_not_at_all(path, files.temporary_name(path), older):
        files.temporary_name(path).write_text("2")
    assert (path.read_text(), older.read_text()) == ("2", "1")


def test_a_write_that_fails_leaves_both_files(tmp_path):
    path, older = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("2")
    older.write_text("1")
    with pytest.raises(OSError, match="No space left"), files.whole_or_not_at_all(path, tmp_path / "t", older):
        (tmp_path / "t").write_text("3")
        raise OSError(28, "No space left on device")
    assert (path.read_text(), older.read_text()) == ("2", "1") and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("number", [os.getpid(), 999999999], ids=["of this number", "of another"])
def test_what_a_process_that_was_killed_left_is_no_obstacle_and_goes(number, tmp_path):
    for name in ("folder", "other"):
        (tmp_path / f".{name}.abc.{number}.unfinished" / name).mkdir(parents=True)
    with files.built_aside(tmp_path / "folder") as aside:
        aside.mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".other.abc.{number}.unfinished", "folder"]


def test_containers_whose_processes_all_have_one_number_do_not_meet(tmp_path):
    """Another process, alive, that writes the same place under our number: the second is the one that stays."""
    code = """
        import os, sys
        from keras_fpn.console import files
        os.getpid = lambda: 1
        with files.built_aside(sys.argv[1]) as aside:
            aside.mkdir()
            (aside / "theirs").touch()
            print("begun", flush=True)
            input()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "folder")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "begun\n"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files.os, "getpid", lambda: 1)
            with files.built_aside(tmp_path / "folder") as aside:
                aside.mkdir()
                (aside / "ours").touch()
        assert [path.name for path in (tmp_path / "folder").iterdir()] == ["ours"]
        other.communicate("\n")
    assert other.returncode == 0
    assert [path.name for path in tmp_path.glob("folder/*")] == ["theirs"] and len(list(tmp_path.iterdir())) == 1


def test_a_pipe_or_a_device_is_no_place_for_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(UserError, match="is a device or a pipe, which a file would replace"):
            files.check_output(place)
