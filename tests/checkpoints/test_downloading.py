"""Downloads from a server on loopback: whole, in parts, wrong ones, and none."""

import hashlib
import os
import re
import subprocess
import sys
import types

import pytest

from keras_fpn.checkpoints import downloading
from keras_fpn.checkpoints.published_files import Digest
from keras_fpn.console.errors import UserError

PAGE = b"<!DOCTYPE html><title>Sign in to the network</title>"
CONTENT = b"".join(hashlib.sha256(bytes([number % 256, number // 256])).digest() for number in range(46_875))  # 1.5 MB


@pytest.fixture
def server(file_server):
    file_server.content = CONTENT
    file_server.url += f"/models/file-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
    return file_server


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file.pth"


def download(server, file):
    downloading.download(server.url, file, Digest("sha256", hashlib.sha256(CONTENT).hexdigest()[:8]))


def refused(server, file):
    with pytest.raises(UserError) as caught:
        download(server, file)
    assert not file.exists() and "\n" not in str(caught.value) and str(caught.value).startswith(server.url)
    return str(caught.value)


def begins(server):
    return [begin for _, begin in server.asked]


def test_a_file_comes_whole_and_under_its_name(server, file, capsys):
    download(server, file)
    assert file.read_bytes() == CONTENT
    assert os.listdir(file.parent) == ["file.pth"] and begins(server) == [None]
    assert capsys.readouterr().out.startswith("download: 2 MB in ")  # 1.5, rounded


def test_a_broken_connection_is_gone_on_with_in_the_same_call(server, file):
    server.cuts = [400_000, 300_000]
    download(server, file)
    assert file.read_bytes() == CONTENT and begins(server) == [None, 400_000, 700_000]


def test_after_too_many_breaks_the_next_call_goes_on(server, file):
    server.cuts = [400_000, 0, 0]
    said = refused(server, file)
    assert "the connection broke after 0.4 of 1.5 MB; 0.4 MB are kept, and the same command goes on" in said
    assert downloading.part_of(file).read_bytes() == CONTENT[:400_000]
    server.asked.clear()
    download(server, file)
    assert file.read_bytes() == CONTENT and begins(server) == [400_000]


def test_a_stop_keeps_what_came(server, file, monkeypatch, capsys):
    answers = [CONTENT[:400_000], KeyboardInterrupt()]

    def read(_):
        answer = answers.pop(0)
        if isinstance(answer, KeyboardInterrupt):
            raise answer
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(downloading, "_read", read)
        with pytest.raises(KeyboardInterrupt):
            download(server, file)
    assert capsys.readouterr().out == "0.4 MB are kept, and the same command goes on\n"
    download(server, file)
    assert capsys.readouterr().out.startswith("0.4 MB are here from an earlier call; going on from there\n")
    assert file.read_bytes() == CONTENT and begins(server) == [None, 400_000]


def test_without_ranges_it_begins_anew(server, file):
    server.ranges = False
    downloading.part_of(file).write_bytes(CONTENT[:400_000])
    download(server, file)
    assert file.read_bytes() == CONTENT and begins(server) == [400_000]


def test_another_range_than_was_asked_for_is_not_taken(server, file):
    server.shift = 7
    downloading.part_of(file).write_bytes(CONTENT[:400_000])
    download(server, file)
    assert file.read_bytes() == CONTENT and begins(server) == [400_000, None]


def test_a_server_that_gives_parts_unasked_is_told(server, file):
    server.unasked = True
    assert "the server answers with another part of the file than was asked for; try again" in refused(server, file)
    assert len(server.asked) == 2 * 3  # each attempt asks for all of it once more


def test_a_part_that_is_the_whole_file_needs_nothing_more(server, file):
    downloading.part_of(file).write_bytes(CONTENT)
    download(server, file)
    assert file.read_bytes() == CONTENT and begins(server) == [len(CONTENT)]  # answered by 416


@pytest.mark.parametrize("part", [b"\0" * 400_000, CONTENT + b"more"])
def test_a_damaged_part_is_thrown_away_and_all_of_it_comes(server, file, part):
    downloading.part_of(file).write_bytes(part)
    download(server, file)
    assert file.read_bytes() == CONTENT and begins(server) == [len(part), None]


def test_another_file_is_deleted(server, file):
    server.content = CONTENT[:-1] + b"\0"
    found, digits = (hashlib.sha256(content).hexdigest()[:8] for content in (server.content, CONTENT))
    said = refused(server, file)
    assert f"is not the published file (SHA-256 {found}..., not SHA-256 {digits}...) and was deleted" in said
    assert os.listdir(file.parent) == []


def test_a_file_that_is_not_there_is_told_at_once(server, file):
    server.codes = [404]
    said = refused(server, file)
    assert "the server answers HTTP 404 Not Found" in said and str(file) in said
    assert len(server.asked) == 1


def test_a_server_that_is_busy_is_asked_again(server, file):
    server.codes = [503, 429]
    download(server, file)
    assert file.read_bytes() == CONTENT
    file.unlink()
    server.codes = [503, 503, 503]
    assert "HTTP 503 Service Unavailable; try again later" in refused(server, file)


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_page_of_a_proxy_is_told_and_does_not_replace_what_came(server, file, kind):
    downloading.part_of(file).write_bytes(CONTENT[:400_000])
    server.content, server.type, server.ranges = PAGE, kind, False
    assert "the answer is a web page and not the file" in refused(server, file)
    assert downloading.part_of(file).read_bytes() == CONTENT[:400_000]


def test_no_network_is_told_at_once(server, file):
    server.url = "http://127.0.0.1:1/file.pth"  # nobody listens
    said = refused(server, file)
    assert re.search(r": cannot be reached \(.*[Rr]efused.*\); with a network try again, or download the file ", said)
    assert said.endswith(f"put it at {file}")


def test_too_little_room_is_told_before_anything_comes(server, file, monkeypatch):
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1_000_000))
    with pytest.raises(UserError, match=r"2 MB are to come, and its disk has 1 MB left; make room, or set KERAS_FPN_H"):
        download(server, file)
    assert os.listdir(file.parent) == []


def test_a_disk_that_fills_up_names_the_file_and_keeps_what_came(server, file):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
    try:
        with pytest.raises(OSError, match=re.escape(str(downloading.part_of(file)))):
            download(server, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert CONTENT.startswith(downloading.part_of(file).read_bytes())
    download(server, file)
    assert file.read_bytes() == CONTENT


def test_no_framework_is_imported():
    code = "import sys, keras_fpn.checkpoints.downloading, keras_fpn.checkpoints.weights_file\n"
    code += "print({'tensorflow', 'keras', 'numpy'} & set(sys.modules) or '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
