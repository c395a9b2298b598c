"""Sheets of annotated pictures: boxes in their places at any size of a picture, names that can be read."""

import numpy as np
import pytest

from keras_fpn.reporting.data_sheets import CELL, Counts, Group, Tile, sheet
from keras_fpn.reporting.lettering import fitted, fitted_end, lettered
from keras_fpn.reporting.visualize import class_color, draw_boxes

NAMES = ["a", "b", "c"]


def _tile(height, width, boxes, classes, value=235):
    boxes, classes = np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int32)
    truth = {"boxes": boxes, "classes": classes, "is_crowd": np.zeros(len(classes), np.int32)}
    return Tile(np.full((height, width, 3), value, np.uint8), truth, "folder/0001.jpg", "a note")


def _is_of(picture, label):
    return (np.asarray(picture) == class_color(label)).all(-1)


@pytest.mark.parametrize("size", [(20, 16), (480, 640), (3000, 4000), (3000, 100), (60, 3000)])
def test_a_box_lies_around_its_object_at_every_size(size):
    """A green object on grey; the line around it lies outside of it, some pixels wide."""
    height, width = size
    tile = _tile(height, width, [[width * 0.25, height * 0.5, width * 0.75, height * 0.75]], [2])
    y1, y2, x1, x2 = height // 2, 3 * height // 4, width // 4, 3 * width // 4
    tile.image[y1:y2, x1:x2] = (0, 255, 0)
    picture = sheet("title", [Group("batch 1", [tile])], ["", "", ""])
    assert picture.width == CELL + 28
    rows, columns = np.nonzero(_is_of(picture, 2))
    pixels = np.asarray(picture).astype(int)
    green = (pixels[..., 1] > 200) & (pixels[..., 0] < 90) & (pixels[..., 2] < 90)
    found_rows, found_columns = np.nonzero(green)
    for line, inside in ((rows, found_rows), (columns, found_columns)):
        assert 0 < inside.min() - line.min() <= 6 and 0 < line.max() - inside.max() <= 6


def test_padding_rows_are_not_drawn_and_groups_stand_under_each_other():
    tiles = [_tile(64, 64, [[8, 8, 30, 30], [0, 0, 0, 0]], [1, -1]) for _ in range(5)]
    one = sheet("title", [Group("batch 1", tiles[:1])], NAMES)
    picture = sheet("title", [Group("batch 1", tiles), Group("batch 2", tiles[:1])], NAMES)
    assert picture.width == 4 * CELL + 5 * 14 and picture.height > 3 * CELL
    assert _is_of(picture, 1).sum() == 6 * _is_of(one, 1).sum()


def test_many_names_leave_the_picture_to_be_seen():
    corners = np.random.default_rng(0).uniform(0, 0.93, (200, 2))
    boxes = np.concatenate([corners, corners + 0.06], 1) * 640
    given = np.full((640, 640, 3), 250, np.uint8), boxes, ["something"] * 200
    all_names, some_names, none = (
        (np.asarray(draw_boxes(*given[:2], names, classes=[0] * 200, label_share=share)) != 250).any(-1).mean()
        for names, share in ((given[2], None), (given[2], 0.25), ([""] * 200, None))
    )
    assert none < some_names < none + 0.28 < all_names


def test_the_largest_objects_keep_their_names():
    boxes = [[10, 10, 30, 30], [100, 100, 500, 500], [40, 10, 60, 30]]
    given = np.full((600, 600, 3), 250, np.uint8), boxes
    picture = draw_boxes(*given, ["b", "a", "c"], classes=[1, 0, 2], label_share=1e-6)
    bare = draw_boxes(*given, ["", "", ""], classes=[1, 0, 2])
    more = [int(_is_of(picture, label).sum() - _is_of(bare, label).sum()) for label in range(3)]
    assert more[0] > 0 and more[1:] == [0, 0]


def test_numbers_of_the_data_set_have_their_bars():
    names = [f"class {number}" for number in range(40)]
    counts = Counts(["12 pictures"], {name: 400 - 10 * number for number, name in enumerate(names)})
    picture = sheet("title", [Group("batch 1", [_tile(64, 64, [], [])] * 4)], names, counts=counts)
    lengths = [np.count_nonzero(_is_of(picture, label).any(0)) for label in range(13)]
    assert lengths[0] > lengths[5] > lengths[11] > 100 and lengths[12] == 0  # twelve bars
    assert lengths[5] == pytest.approx(lengths[0] * 350 / 400, abs=2)


def test_letters_beyond_ascii_are_drawn_or_spelt_out():
    def ink(text, font):
        return np.asarray(font.getmask(text)).tobytes()

    for text in ("Äpfel", "кот", "αβ"):
        same, font = lettered(text, 20)
        assert same == text and len({ink(letter, font) for letter in text}) == len(set(text))
    private, _ = lettered("\ue9f3", 20)  # no font can know what it is
    assert private in ("\\ue9f3", "\ue9f3")
    assert lettered("plain", 20)[0] == "plain"


def test_texts_are_cut_to_their_width():
    text, font = lettered("0123456789" * 4, 16)
    width = font.getlength(text)
    assert fitted(text, font, width) == fitted_end(text, font, width) == text
    short, end = fitted(text, font, width / 2), fitted_end(text, font, width / 2)
    assert short.startswith("0123") and short.endswith("...") and end.startswith("...") and end.endswith("789")
    assert max(font.getlength(short), font.getlength(end)) <= width / 2
