"""`keras-fpn data check`: its lines, its exit codes, its page, its JSON, and what it mends."""

import base64
import html
import io
import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(shapes_folder, tmp_path):
    """The embedded data set, to be broken: the first annotation has no width, another lies outside."""
    folder = tmp_path / "data"
    shutil.copytree(shapes_folder, folder)
    (file,) = (folder / "annotations").glob("instances_train*.json")
    document = json.loads(file.read_text())
    document["annotations"][0]["bbox"][2] = 0
    document["annotations"][1]["bbox"] = [120, 10, 30, 40]
    document["annotations"].append({**document["annotations"][5], "id": 99_999})
    document["categories"][0]["name"] = "<b>circle"
    file.write_text(json.dumps(document))
    return folder


def _pictures(page):
    """The JPEG pictures of a page, by their captions."""
    found = re.findall(r'<img alt="([^"]*)"[^>]*src="data:image/jpeg;base64,([^"]*)"', page)
    return [(caption, Image.open(io.BytesIO(base64.b64decode(data)))) for caption, data in found]


def test_a_sound_data_set(run, shapes_folder, tmp_path):
    code, out, err = run("data", "check", shapes_folder, "--config", "shapes")
    assert (code, err) == (0, "")
    assert out.startswith("0 errors, ") and out.endswith("page: data_report.html\n")
    page = (tmp_path / "data_report.html").read_text()
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|command</td>.*', "", page) and page.count("<svg") == 5


def test_a_broken_data_set(run, folder, tmp_path):
    code, out, err = run(
        "data", "check", folder, "--config", "shapes", "--out", "page.html", "--json", "found.json"
    )
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert re.match(r"3 errors, \d warnings?, \d notes? in 18 images and \d+ objects \(train, val\)$", lines[0])
    assert "error (train): 1 box without width or height; correct x, y, width, height, or leave such boxes out" in lines
    assert "error (val): 1 half with classes that training has not: circle; give both one list" in out
    found = json.loads((tmp_path / "found.json").read_text())
    kinds = [finding["kind"] for finding in found["findings"]]
    assert {"box_empty", "box_outside", "duplicate_box", "categories_differ"} <= set(kinds)
    severities = [finding["severity"] for finding in found["findings"]]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    outside = found["findings"][kinds.index("box_outside")]
    assert outside["count"] == 1 and outside["examples"][0]["box"] == [120, 10, 30, 40]
    assert set(found["halves"]["train"]["histograms"]) >= {"object_sides", "aspect_ratios", "resized_object_sides"}
    assert found["anchors"]["train"]["objects"] == sum(found["levels"]["train"].values())
    page = (tmp_path / "page.html").read_text()
    for finding in found["findings"]:
        assert html.escape(finding["words"], quote=False) in page.replace("&#34;", '"')
    assert "<b>circle" not in page
    assert page.index("box without width") < page.index("box with the image, class and numbers")


def test_the_page_shows_the_offenders(run, folder, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    run("data", "check", folder, "--config", "shapes", "--out", "page.html")
    page = (tmp_path / "page.html").read_text()
    part = page[page.index('id="finding-') :]
    section = next(each for each in part.split('<div class="finding"') if "1 box outside the image" in each)
    ((caption, picture),) = _pictures(section)
    assert caption.startswith("train/") and "120, 10, 30, 40" in section
    # The box lies right of the picture, in a grey frame: its red line is where it belongs.
    pixels = np.asarray(picture).astype(int)
    factor = picture.size[1] / 96
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 110) & (pixels[..., 2] < 110)
    assert picture.size[0] > 1.2 * picture.size[1] and red[:, round(115 * factor) :].sum() > 100
    frame = pixels[round(70 * factor) :, round(110 * factor) :]
    assert np.abs(frame - 150).max() < 12


def test_a_page_can_show_whatever_a_file_says(run, folder, tmp_path):
    (file,) = (folder / "annotations").glob("instances_train*.json")
    (images,) = folder.glob("train*")
    document = json.loads(file.read_text())
    document["categories"][1]["name"] = "sq\ud800uare"
    document["annotations"][2]["bbox"] = [1, 10**400, 5, 5]
    file.write_text(json.dumps(document))
    os.mkfifo(images / "unlisted.jpg")
    (images / "folder.jpg").mkdir()
    code, out, err = run("data", "check", file, "--images", images, "--config", "shapes", "--out", "page.html")
    assert (code, err) == (1, "") and "no entry names" not in out and "in another form" not in out
    page = (tmp_path / "page.html").read_text()
    assert r"sq\ud800uare" in page and "1, 1e+400, 5, 5" in page


def test_annotations_are_mended(run, folder, tmp_path):
    (file,) = (folder / "annotations").glob("instances_train*.json")
    (images,) = folder.glob("train*")
    code, out, _ = run("data", "check", file, "--images", images, "--config", "shapes", "--fix", "mended.json")
    assert code == 1
    assert "mended: 1 annotation left out: a box without width or height\n" in out
    assert "mended: 1 annotation left out: a box outside the image\n" in out
    assert "mended: 1 annotation left out: the same box and class again\n" in out
    assert out.endswith(f"wrote mended.json; check it: keras-fpn data check mended.json --images {images}\n")
    before, after = (json.loads(each.read_text()) for each in (file, tmp_path / "mended.json"))
    assert after["annotations"] == before["annotations"][2:-1] and after["images"] == before["images"]
    code, out, _ = run("data", "check", "mended.json", "--images", images, "--config", "shapes")
    assert code == 0 and out.startswith("0 errors, ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{folder}", "--fix", "out.json"], "--fix writes one annotation file, and {folder} has 2; give "),
        (["absent"], "absent: there is no such folder; check the path"),
        (["{file}", "--images", "absent"], "absent: there is no such image folder"),
        (["{file}", "--fix", "{file}"], "--fix {file}: would replace what is checked; give another name"),
        (["{folder}", "--set", "model.anchors.size=3"], "did you mean 'sizes'?"),
        (["{folder}", "--out", "{folder}"], "{folder}: is a folder; give the name of a file"),
    ],
)
def test_mistakes_are_one_line(run, shapes_folder, arguments, words):
    (file,) = (shapes_folder / "annotations").glob("instances_val*.json")
    places = {"folder": shapes_folder, "file": file}
    code, out, err = run("data", "check", *(argument.format(**places) for argument in arguments))
    assert code == 2 and out == "" and err.count("\n") == 1 and words.format(**places) in err


def test_training_says_what_the_quick_half_finds(folder, capsys):
    from keras_fpn.config.loading import load_config
    from keras_fpn.training import datasets, named_files

    (file,) = (folder / "annotations").glob("instances_train*.json")
    document = json.loads(file.read_text())
    document["categories"][0]["name"] = "circle"
    document["annotations"] = document["annotations"][2:]
    file.write_text(json.dumps(document))
    datasets.read_data(named_files.with_data(load_config("shapes"), folder))
    out = capsys.readouterr().out
    assert out.startswith("data: ") and out.count("\n") == 1
    assert "1 box with the image, class and numbers of another (train)" in out
    assert out.endswith(f"; keras-fpn data check {file} --images {folder / 'train'} tells more\n")
