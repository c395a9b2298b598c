"""RoIAlign against torchvision's operator (golden/make_roi.py) and by hand, and the level rule."""

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.roi_align import RoIAlign
from keras_fpn.ops.levels import roi_levels

IMPLEMENTATIONS = ("product", "crop_and_resize", "gather")
both = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


def drawn_map(golden, draws):
    shape = tuple(map(int, golden("roi")["shape"]))
    features = draws.normal("roi/features", shape)
    np.testing.assert_array_equal(features[0, 0, 0, :8], golden("roi")["features_fingerprint"])
    return tf.constant(features.transpose(0, 2, 3, 1))


def align(features, boxes, scale, **settings):
    """One level of one image or of several: `[H, W]` or `[B, H, W, C]`, boxes `[R, 4]` or `[B, R, 4]`."""
    level = int(np.log2(1 / scale))
    features = tf.constant(features, tf.float32)
    if len(features.shape) == 2:
        features = features[None, :, :, None]
    boxes = tf.constant(boxes, tf.float32)
    if len(boxes.shape) == 2:
        boxes = boxes[None]
    return RoIAlign(strides={f"P{level}": 2**level}, **settings)({f"P{level}": features}, boxes).numpy()


@both
@pytest.mark.parametrize("ratio", (2, 0))
@pytest.mark.parametrize("aligned", (False, True))
def test_equals_torchvision(golden, draws, aligned, ratio, implementation):
    """Random boxes, at the border, partly and wholly outside, tiny, without width, very flat: all of them."""
    kept = golden("roi")
    crops = align(
        drawn_map(golden, draws),
        kept["boxes"],
        1 / 8,
        sampling_ratio=ratio,
        aligned=aligned,
        implementation=implementation,
    )
    np.testing.assert_allclose(crops, kept[f"align/aligned_{aligned}/ratio_{ratio}"], atol=1e-4)


@both
def test_levels_equal_torchvision(golden, draws, implementation):
    kept = golden("roi")
    features = {}
    for level in (2, 3, 4, 5):
        drawn = draws.normal(f"roi/P{level}", (2, 2, 512 >> level, 512 >> level))
        features[f"P{level}"] = tf.constant(drawn.transpose(0, 2, 3, 1))
    boxes = tf.constant(kept["levels/boxes"])
    np.testing.assert_array_equal(roi_levels(boxes, 2, 5), kept["levels/level"])
    assert set(kept["levels/level"].flat) == {2, 3, 4, 5}
    crops = RoIAlign(sampling_ratio=2, aligned=False, implementation=implementation)(features, boxes)
    np.testing.assert_allclose(crops, kept["levels/crops"], atol=1e-4)


# --- single boxes; the numbers come from running torchvision's operators


@pytest.mark.parametrize(
    ("side", "level"),
    [(111.9, 2), (112, 3), (223.99, 3), (224, 4), (447.99, 4), (448, 5), (896, 5), (1, 2), (5000, 5)],
)
def test_level_map(side, level):
    assert roi_levels(tf.constant([[10.0, 20.0, 10.0 + side, 20.0 + side]]), 2, 5)[0] == level


