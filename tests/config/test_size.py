"""`size`: one setting for training, evaluation and whoever uses the model; and files that are no configuration."""

import pytest
import yaml

from keras_fpn.config.loading import load_config, load_whole_run_config, shipped_configs
from keras_fpn.console.errors import UserError


def sizes(config):
    resize, data = config.model.resize, config.data
    return resize.min_side, resize.max_side, data.min_sides, data.canvas


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("shapes", (400, 400, [400], [416, 416])),  # a canvas of whole cells, of 32 px
        ("faster_rcnn_r50_fpn", (400, 666, [320, 336, 352, 368, 384, 400], None)),  # 1333 / 2
        ("tiny", (400, 600, [400], None)),
    ],
)
def test_one_size_moves_all_of_them(config, expected, tmp_path):
    assert sizes(load_config(config, ["size=400"])) == expected
    (tmp_path / "own.yaml").write_text("size: 400\nmodel: {profile: torchvision}\n")
    assert sizes(load_config(tmp_path / "own.yaml"))[:2] == (400, 666)


@pytest.mark.parametrize("config", shipped_configs())
def test_no_shipped_configuration_contradicts_itself(config):
    resize = load_config(config).model.resize
    assert load_config(config, {"size": resize.min_side}).model.resize == resize
    load_config(config, ["size=333"])


def test_a_finer_setting_beside_it_counts():
    assert sizes(load_config("shapes", ["data.canvas=[512, 448]", "size=400"]))[3] == [512, 448]
    assert sizes(load_config("shapes", ["size=400", "data.min_sides=[384, 400]"]))[2] == [384, 400]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["size=0"], "--set: size: give the shorter side of the images in pixels, such as 400, not 0"),
        (["size=large"], "--set: size: give the shorter side"),
        (["size=true"], "--set: size: give the shorter side"),
        (["size=400", "model.resize.min_side=300"], "size and model.resize.min_side both say how large images are"),
        # What its README once told: the canvas went on cutting training to 256 while evaluation saw 400.
        (
            ["data.min_sides=[400]", "model.resize.min_side=400", "model.resize.max_side=400"],
            r"data.canvas: \[256, 256\] cuts images down that data.min_sides, \[400\], makes larger",
        ),
        (["model.resize.min_side=400"], "model.resize.min_side: 400 is above max_side, 256, so no image gets it"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(overrides, message):
    with pytest.raises(UserError, match=message) as caught:
        load_config("shapes", overrides)
    assert "\n" not in str(caught.value) and "size" in str(caught.value)


def test_a_file_that_says_both_is_refused(tmp_path):
    (tmp_path / "both.yaml").write_text("size: 400\nmodel: {resize: {min_side: 300}}\n")
    with pytest.raises(UserError, match="both.yaml: size and model.resize.min_side both say"):
        load_config(tmp_path / "both.yaml")


# Files that are no configuration ------------------------------------------------------------------------------------

BROKEN = {
    "900 levels": ("[" * 900 + "]" * 900, "hundreds of levels deep"),
    "900 keys deep": ("".join(f"{' ' * depth}a:\n" for depth in range(900)) + " " * 900 + "a: 1", "levels deep"),
    "5000 digits": ("training: {steps: " + "9" * 5000 + "}", "not YAML that can be read"),
    "no such day": ("training: {steps: 2026-13-45}", "not YAML that can be read|training.steps"),
    "a list": ("[1, 2]", "expected sections"),
    "a tab": ("model:\n\tprofile: paper", "line 2: not YAML"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_configuration_is_told_in_a_line(name, tmp_path):
    text, message = BROKEN[name]
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_config(tmp_path / "broken.yaml")
    assert "broken.yaml" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("share", [0, 0.3, 0.5, 0.9])
def test_a_runs_configuration_that_is_cut_short_is_refused(share, tmp_path):
    whole = load_config("tiny").to_yaml()
    lines = whole.splitlines(keepends=True)
    (tmp_path / "config.yaml").write_text("".join(lines[: int(share * len(lines))]))
    with pytest.raises(UserError, match=r"config\.yaml: has no .*; it is cut short|config\.yaml.*: not YAML"):
        load_whole_run_config(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text(whole)
    assert load_whole_run_config(tmp_path / "config.yaml") == load_config("tiny")
    assert yaml.safe_load(whole)
