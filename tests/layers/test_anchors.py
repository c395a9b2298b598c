"""Anchors, bit by bit, against torchvision and detectron2 (golden/make_anchors.py)."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.layers.anchors import AnchorGenerator

LEVELS = ("P2", "P3", "P4", "P5", "P6")
STRIDES = dict(zip(LEVELS, (4, 8, 16, 32, 64), strict=True))
SIZES = dict(zip(LEVELS, ([32], [64], [128], [256], [512]), strict=True))
PROFILES = {
    "torchvision": {"rounding": "torchvision", "stride_source": "floor"},
    "detectron2": {"rounding": "none", "stride_source": "nominal"},
}
IMAGES = ("800x1344", "800x1024", "256x256", "203x307")


def make(**conventions):
    return AnchorGenerator(sizes=SIZES, ratios=[0.5, 1.0, 2.0], strides=STRIDES, **conventions)


def anchors_of(golden, profile, image):
    height, width = map(int, image.split("x"))
    shapes = {
        level: tuple(map(int, shape))
        for level, shape in zip(LEVELS, golden("anchors")[f"shapes/{image}"], strict=True)
    }
    return make(**PROFILES[profile])(feature_shapes=shapes, image_shape=(height, width))


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("profile", PROFILES)
def test_anchors_are_bit_exact(golden, profile, image):
    kept = golden("anchors").under(f"{profile}/{image}")
    levels = [anchors_of(golden, profile, image)[level].numpy() for level in LEVELS]
    np.testing.assert_array_equal([len(level) for level in levels], kept["count"])
    np.testing.assert_array_equal(np.concatenate(levels)[:: golden("anchors")["row_step"]], kept["rows"])
    np.testing.assert_array_equal(np.stack([level[-3:] for level in levels]), kept["last"])
    # + 0 turns a negative zero into a zero, as the script did.
    hashes = [hashlib.sha256((level.astype("<f4") + np.float32(0)).tobytes()).hexdigest() for level in levels]
    assert hashes == kept["sha256"].tolist()


@pytest.mark.parametrize("profile", PROFILES)
def test_cell_anchors_are_bit_exact(golden, profile):
    generator = make(**PROFILES[profile])
    cells = np.stack([generator.cell_anchors(level) for level in LEVELS])
    np.testing.assert_array_equal(cells, golden("anchors")[f"{profile}/cells"])


def many_sizes(golden, **conventions):
    """Anchors of three maps with all five sizes in every cell, and what torchvision made of them."""
    kept = golden("anchors").under("many_sizes")
    levels = LEVELS[3:] + ("P7",)
    generator = AnchorGenerator(
        sizes=dict.fromkeys(levels, [32, 64, 128, 256, 512]),
        ratios=[0.5, 1.0, 2.0],
        strides=dict.fromkeys(levels, 32),
        rounding="torchvision",
        stride_source="floor",
        **conventions,
    )
    shapes = {level: tuple(map(int, shape)) for level, shape in zip(levels, kept["shapes"], strict=True)}
    anchors = generator(feature_shapes=shapes, image_shape=tuple(map(int, kept["image"])))
    return kept, generator, [level.numpy() for level in anchors.values()]


def test_ratio_major_anchors_are_bit_exact(golden):
    kept, generator, levels = many_sizes(golden, order="ratio_major")
    np.testing.assert_array_equal(generator.cell_anchors("P5"), kept["cell"])
    np.testing.assert_array_equal(np.stack([level[-15:] for level in levels]), kept["last"])
    hashes = [hashlib.sha256((level.astype("<f4") + np.float32(0)).tobytes()).hexdigest() for level in levels]
    assert hashes == kept["sha256"].tolist()
    assert generator.num_anchors == {"P5": 15, "P6": 15, "P7": 15}


def test_the_two_orders_are_the_same_anchors_in_another_order(golden):
    _, _, ratio_major = many_sizes(golden, order="ratio_major")
    _, _, size_major = many_sizes(golden, order="size_major")
    # index = ratio * 5 + size in the one, size * 3 + ratio in the other.
    for ours, theirs in zip(ratio_major, size_major, strict=True):
        ours, theirs = ours.reshape(-1, 3, 5, 4), theirs.reshape(-1, 5, 3, 4)
        np.testing.assert_array_equal(ours, theirs.transpose(0, 2, 1, 3))
        assert (ours.reshape(-1, 15, 4) != theirs.reshape(-1, 15, 4)).any()


def test_order_travels_in_the_configuration():
    config = make(order="ratio_major").get_config()
    assert AnchorGenerator.from_config(config).order == "ratio_major"


def test_detectron_cells(golden):
    """Detectron's generate_anchors, whose right and bottom are inclusive: one pixel less than ours."""
    generator = make(rounding="detectron")
    cells = np.stack([generator.cell_anchors(level) for level in LEVELS])
    np.testing.assert_array_equal(cells - [0, 0, 1, 1], golden("anchors")["detectron/cells"])


