"""File names in annotation files: found where their meaning is clear, and never outside the image folder."""

import json
import logging
import os
import socket
import time
import unicodedata

import pytest
from PIL import Image

from keras_fpn.console.errors import UserError
from keras_fpn.data import read_coco
from keras_fpn.data.image_files import find_images


@pytest.fixture
def read(tmp_path):
    """`read(*file names, there=...)`: where in a folder with pictures of `there` the records have their files."""
    folder = tmp_path / "pictures"

    def write_and_read(*names, there=(), width=20, height=10):
        folder.mkdir(exist_ok=True)
        for name in there:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 10)).save(folder / name, "PNG")
        images = [
            {"id": number, "file_name": name, "width": width, "height": height} for number, name in enumerate(names, 1)
        ]
        document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "one"}]}
        (tmp_path / "x.json").write_text(json.dumps(document))
        records = read_coco(tmp_path / "x.json", folder).records
        assert [record.file_name for record in records] == list(names)  # as the annotations have it
        return [os.path.relpath(record.path, folder) for record in records]

    return write_and_read


NFC, NFD = unicodedata.normalize("NFC", "caf\u00e9.jpg"), unicodedata.normalize("NFD", "caf\u00e9.jpg")


@pytest.mark.parametrize(
    ("name", "there", "warns"),
    [
        ("a.jpg", "a.jpg", False),
        ("./a.jpg", "a.jpg", False),
        ("sub//a.jpg", "sub/a.jpg", False),
        ("sub/../a.jpg", "a.jpg", False),
        ("..a.jpg", "..a.jpg", False),
        ("a..b/..c", "a..b/..c", False),
        ("sub\\a.jpg", "sub/a.jpg", False),
        ("one\\two/a.jpg", "one/two/a.jpg", False),
        (".\\sub\\a.jpg", "sub/a.jpg", False),
        ("sub\\a.jpg", "sub\\a.jpg", False),
        ("..\\a.jpg", "..\\a.jpg", False),  # one odd name in the folder itself
        ("a.jpg", "a.JPG", True),
        ("Sub/A.Jpg", "sub/a.jpg", True),
        ("SUB\\a.jpg", "sub/a.jpg", True),
        (NFC, NFD, True),
        (NFD, NFC, True),
        (NFC.upper(), NFD, True),
        ("my%20cat.jpg", "my cat.jpg", True),
        ("my cat.jpg", "my%20cat.jpg", True),
        ("caf%C3%A9.jpg", NFD, True),
        ("sub%2Fa.jpg", "sub/a.jpg", True),
        ("sub%5Ca.jpg", "sub/a.jpg", True),
        ("100%.jpg", "100%.jpg", False),
        ("my%20cat.jpg", "my%20cat.jpg", False),
    ],
)
def test_a_name_in_another_form_is_found(read, caplog, name, there, warns):
    assert read(name, there=[there]) == [there]
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == warns
    assert all("1 of 1 file names" in message and message.isprintable() for message in told)


def test_it_is_said_once_how_many_names_differ(read, caplog):
    there = [f"{number}.JPG" for number in range(9)]
    assert read(*(name.lower() for name in there), there=there) == there
    (record,) = caplog.records
    assert "9 of 9 file names were found under another spelling" in record.getMessage()
    assert "first '0.jpg' as '0.JPG'" in record.getMessage()


def test_the_exact_name_goes_first(read, caplog):
    assert read("a.jpg", "A.jpg", there=["a.jpg", "A.jpg", "a.JPG"]) == ["a.jpg", "A.jpg"]
    assert read("s\\a.jpg", there=["s\\a.jpg", "s/a.jpg"]) == ["s\\a.jpg"]
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "there"),
    [("a.jpg", ["A.jpg", "a.JPG"]), ("s/a.jpg", ["S/a.jpg", "s/A.jpg"]), ("a%20b.jpg", ["a b.jpg", "A b.jpg"]),
     ("\u00e9.jpg", ["e\u0301.jpg", "\u00c9.jpg"])],
)  # fmt: skip
def test_a_name_that_several_files_may_have_is_refused_with_them(read, name, there):
    with pytest.raises(UserError) as caught:
        read(name, there=there)
    message = str(caught.value)
    assert all(repr(each) in message for each in there) and "image 1" in message and "x.json" in message
    assert "could be meant; write the name as the disk has it" in message and "\n" not in message


