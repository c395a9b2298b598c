"""Folders of known formats: which of their files are the annotations and the images of each half."""

import contextlib
import json
import os
import pathlib

import pytest

from keras_fpn.console.errors import UserError
from keras_fpn.data import find_layout
from keras_fpn.data.formats import find_halves, read_content
from keras_fpn.data.formats.half_names import half_in
from tests.data.tool_data_sets import EXPORTS, TOOLS, exported


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    "files, wanted",
    [
        (
            [
                "annotations/instances_train2017.json",
                "annotations/instances_val2017.json",
                "train2017/a",
                "val2017/a",
            ],
            [
                "annotations/instances_train2017.json",
                "train2017",
                "annotations/instances_val2017.json",
                "val2017",
            ],
        ),
        (
            [
                "annotations/instances_train.json",
                "annotations/instances_val.json",
                "images/train/a",
                "images/val/a",
            ],
            [
                "annotations/instances_train.json",
                "images/train",
                "annotations/instances_val.json",
                "images/val",
            ],
        ),
        (
            [
                "annotations/instances_train.json",
                "annotations/instances_val.json",
                "train2014/a",
                "val2014/a",
            ],
            ["annotations/instances_train.json", "train2014", "annotations/instances_val.json", "val2014"],
        ),
        (
            ["train/_annotations.coco.json", "valid/_annotations.coco.json"],
            ["train/_annotations.coco.json", "train", "valid/_annotations.coco.json", "valid"],
        ),
    ],
)
def test_layouts(tmp_path, files, wanted):
    _touch(tmp_path, *files)
    assert _layout(tmp_path) == [str(tmp_path / name) for name in wanted]


@pytest.mark.parametrize(
    "files, wanted",
    [
        (["annotations/instances_train.json", "train/a"], r"no instances_val\*\.json"),
        (
            ["annotations/instances_train1.json", "annotations/instances_train2.json"],
            "more than one train file",
        ),
        (
            ["annotations/instances_train.json", "annotations/instances_val.json", "train/a"],
            "no image folder for",
        ),
        (["train/_annotations.coco.json"], "not there; add a validation split"),
    ],
)
def test_layouts_that_are_not_whole(tmp_path, files, wanted):
    _touch(tmp_path, *files)
    with pytest.raises(UserError, match=wanted):
        find_layout(tmp_path)


def test_layout_of_no_folder(tmp_path):
    with pytest.raises(UserError, match="there is no such folder"):
        find_layout(tmp_path / "nowhere")


def _layout(root):
    return [name for half in find_layout(root) for name in half]


@pytest.mark.parametrize(
    "wanted",
    [
        ["annotations/instances_Train.json", "images/Train", "annotations/instances_Validation.json",
         "images/Validation"],
        ["annotations/instances_TRAIN.json", "Train", "annotations/instances_Val.json", "VAL"],
        ["annotations/instances_train.json", "Train", "annotations/instances_valid.json", "validation"],
        ["annotations/instances_train.json", "train", "annotations/instances_validation.json", "val"],
        ["annotations/instances_train.json", "train", "annotations/instances_val.json", "Valid"],
        ["annotations/instances_Train2017.json", "train2017", "annotations/instances_Val2017.json", "images/val2017"],
        ["Annotations/Instances_Train.JSON", "Images/Train", "Annotations/Instances_Val.JSON", "Images/Val"],
        ["annotations/instances_train.json", "Train2014", "annotations/instances_val.json", "Val2014"],
        ["annotations/instances_train.json", "images/Train2014", "annotations/instances_val.json", "images/val2014"],
        ["Train/_annotations.coco.json", "Train", "Valid/_annotations.coco.json", "Valid"],
        ["train/_annotations.coco.json", "train", "validation/_annotations.coco.json", "validation"],
        ["train/_annotations.coco.json", "train", "Val/_annotations.coco.json", "Val"],
    ],
)  # fmt: skip
def test_names_are_matched_without_regard_to_capitals(tmp_path, wanted):
    _touch(tmp_path, wanted[0], f"{wanted[1]}/a.jpg", wanted[2], f"{wanted[3]}/a.jpg")
    assert _layout(tmp_path) == [str(tmp_path / name) for name in wanted]