def test_level_map_is_exact_for_every_integer_box_on_an_octave():
    for level, side in ((3, 112), (4, 224), (5, 448)):
        widths = [width for width in range(1, side**2 + 1) if side**2 % width == 0]
        boxes = tf.constant([[0.0, 0.0, width, side**2 // width] for width in widths], tf.float32)
        np.testing.assert_array_equal(roi_levels(boxes, 2, 5), [level] * len(widths))


def test_an_empty_box_belongs_on_the_finest_level():
    empty = tf.constant([[5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 0.0, 900.0], [9.0, 9.0, 3.0, 3.0]])
    np.testing.assert_array_equal(roi_levels(empty, 2, 5), [2, 2, 2])


def slope():
    """f(x, y) = x + 100 y on 32 x 32."""
    return np.arange(32)[None] + 100.0 * np.arange(32)[:, None]


@both
@pytest.mark.parametrize(("aligned", "expected"), [(False, [303, 305, 307]), (True, [252.5, 254.5, 256.5])])
def test_alignment_shifts_by_half_a_cell(aligned, expected, implementation):
    crops = align(slope(), [[8, 8, 64, 64]], 1 / 4, aligned=aligned, implementation=implementation)
    np.testing.assert_allclose(crops[0, 0, 0, :3, 0], expected, atol=1e-2)


@both
@pytest.mark.parametrize(("aligned", "expected"), [(False, 209.2143), (True, 153.3036)])
def test_tiny_box(aligned, expected, implementation):
    crops = align(slope(), [[8, 8, 9, 9]], 1 / 4, aligned=aligned, implementation=implementation)
    np.testing.assert_allclose(crops[0, 0, 0, 0, 0], expected, atol=1e-2)


@both
@pytest.mark.parametrize(("ratio", "expected"), [(2, [0.04592, 0.07653, 0.18367]), (0, [0.32003, 0.29902, 0.25376])])
def test_points_of_a_bin(ratio, expected, implementation):
    comb = np.zeros((32, 32))
    comb[::2, ::2] = 1
    crops = align(comb, [[0, 0, 128, 128]], 1 / 4, sampling_ratio=ratio, implementation=implementation)
    np.testing.assert_allclose(crops[0, 0, 0, :3, 0], expected, atol=1e-4)


@both
def test_not_plain_crop_and_resize(implementation):
    # tensorpack's own check: arange(25) as 5 x 5, box [1, 1, 3, 3] in 4 x 4 bins. A plain crop_and_resize of
    # the box of `test_alignment_shifts_by_half_a_cell` would give 195.69, 197.95, 200.21.
    crops = align(
        np.arange(25).reshape(5, 5),
        [[1, 1, 3, 3]],
        1.0,
        output_size=4,
        sampling_ratio=1,
        implementation=implementation,
    )
    expected = [[4.5, 5, 5.5, 6], [7, 7.5, 8, 8.5], [9.5, 10, 10.5, 11], [12, 12.5, 13, 13.5]]
    np.testing.assert_allclose(crops[0, 0, :, :, 0], expected, atol=1e-4)


@both
def test_borders(implementation):
    crops = align(np.ones((32, 32)), [[-16, -16, 16, 16]], 1 / 4, output_size=4, implementation=implementation)[
        0, 0, :, :, 0
    ]
    np.testing.assert_allclose(crops[0], [0, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(crops[1], [0, 0.25, 0.5, 0.5], atol=1e-5)
    np.testing.assert_allclose(crops[2], [0, 0.5, 1, 1], atol=1e-5)


# --- the implementations, edges, gradients


@pytest.mark.parametrize("ratio", (2, 0))
def test_gradients_of_the_features_agree(golden, draws, ratio):
    features, boxes = drawn_map(golden, draws), tf.constant(golden("roi")["boxes"])
    gradients = []
    for implementation in IMPLEMENTATIONS:
        layer = RoIAlign(strides={"P3": 8}, sampling_ratio=ratio, implementation=implementation)
        with tf.GradientTape() as tape:
            tape.watch(features)
            value = tf.reduce_sum(tf.sin(layer({"P3": features}, boxes)))
        gradients.append(tape.gradient(value, features).numpy())
    assert np.isfinite(gradients[0]).all() and np.abs(gradients[0]).max() > 0
    for gradient in gradients[1:]:
        np.testing.assert_allclose(gradient, gradients[0], atol=1e-3)


@pytest.mark.parametrize("ratio", (2, 0))
def test_gradients_of_boxes_that_overlap_are_added_up(ratio):
    """By its linearity: of 400 boxes it is the sum of those of one each, of which none meets another."""
    rng = np.random.default_rng(2)
    features = tf.constant(rng.normal(size=(1, 20, 24, 16)), tf.float32)
    corner = rng.uniform(0, 60, (400, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 90, (400, 2))], axis=1).astype(np.float32)
    factors = rng.normal(size=(400, 7, 7, 16)).astype(np.float32)
    layer = RoIAlign(strides={"P3": 8}, sampling_ratio=ratio, implementation="product")

    def gradient(some):
        with tf.GradientTape() as tape:
            tape.watch(features)
            value = tf.reduce_sum(layer({"P3": features}, boxes[some][None])[0] * factors[some])
        return tape.gradient(value, features).numpy()

    each = sum(gradient([index]).astype(np.float64) for index in range(0, 400, 8))
    np.testing.assert_allclose(gradient(np.arange(0, 400, 8)), each, atol=1e-4 * np.abs(each).max())
    whole = gradient(np.arange(400))
    for _ in range(3):
        np.testing.assert_array_equal(gradient(np.arange(400)), whole)


def test_features_in_double_precision_are_pooled_in_it():
    rng = np.random.default_rng(2)
    maps, boxes = rng.normal(size=(1, 20, 24, 16)), np.array([[[8, 9, 120, 100], [3, 2, 30, 31]]], np.float32)
    crops = {
        dtype: RoIAlign(strides={"P3": 8}, sampling_ratio=2)({"P3": tf.constant(maps, dtype)}, boxes)
        for dtype in ("float64", "float32")
    }
    assert crops["float64"].dtype == tf.float64
    np.testing.assert_allclose(crops["float64"], crops["float32"], atol=1e-5)
    assert np.abs(crops["float64"] - tf.cast(crops["float32"], tf.float64)).max() > 1e-9


def test_boxes_that_are_no_numbers_read_no_cell():
    """A product would read cells that there are none of."""
    boxes = np.array([[[np.nan, 0, 20, 20], [np.nan] * 4, [0, 0, 40, 40]]], np.float32)
    crops = RoIAlign(strides={"P3": 8}, sampling_ratio=2, implementation="product")(
        {"P3": tf.ones([1, 9, 9, 2])}, boxes
    )
    np.testing.assert_allclose(crops[0, 2], 1.0, rtol=1e-6)


@both
@pytest.mark.parametrize("ratio", (2, 0))
def test_no_boxes(implementation, ratio):
    crops = align(
        np.zeros((2, 16, 16, 3)),
        np.zeros((2, 0, 4)),
        1 / 4,
        sampling_ratio=ratio,
        implementation=implementation,
    )
    assert crops.shape == (2, 0, 7, 7, 3)


@both
@pytest.mark.parametrize("ratio", (2, 0))
def test_padding_boxes_are_finite(implementation, ratio):
    crops = align(
        np.ones((1, 16, 16, 3)),
        np.zeros((1, 5, 4)),
        1 / 4,
        sampling_ratio=ratio,
        implementation=implementation,
    )
    assert np.isfinite(crops).all()


@both
def test_graph_with_unknown_sizes_equals_eager(golden, draws, implementation):
    layer = RoIAlign(strides={"P3": 8}, sampling_ratio=0, implementation=implementation)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 2]), tf.TensorSpec([None, None, 4])])
    def graph(features, boxes):
        return layer({"P3": features}, boxes)

    features, boxes = drawn_map(golden, draws), tf.constant(golden("roi")["boxes"])
    np.testing.assert_allclose(graph(features, boxes), layer({"P3": features}, boxes), atol=1e-4)
    assert graph(features, boxes[:, :0]).shape == (2, 0, 7, 7, 2)


