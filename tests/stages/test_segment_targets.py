"""Targets of segment proposals: positions and scales by the paper's appendix A, masks by exact areas."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.stages.segment_grid import SegmentGrid
from keras_fpn.stages.segment_targets import covered, match_positions, segment_targets

STRIDES = {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}
SHAPES = [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2)]  # of an image of 96 x 128 px
OPTIONS = {"mask_size": 14, "samples_per_image": 128, "positive_fraction": 0.25, "crowd_ioa": 0.7}
SEED = tf.constant([3, 4], tf.int64)


@pytest.fixture(scope="module")
def grid():
    return SegmentGrid(STRIDES)


@pytest.fixture(scope="module")
def layout(grid):
    return grid.lay_out(SHAPES)


def around(x, y, width, height):
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def draw(grid, layout, ground_truth, image_sizes=((96, 128),), **options):
    sizes = tf.constant(image_sizes, tf.int32)
    drawn = segment_targets(grid, layout, ground_truth, sizes, SEED, **(OPTIONS | options))
    return {name: value.numpy() for name, value in drawn.items()}


def one_image(boxes, is_crowd=None):
    boxes = np.array(boxes, np.float32).reshape(1, -1, 4)
    count = boxes.shape[1]
    return {
        "boxes": boxes,
        "classes": np.zeros((1, count), np.int32),
        "masks": np.ones((1, count, 56, 56), np.uint8),
        "is_crowd": np.zeros((1, count), np.int32) if is_crowd is None else np.array([is_crowd]),
    }


# Scales ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel_sizes", "sides"),
    [
        ([5, 7], [32, 45.25, 64, 90.5, 128, 181, 256, 362, 512, 724]),
        ([5], [32, 64, 128, 256, 512]),
        ([7], [45.25, 90.5, 181, 362, 724]),
    ],
)
def test_the_scales_are_the_papers_and_the_nearest_is_taken(kernel_sizes, sides):
    grid = SegmentGrid(STRIDES, kernel_sizes)
    np.testing.assert_allclose(grid.sides, sides, rtol=1e-3)
    longer = np.exp(np.random.default_rng(0).uniform(np.log(4), np.log(3000), 400)).astype(np.float32)
    expected = np.abs(np.log(longer[:, None] / grid.sides)).argmin(axis=1)
    shorter = longer * np.linspace(0.1, 1, 400, dtype=np.float32)
    wide = np.stack([0 * longer, 0 * longer, longer, shorter], axis=-1)
    np.testing.assert_array_equal(grid.scales(wide), expected)
    np.testing.assert_array_equal(grid.scales(wide[:, [1, 0, 3, 2]]), expected)
    if len(kernel_sizes) == 2:  # the reference's own words: h = round(2 log2(m / 32)), clamped
        np.testing.assert_array_equal(expected, np.clip(np.round(2 * np.log2(longer / 32)), 0, 9))


def test_an_empty_box_belongs_to_the_finest_scale(grid):
    assert grid.scales(tf.constant([[5.0, 5.0, 5.0, 5.0]])).numpy().tolist() == [0]


@pytest.mark.parametrize("kernel_sizes", [[7, 5], [3], [], [5, 5]])
def test_other_kernel_sizes_are_refused(kernel_sizes):
    with pytest.raises(UserError, match=r"segments.kernel_sizes: .*valid are \[5\], \[7\] and \[5, 7\]"):
        SegmentGrid(STRIDES, kernel_sizes)


# Positions ------------------------------------------------------------------------------------------------------


def test_windows_are_a_quarter_wider_than_the_objects_and_centred_on_their_cells(grid, layout):
    windows, centres = layout.windows.numpy(), layout.centres.numpy()
    assert len(windows) == len(centres) == 2 * sum(height * width for height, width in SHAPES)
    sides = windows[:, 2] - windows[:, 0]
    np.testing.assert_allclose(sides, windows[:, 3] - windows[:, 1], rtol=1e-5)
    # The paper's 40 ... 640 px, and times the square root of 2.
    expected = [40, 56.57, 80, 113.1, 160, 226.3, 320, 452.5, 640, 905.1]
    np.testing.assert_allclose(np.unique(sides.round(1)), expected, atol=0.06)
    np.testing.assert_allclose((windows[:, :2] + windows[:, 2:]) / 2, centres, atol=1e-4)
    # The third cell of the second row of P3, the 7x7 MLP's.
    index = 2 * 24 * 32 + 2 * (16 + 2) + 1
    np.testing.assert_array_equal(centres[index], [16, 8])
    assert sides[index] == pytest.approx(80 * math.sqrt(2))


def test_places_and_indices_are_each_others_inverse(grid, layout):
    indices = tf.range(len(layout.centres))
    places = grid.places(indices, layout)
    np.testing.assert_array_equal(grid.indices(places, layout), indices)
    strides = np.array(list(STRIDES.values()))[places.level.numpy()]
    np.testing.assert_array_equal(places.column.numpy() * strides, layout.centres[:, 0])
    np.testing.assert_array_equal(places.row.numpy() * strides, layout.centres[:, 1])


@pytest.mark.parametrize(("x", "y", "count"), [(40, 24, 9), (41, 26, 4), (40, 25, 6), (0, 0, 4), (124, 40, 6)])
def test_positions_within_a_stride_of_the_centre_are_positive(grid, layout, x, y, count):
    boxes = tf.constant([around(x, y, 32, 20)], tf.float32)
    matched, labels = match_positions(grid, layout, boxes, tf.constant([True]))
    positive = np.flatnonzero(labels.numpy() == 1)
    assert len(positive) == count and not matched.numpy().any()
    assert (np.abs(layout.centres.numpy()[positive] - [x, y]) <= 4).all()
    places = grid.places(tf.constant(positive, tf.int32), layout)
    assert not places.level.numpy().any() and not places.mlp.numpy().any()


def test_matching_equals_a_plain_search_and_the_nearest_of_several_wins(grid, layout):
    random = np.random.default_rng(1)
    centres = random.integers(0, 110, (60, 2)) + random.choice([0, 0.5], (60, 2))
    boxes = np.array([around(*centre, *random.uniform(8, 120, 2)) for centre in centres], np.float32)
    boxes[1::2] = boxes[::2] + 3  # pairs of one size, close to each other
    is_object = random.uniform(size=60) < 0.9
    matched, labels = match_positions(grid, layout, tf.constant(boxes), tf.constant(is_object))
    scales = grid.scales(boxes).numpy()
    expected = np.full(len(layout.centres), -1)
    places = grid.places(tf.range(len(expected)), layout)
    strides = np.array(list(STRIDES.values()))
    columns = (places.level.numpy(), places.mlp.numpy(), layout.centres.numpy())
    for index, (level, mlp, centre) in enumerate(zip(*columns, strict=True)):
        distance = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - centre)
        is_near = (distance <= strides[level]).all(axis=1) & (scales == 2 * level + mlp) & is_object
        if is_near.any():
            expected[index] = np.where(is_near, (distance**2).sum(axis=1), np.inf).argmin()
    np.testing.assert_array_equal(labels, expected >= 0)
    np.testing.assert_array_equal(matched.numpy()[expected >= 0], expected[expected >= 0])
    assert len(np.unique(expected)) > 30


# Samples --------------------------------------------------------------------------------------------------------


def test_one_in_four_samples_is_positive_and_they_come_first(grid, layout):
    ground_truth = one_image([around(16 * i + 8, 8 * j + 8, 30, 30) for i in range(7) for j in range(9)])
    drawn = draw(grid, layout, ground_truth)
    assert drawn["is_valid"].all() and drawn["indices"].shape == (1, 128)
    assert drawn["is_positive"][0].tolist() == [True] * 32 + [False] * 96
    assert drawn["masks"].shape == (1, 32, 14, 14)
    assert len(set(drawn["indices"][0])) == 128
    again, other = draw(grid, layout, ground_truth), draw(grid, layout, ground_truth, samples_per_image=64)
    np.testing.assert_array_equal(again["indices"], drawn["indices"])
    assert other["indices"].shape == (1, 64) and other["is_positive"].sum() == 16


def test_an_image_without_objects_gives_negatives(grid, layout):
    for ground_truth in (one_image([]), one_image([around(40, 40, 32, 32)]) | {"classes": np.array([[-1]])}):
        drawn = draw(grid, layout, ground_truth)
        assert drawn["is_valid"].all() and not drawn["is_positive"].any() and not drawn["masks"].any()


def test_positions_outside_the_image_are_never_drawn(grid, layout):
    boxes = [around(40, 24, 32, 32), around(100, 60, 32, 32)]  # the second is outside 56 x 72 px
    ground_truth = {key: np.repeat(value, 2, axis=0) for key, value in one_image(boxes).items()}
    drawn = draw(grid, layout, ground_truth, [(56, 72), (96, 128)], samples_per_image=1200, positive_fraction=0.5)
    centres = layout.centres.numpy()
    inside = (centres < [72, 56]).all(axis=1)
    small, whole = (set(indices[valid]) for indices, valid in zip(drawn["indices"], drawn["is_valid"], strict=True))
    assert small == set(np.flatnonzero(inside)) and drawn["is_positive"].sum(axis=1).tolist() == [9, 18]
    assert len(whole) == 1200


def test_no_position_is_negative_inside_a_crowd(grid, layout):
    crowd = [0, 0, 64, 64]
    ground_truth = one_image([crowd, around(24, 24, 32, 32)], is_crowd=[1, 0])
    drawn = draw(grid, layout, ground_truth, samples_per_image=2100, positive_fraction=0.5)
    indices = drawn["indices"][0][drawn["is_valid"][0] & ~drawn["is_positive"][0]]
    windows = layout.windows.numpy()[indices]
    shared = np.clip(np.minimum(windows[:, 2:], 64) - np.maximum(windows[:, :2], 0), 0, None).prod(axis=1)
    assert (shared / (windows[:, 2:] - windows[:, :2]).prod(axis=1)).max() < 0.7
    assert drawn["is_positive"].sum() == 9 and len(indices) > 1000
    without = draw(grid, layout, one_image([around(24, 24, 32, 32)]), samples_per_image=2100, positive_fraction=0.5)
    assert without["is_valid"].sum() > drawn["is_valid"].sum()


# Masks ----------------------------------------------------------------------------------------------------------


def area_inside(polygon, box):
    """Exact area of a polygon `[n, 2]` inside a box: cut along its four sides (Sutherland-Hodgman), then shoelace."""
    for axis, bound, sign in ((0, box[0], 1), (0, box[2], -1), (1, box[1], 1), (1, box[3], -1)):
        cut = []
        for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            inside_start, inside_end = sign * (start[axis] - bound) >= 0, sign * (end[axis] - bound) >= 0
            if inside_start:
                cut.append(start)
            if inside_start != inside_end:
                cut.append(start + (end - start) * (bound - start[axis]) / (end[axis] - start[axis]))
        if not cut:
            return 0.0
        polygon = np.array(cut)
    x, y = polygon.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def exact_coverage(polygon, box, bins):
    edges = [np.linspace(box[axis], box[axis + 2], bins + 1) for axis in (0, 1)]
    areas = [
        [area_inside(polygon, (left, top, right, bottom)) for left, right in zip(edges[0], edges[0][1:], strict=False)]
        for top, bottom in zip(edges[1], edges[1][1:], strict=False)
    ]
    return np.array(areas) / ((edges[0][1] - edges[0][0]) * (edges[1][1] - edges[1][0]))


POLYGONS = {
    "triangle": [[3, 2], [40, 11], [12, 35]],
    "arrow": [[0, 12], [22, 12], [22, 0], [45, 20], [22, 40], [22, 28], [0, 28]],
    "sliver": [[0, 0], [5, 0], [33, 21], [30, 22]],
}


@pytest.mark.parametrize("name", POLYGONS)
def test_a_mask_is_the_polygon_rasterised_in_the_window(name):
    polygon = np.array(POLYGONS[name], np.float64) + [7.3, 11.9]
    box = np.concatenate([polygon.min(axis=0), polygon.max(axis=0)])
    own = exact_coverage(polygon, box, 56) >= 0.5
    centre = (box[:2] + box[2:]) / 2 + [3.1, -2.7]
    window = np.concatenate([centre - 28.28, centre + 28.28])
    for size in (14, 28):
        found = covered(own[None].astype(np.uint8), *(tf.constant([each], tf.float32) for each in (box, window)), size)
        expected = exact_coverage(polygon, window, size)
        assert found.shape == (1, size, size)
        # Only the 56 x 56 bins of the object's own mask stand between the two.
        np.testing.assert_allclose(found[0], expected, atol=0.2)
        assert np.abs(found[0] - expected).mean() < 0.007
        assert ((found[0].numpy() >= 0.5) != (expected >= 0.5)).mean() < 0.02
        assert found.numpy().sum() == pytest.approx(expected.sum(), rel=0.02)


def test_a_full_mask_is_its_box_to_the_last_share_of_a_bin(grid, layout):
    drawn = draw(grid, layout, one_image([around(40, 24, 30, 20)]))
    places = np.flatnonzero(drawn["is_positive"][0])
    assert len(places) == 9
    for place in places:
        window = layout.windows.numpy()[drawn["indices"][0, place]]
        shares = []
        for axis, (start, end) in enumerate(((25, 55), (14, 34))):
            edges = np.linspace(window[axis], window[axis + 2], 15)
            shares.append(np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, None) / (40 / 14))
        np.testing.assert_allclose(drawn["masks"][0, place], np.outer(shares[1], shares[0]), atol=2e-5)
    assert not drawn["masks"][0, 9:].any()


def test_masks_go_with_their_own_objects(grid, layout):
    ground_truth = one_image([around(40, 24, 32, 32), around(80, 64, 32, 32)])
    ground_truth["masks"][0, 1] = 0
    drawn = draw(grid, layout, ground_truth)
    near_first = layout.centres.numpy()[drawn["indices"][0, :18], 0] < 60
    np.testing.assert_array_equal(drawn["masks"][0, :18].any(axis=(1, 2)), near_first)