def test_rounding_of_the_cell_and_its_centre():
    # torchvision rounds half sides, detectron2 does not, Detectron scales rounded stride-sized boxes.
    rounded = make(rounding="torchvision", stride_source="floor").cell_anchors("P2")
    np.testing.assert_array_equal(rounded, [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]])
    exact = make().cell_anchors("P2")
    np.testing.assert_allclose(exact[0], [-22.6274, -11.3137, 22.6274, 11.3137], atol=1e-4)
    detectron = make(rounding="detectron").cell_anchors("P2")
    np.testing.assert_array_equal(detectron[0] - [0, 0, 1, 1], [-22, -10, 25, 13])
    np.testing.assert_array_equal(make(rounding="torchvision").cell_anchors("P6")[0], [-362, -181, 362, 181])
    np.testing.assert_allclose(
        make().cell_anchors("P6")[0], [-362.039, -181.019, 362.039, 181.019], atol=1e-3
    )


def test_torchvision_p6_has_stride_61(golden):
    # 800 // 13 = 61 in y, 1344 // 21 = 64 in x.
    last = anchors_of(golden, "torchvision", "800x1344")["P6"][-1]
    np.testing.assert_array_equal(last, [1099, 370, 1461, 1094])
    shapes = {**dict.fromkeys(LEVELS, (1, 1)), "P6": (13, 21)}
    nominal = make(rounding="torchvision")(feature_shapes=shapes, image_shape=(800, 1344))
    np.testing.assert_array_equal(nominal["P6"][-1].numpy()[1::2], [406, 1130])


def test_number_of_anchors_of_an_image(golden):
    # 3 per cell, sides rounded up: P6 of 800 px has 13 rows, not 12.
    totals = {
        image: sum(len(level) for level in anchors_of(golden, "detectron2", image).values())
        for image in IMAGES[:2]
    }
    assert totals == {"800x1344": 268_569, "800x1024": 204_624}
    square = {level: (640 // STRIDES[level],) * 2 for level in LEVELS}
    assert (
        sum(len(level) for level in make()(feature_shapes=square, image_shape=(640, 640)).values()) == 102_300
    )


def test_ratio_is_height_over_width_and_the_first_is_wide():
    for rounding in ("none", "torchvision", "detectron"):
        cell = make(rounding=rounding).cell_anchors("P4")
        width, height = (cell[:, 2:] - cell[:, :2]).T
        np.testing.assert_allclose(height / width, [0.5, 1.0, 2.0], rtol=0.1)


def test_sizes_outside_ratios_inside():
    # detectron2's order: RetinaNet's second anchor on P3 has size 32 and ratio 1 (torchvision: 40 and .5).
    generator = AnchorGenerator(sizes={"P3": [32, 40, 50]}, ratios=[0.5, 1, 2], strides={"P3": 8})
    np.testing.assert_array_equal(generator.cell_anchors("P3")[1], [-16, -16, 16, 16])
    assert generator.num_anchors == {"P3": 9}


def test_order_is_row_column_anchor():
    shapes = {**dict.fromkeys(LEVELS, (1, 1)), "P2": (2, 3)}
    anchors = make()(feature_shapes=shapes, image_shape=(8, 12))["P2"].numpy().reshape(2, 3, 3, 4)
    centres = (anchors[..., :2] + anchors[..., 2:]) / 2
    np.testing.assert_allclose(centres[:, :, 1, 0], [[0, 4, 8]] * 2, atol=1e-5)
    np.testing.assert_allclose(centres[:, :, 2, 1], [[0] * 3, [4] * 3], atol=1e-5)


def test_offset_moves_every_centre_by_a_share_of_the_stride():
    where = {"feature_shapes": dict.fromkeys(LEVELS, (2, 2)), "image_shape": (8, 8)}
    plain, moved = make()(**where), make(offset=0.5)(**where)
    for level in LEVELS:
        np.testing.assert_allclose(moved[level] - plain[level], STRIDES[level] / 2, atol=1e-3)


def test_shapes_may_be_tensors(golden):
    generator = make(**PROFILES["torchvision"])

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1])])
    def graph(images):
        shape = tf.shape(images)
        shapes = {level: (-(-shape[1] // s), -(-shape[2] // s)) for level, s in STRIDES.items()}
        return generator(feature_shapes=shapes, image_shape=(shape[1], shape[2]))

    eager = anchors_of(golden, "torchvision", "256x256")
    for level, anchors in graph(tf.zeros([1, 256, 256, 1])).items():
        np.testing.assert_array_equal(anchors, eager[level])


def test_shapes_may_be_ints_by_position():
    generator = make(**PROFILES["torchvision"])
    shapes = {level: (-(-96 // stride), -(-128 // stride)) for level, stride in STRIDES.items()}
    assert generator(shapes, (96, 128))["P2"].shape == (24 * 32 * 3, 4)


def test_wrong_conventions_are_refused():
    wrongs = ({"rounding": "down"}, {"stride_source": "config"}, {"order": "random"}, {"strides": {"P2": 4}})
    for wrong in wrongs:
        with pytest.raises(ValueError, match="rounding|stride|order"):
            AnchorGenerator(**{"sizes": SIZES, "ratios": [1.0], "strides": STRIDES, **wrong})