def test_one_file_is_not_taken_for_two(read):
    with pytest.raises(UserError, match=r"image 2 has \"file_name\" 'a.jpg', which is not .*'A.jpg'.* of image 1; add"):
        read("A.jpg", "a.jpg", there=["A.jpg"])
    assert read("a.jpg", "a.jpg", there=["a.jpg"]) == ["a.jpg", "a.jpg"]  # two entries of one picture, as they say


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "/dev/zero", "../outside.jpg", "..", "sub/../../outside.jpg", "..\\outside.jpg",
     "sub\\..\\..\\outside.jpg", "C:\\data\\a.jpg", "c:/data/a.jpg", "\\\\server\\a.jpg", "\\a.jpg", "..%2Foutside.jpg",
     "%2e%2e/outside.jpg", "%2Fetc%2Fpasswd", "..%5Coutside.jpg", "//etc/passwd", "sub/..\\../outside.jpg"],
)  # fmt: skip
def test_a_name_that_leaves_the_folder_is_refused(read, tmp_path, name):
    Image.new("RGB", (20, 10)).save(tmp_path / "outside.jpg")
    with pytest.raises(UserError) as caught:
        read("in.jpg", name, there=["in.jpg"])
    message = str(caught.value)
    assert "x.json: image 2 has" in message and repr(name) in message and "\n" not in message
    assert "leads out of the image folder; a file_name stays inside the image folder and is a regular" in message


def _make_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may have about 100 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("name", "make", "told"),
    [
        ("odd", lambda path: os.mkfifo(path), "a FIFO"),
        ("odd", lambda path: path.mkdir(), "a folder"),
        ("odd", _make_socket, "a socket"),
        ("odd", lambda path: path.symlink_to("/dev/zero"), "a device"),
        ("odd", lambda path: path.symlink_to("nowhere"), "a link that leads nowhere"),
        ("odd", lambda path: path.symlink_to("."), "a folder"),
        ("odd", lambda path: path.symlink_to("odd"), "a link that leads nowhere"),
        (".", lambda path: None, "a folder"),
        ("odd/", lambda path: path.mkdir(), "a folder"),
        ("far/zero", lambda path: (path.parent / "far").symlink_to("/dev"), "a device"),
    ],
)
def test_only_regular_files_are_read(read, tmp_path, name, make, told):
    folder = tmp_path / "pictures"
    folder.mkdir()
    make(folder / "odd")
    with pytest.raises(UserError, match=rf"x\.json: image 1 has .*, which is {told}; a file_name stays inside"):
        read(name)


def test_a_file_of_an_odd_kind_is_not_taken_by_another_spelling(read, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    os.mkfifo(folder / "A.jpg")
    with pytest.raises(UserError, match="is not there"):
        read("a.jpg")


def test_links_to_regular_files_and_folders_elsewhere_are_fine(read, tmp_path):
    folder, far = tmp_path / "pictures", tmp_path / "far"
    folder.mkdir()
    far.mkdir()
    Image.new("RGB", (20, 10)).save(far / "b.jpg")
    (folder / "a.jpg").symlink_to(far / "b.jpg")
    (folder / "far").symlink_to(far)
    assert read("a.jpg", "far/b.jpg", "far\\b.jpg") == ["a.jpg", "far/b.jpg", "far/b.jpg"]


@pytest.mark.parametrize("name", ["new\nline.jpg", "esc\x1b[31m.jpg", "nul\x00.jpg", "nul\x00/a.jpg", "\ud800.jpg"])
def test_a_name_with_odd_characters_is_escaped(read, name):
    with pytest.raises(UserError, match="is not there") as caught:
        read(name, there=["a.jpg"])
    assert str(caught.value).isprintable()


def test_a_link_to_itself_is_no_folder(read, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "odd").symlink_to("odd")
    with pytest.raises(UserError, match="is not there"):
        read("odd/a.jpg")


def test_a_file_used_as_a_folder_is_not_there(read):
    with pytest.raises(UserError, match="is not there"):
        read("a.jpg/b.jpg", there=["a.jpg"])


def test_an_image_of_an_impossible_size_is_held_to_its_file_at_once(read):
    with pytest.raises(UserError, match=r"image 1 is said to have 2147483647 x 2147483647 .* a.png has 20 x 10; corr"):
        read("a.png", there=["a.png"], width=2147483647, height=2147483647)


def test_many_names_are_found_fast(tmp_path):
    for number in range(3000):
        (tmp_path / f"{number:06}.jpg").touch()
    for ending in ("jpg", "JPG"):
        entries = [{"id": number, "file_name": f"{number:06}.{ending}"} for number in range(3000)]
        began = time.monotonic()
        assert find_images("x.json", entries, tmp_path)[7] == str(tmp_path / "000007.jpg")
        assert time.monotonic() - began < 2