def test_the_exact_image_folder_goes_first(tmp_path):
    annotations = ["annotations/instances_train.json", "annotations/instances_val.json"]
    _touch(tmp_path, *annotations, "train/a", "Train/a", "val/a", "valid/a", "images/train/a")
    assert _layout(tmp_path)[1::2] == [str(tmp_path / "train"), str(tmp_path / "val")]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["annotations/instances_train.json", "annotations/instances_Train.json"],
         r"more than one train file \(instances_Train.json, instances_train.json\); name one"),
        (["annotations/instances_train.json", "annotations/instances_val.json",
          "annotations/instances_Validation.json"],
         r"more than one val file \(instances_Validation.json, instances_val.json\)"),
        (["annotations/instances_train.json", "annotations/instances_val.json", "Train/a", "TRAIN/a", "val/a"],
         "more than one image folder for instances_train.json .*TRAIN.*Train.*; "),
        (["annotations/instances_train.json", "annotations/instances_val2.json", "train/a", "valid/a", "Validation/a"],
         "more than one image folder for instances_val2.json .*Validation.*valid.*; "),
        (["annotations/instances_train.json", "Annotations/instances_val.json"],
         "more than one folder of annotations .*Annotations.*annotations.*; "),
        (["annotations/instances_train.json", "annotations/instances_val.json", "train1/a", "train2/a", "val/a"],
         "more than one image folder for instances_train.json .*train1, train2.*; "),
        (["train/_annotations.coco.json", "valid/_annotations.coco.json", "val/_annotations.coco.json"],
         "more than one val folder .*val.*valid.*; "),
        (["annotations/instances_default.json", "images/default/a.jpg"],
         r"of one subset \(all\), and training needs two, .*; keras-fpn data convert .* OUT --val-share 0.1"),
        (["annotations/instances_Default.json", "default/a.jpg"], "one subset"),
        (["annotations/instances_Train.json", "images/Train/a"], r"no instances_val\*\.json"),
    ],
)  # fmt: skip
def test_what_is_not_clear_is_refused_with_the_names(tmp_path, files, told):
    _touch(tmp_path, *files)
    with pytest.raises(UserError, match=told) as caught:
        find_layout(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value) and ";" in str(caught.value)


def _coco(root, file, name):
    """A COCO file of one image, with the key that comes last in COCO's own, first in others."""
    content = {"licenses": [], "annotations": [], "images": [{"id": 1, "file_name": name, "height": 6, "width": 8}],
               "categories": [{"id": 1, "name": "car"}]}  # fmt: skip
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(content, indent=1))


@pytest.mark.parametrize("export", EXPORTS)
def test_the_exports_of_labelling_tools_are_found_as_they_come(tmp_path, export):
    files, names, images = EXPORTS[export]
    for file, name, folder in zip(files, names, images, strict=True):
        _coco(tmp_path, file, name)
        _touch(tmp_path, f"{folder}/{name}".replace("\\", "/"))
    _touch(tmp_path, "README.txt", "annotations/captions_train.json")
    known, halves = find_halves(tmp_path)
    assert known.name == "coco" and list(halves) == (["train", "val", "test"][: len(files)] if files[1:] else ["all"])
    for half, file, folder in zip(halves.values(), files, images, strict=True):
        assert half == (str(tmp_path / file), str(tmp_path / folder))
        assert known.images_of(half.annotations) == half.images
        (entry,) = read_content(*half)["images"]
        assert (tmp_path / folder / entry["file_name"].replace("\\", "/")).is_file()


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["a.json", "b.json"], r"COCO files: several \(a, b\), and their names do not tell train from val; "),
        (["train.json", "train2.json"], r"COCO files: several \(train, train2\)"),
        (["annotations/train.json", "annotations/first.json"], r"annotations: COCO files: several \(first, train\)"),
        (["train/a.json", "train/b.json", "val/a.json"], r"train: more than one COCO file \(a.json, b.json\); name"),
        ([f"{name}/annotations/instances.json" for name in "ab"], r"data sets with COCO files: several \(a, b\)"),
    ],
)  # fmt: skip
def test_files_that_could_be_either_half_are_refused_with_the_names(tmp_path, files, told):
    _touch(tmp_path, "a/images/a.jpg", "b/images/a.jpg")
    for file in files:
        _coco(tmp_path, file, "a.jpg")
    with pytest.raises(UserError, match=told) as caught:
        find_halves(tmp_path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value) and ";" in str(caught.value)


_BY_HALVES = {f"COCO of {name}": exported(*export) for name, export in EXPORTS.items() if len(export[0]) > 1}
_BY_HALVES |= {name: tool[1] for name, tool in TOOLS.items() if "Superv" not in name and name != "CVAT project"}


