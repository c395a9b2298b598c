"""Places that are written to: refused beforehand, and whole or not at all."""

import json

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