@both
def test_bfloat16_features_keep_float32_positions(golden, draws, implementation):
    kept = golden("roi")
    features = tf.cast(drawn_map(golden, draws), tf.bfloat16)
    layer = RoIAlign(strides={"P3": 8}, sampling_ratio=2, aligned=True, implementation=implementation)
    crops = layer({"P3": features}, tf.constant(kept["boxes"]))
    assert crops.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(crops, tf.float32), kept["align/aligned_True/ratio_2"], atol=0.03)


def test_unknown_implementation_is_refused():
    with pytest.raises(ValueError, match="implementation"):
        RoIAlign(implementation="fast")


@both
def test_adaptive_count_of_a_whole_multiple_is_the_same_in_a_graph(implementation):
    # 42 cells by 7 bins are 6 points. TensorFlow's graphs divide by 7 through 1 / 7, which gives more than 6, and
    # so 7 points; every box clipped to an image 1344 px wide is such a box.
    layer = RoIAlign(strides={"P3": 8}, sampling_ratio=0, aligned=False, implementation=implementation)
    column = np.zeros([1, 42, 42, 1], np.float32)
    column[:, :, 3] = 1.0
    boxes = tf.constant([[[0.0, 0.0, 336.0, 336.0]]])
    crops = tf.function(lambda: layer({"P3": tf.constant(column)}, boxes))()
    # The points of the first bin are at .5, 1.5, ... 5.5: two of six are half a cell from column 3.
    np.testing.assert_allclose(crops[0, 0, :, 0, 0], [1 / 6] * 7, atol=1e-6)