@pytest.mark.parametrize("damaged", ["train", "val"])
@pytest.mark.parametrize("name", _BY_HALVES)
def test_a_half_is_not_lost_because_its_file_is_damaged(tmp_path, name, damaged):
    """An empty file is no file of any format; the other half alone is no whole data set."""
    _BY_HALVES[name](tmp_path)
    known, _ = find_halves(tmp_path)
    files = [file for file in tmp_path.rglob("*.*") if file.suffix in (".json", ".xml", ".csv")
             and damaged in map(half_in, file.relative_to(tmp_path).parts)]  # fmt: skip
    for file in files:
        file.write_text("")
    with pytest.raises(UserError) as caught:
        for half in known.find(tmp_path).values():
            read_content(*half)
    assert any(str(caught.value).startswith(f"{file}: ") for file in files), caught.value
    assert "\n" not in str(caught.value) and ";" in str(caught.value)


@pytest.mark.parametrize("other", ["captions_val.json", "val_results.json", "train_settings.json", "test.json"])
def test_files_beside_one_half_that_are_no_other_half(tmp_path, other):
    _touch(tmp_path, "images/a.jpg")
    _coco(tmp_path, "train.json", "a.jpg")
    (tmp_path / other).write_text("[]" if "results" in other else "{}")
    assert list(find_halves(tmp_path)[1]) == ["all"]


@pytest.mark.parametrize(
    "content",
    ['{"images": [], "annotations": []', '{"images": {}, "annotations": [], "categories": []}', "[]", "", "{}",
     '[{"images": [], "annotations": [], "categories": []}]'],
)  # fmt: skip
def test_json_of_something_else_is_not_taken_for_coco(tmp_path, content):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(UserError, match="no known data set in it"):
        find_halves(tmp_path)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], r"no known data set in it \(COCO instances, .*Pascal VOC XML, .*YOLO, CSV\); docs/formats.md shows"),
        (["a.jpg", "b.txt"], r"pictures and no annotations that are known \(COCO"),
        (["Coco.ZIP", "a.jpg"], "but Coco.ZIP; unpack it"),
        (["unpacked/images/a.jpg", "unpacked/instances.json", "other/b.jpg"], "did you mean .*/unpacked\\?"),
        (["unpacked/annotations/instances_train.json"], "did you mean .*/unpacked\\?"),
        (["a/images/a.jpg", "a/x.json", "b/images/a.jpg", "b/y.json"], "no known data set in it \\(COCO"),
    ],
)
def test_a_folder_that_no_format_knows_is_told_in_a_short_line(tmp_path, files, told):
    _touch(tmp_path, *(file for file in files if not file.endswith(".json")))
    for file in files:
        if file.endswith(".json"):
            _coco(tmp_path, file, "a.jpg")
    with pytest.raises(UserError, match=told) as caught:
        find_halves(tmp_path)
    line = str(caught.value).replace(str(tmp_path), "DIR")
    assert line.startswith("DIR: ") and "\n" not in line and len(line) < 400
    assert "docs/formats.md" not in line or (pathlib.Path(__file__).parents[2] / "docs" / "formats.md").is_file()


def test_a_file_is_no_folder(tmp_path):
    for name, told in (("a.zip", "is an archive; unpack it"), ("a.txt", "is a file, and a folder is wanted")):
        (tmp_path / name).touch()
        with pytest.raises(UserError, match=f"{name}: {told}"):
            find_halves(tmp_path / name)


@pytest.mark.parametrize("ending", [".xml", ".txt", ".json", ".jpg"])
def test_a_folder_is_listed_once_however_many_formats_look_into_it(tmp_path, monkeypatch, ending):
    """Once more to see whether there is a picture among its files."""
    content = {".xml": "<annotation><object/></annotation>", ".txt": "0 .5 .5 .1 .1",
               ".json": '{"shapes": [], "imagePath": "1.jpg"}'}  # fmt: skip
    for number in range(60):
        (tmp_path / f"{number}.jpg").touch()
        (tmp_path / f"{number}{ending}").write_text(content.get(ending, ""))
    if ending == ".txt":
        (tmp_path / "classes.txt").write_text("x")
    listed = []
    for name in ("scandir", "listdir"):
        own = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path=".", own=own: listed.append(os.fspath(path)) or own(path))
    with contextlib.suppress(UserError):
        find_halves(tmp_path)
    assert 1 <= listed.count(str(tmp_path)) <= 2
