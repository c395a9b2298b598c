"""Folders of known formats: which of their files are the annotations and the images of each half."""

import pytest

from keras_fpn.console.errors import UserError
from keras_fpn.data import find_layout


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
