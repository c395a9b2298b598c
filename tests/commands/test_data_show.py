"""`keras-fpn data show`: pictures of training batches, written beside what is there."""

import re

import pytest
from PIL import Image

from keras_fpn.data.formats import FORMATS, AnnotationFormat, Half

WORDS = ("data", "show")


def test_batches_and_files_are_drawn_and_nothing_is_overwritten(run, shapes_folder, tmp_path):
    code, printed, told = run(*WORDS, "tiny", "--data", shapes_folder, "--batches", 3)
    assert (code, told) == (0, "")
    assert "wrote show.jpg: as the network sees them; and show_files.jpg: as they are (12 pictures, 4" in printed
    # Three rows of two pictures of a cell, and lines.
    sizes = [Image.open(tmp_path / name).size for name in ("show.jpg", "show_files.jpg")]
    assert all(width == 2 * 640 + 3 * 14 and height > 3 * 640 for width, height in sizes)
    first = (tmp_path / "show.jpg").read_bytes()
    (tmp_path / "show-2_files.jpg").write_text("of somebody else")
    code, printed, told = run(*WORDS, "tiny", "--data", shapes_folder)
    assert code == 0 and "wrote show-3.jpg" in printed
    assert (tmp_path / "show.jpg").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "show-2_files.jpg", "show-3.jpg", "show-3_files.jpg", "show.jpg", "show_files.jpg",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_data_set_that_nothing_divides_is_shown_by_its_name(run, shapes_folder, tmp_path, monkeypatch):
    """By the settings of the default configuration, and others by --set; the same call draws the same picture."""

    class Named(AnnotationFormat):
        name, title, layout = "named", "Named", ""

        def find_named(self, name):
            known = Half(str(shapes_folder / "annotations" / "instances_val.json"), str(shapes_folder / "val"))
            return {"all": known} if name == "mine:shapes" else None

    monkeypatch.setitem(FORMATS._parts, "named", Named())
    smaller = ("--set", "size=128", "data.batch_size=3", "training.seed=1")
    for name in ("a.png", "b.png"):
        code, printed, _ = run(*WORDS, "mine:shapes", "--out", name, *smaller)
        assert code == 0 and f"and {name[0]}_files.png: as they are (6 pictures" in printed
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open("a.png").width == 3 * 640 + 4 * 14


@pytest.mark.slow
def test_a_picture_that_cannot_be_read_is_named(run, shapes_folder, tmp_path):
    import shutil

    shutil.copytree(shapes_folder, tmp_path / "coco")
    for path in (tmp_path / "coco" / "train").iterdir():
        path.write_bytes(b"no picture")
    code, _, told = run(*WORDS, "coco", "--set", "size=128")
    assert code == 2 and re.search(r"coco/train/0000\d\d.jpg: cannot be read", told)
    assert not (tmp_path / "show.jpg").exists()


@pytest.mark.slow
def test_pictures_that_are_rewritten_for_training_are_shown(run, shapes_folder, tmp_path):
    import shutil

    shutil.copytree(shapes_folder, tmp_path / "coco")
    for path in (tmp_path / "coco" / "train").iterdir():
        Image.open(path).save(path, format="TIFF")
    code, _, told = run(*WORDS, "coco", "--set", "size=128")
    assert code == 2 and "data.cache=true" in told
    code, _, told = run(*WORDS, "coco", "--set", "size=128", "data.cache=true")
    assert code == 0, told
    assert (tmp_path / "show.jpg").exists() and (tmp_path / "show_files.jpg").exists()
