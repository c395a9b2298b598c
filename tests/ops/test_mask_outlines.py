"""Polygons of masks: pycocotools rasterises them back to the mask that they are of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_fpn.ops import mask_outlines, masks


def disc(height, width, x, y, radius, hole=0):
    rows, columns = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(columns - x, rows - y)
    return (distance < radius) & (distance >= hole)


def back(corners, mask):
    """IoU of a mask with what its polygons cover."""
    found = masks.from_annotation([each.ravel().tolist() for each in corners], *mask.shape)
    return masks.overlaps([found], [masks.encode(mask)])[0, 0]


@pytest.mark.parametrize(
    ("mask", "parts", "least"),
    [
        (disc(200, 240, 120, 90, 80), 1, 0.995),
        (disc(20, 20, 10.3, 9.7, 4), 1, 0.95),
        (disc(60, 60, 0, 0, 40), 1, 0.99),  # at the border of the image
        (np.ones((30, 40), bool), 1, 0.99),
        (np.pad(np.ones((1, 1), bool), 4), 1, 0.99),
        (np.pad(np.ones((1, 20), bool), 3), 1, 0.9),
        (disc(100, 120, 20, 20, 10) | disc(100, 120, 80, 60, 25), 2, 0.99),
    ],
)
def test_polygons_cover_the_mask(mask, parts, least):
    found = mask_outlines.outlines(masks.encode(mask))
    corners = [each.outer for each in found]
    assert len(found) == parts and back(corners, mask) >= least and [each.holes for each in found] == [0] * parts
    assert all(len(each) <= 0.5 * np.sqrt(mask.sum()) * 4 + 8 for each in corners), "no corner a pixel"
    if parts > 1:
        assert np.ptp(corners[0][:, 0]) == pytest.approx(50, abs=1), "the largest first"
        assert back([mask_outlines.as_one(corners)], mask) >= least, "a bridge has no width"


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 12))
def test_any_mask_has_polygons_inside_its_image(seed, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    for each in mask_outlines.outlines(masks.encode(mask)):
        assert len(each.outer) >= 3 and each.outer.min() >= 0
        assert (each.outer <= (width, height)).all()


def test_holes_are_told_and_filled():
    ring = disc(100, 100, 50, 50, 40, hole=20)
    (found,) = mask_outlines.outlines(masks.encode(ring))
    assert found.holes == 1 and back([found.outer], disc(100, 100, 50, 50, 40)) > 0.99
    assert mask_outlines.outlines(masks.encode(np.zeros((9, 9), bool))) == []
