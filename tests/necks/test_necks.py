"""The pyramid against torchvision on odd sizes (golden/make_networks.py, with batch normalisation
golden/make_mobilenet.py), and by hand."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.necks.build import build_pyramid, pyramid_strides

LEVELS = ("P2", "P3", "P4", "P5", "P6")


def with_kernels(model, lateral, output):
    """Give every lateral and every output convolution the same kernel, biases 0."""
    for layer in model.layers:
        if layer.name.startswith(("lateral_", "output_")):
            kernel = lateral if layer.name.startswith("lateral_") else output
            layer.set_weights([kernel, np.zeros(kernel.shape[-1])])
    return model


def averaging(channels=4, doubling=2.0, name="fpn"):
    """Laterals take the mean over the channels, the 3x3 are `doubling` times the identity."""
    three = np.zeros((3, 3, channels, channels), np.float32)
    three[1, 1] = np.eye(channels) * doubling
    model = build_pyramid(dict.fromkeys(("C2", "C3", "C4", "C5"), channels), channels=channels, name=name)
    return with_kernels(model, np.full((1, 1, channels, channels), 1 / channels, np.float32), three)


def constants(values, sides=(16, 8, 4, 2), channels=4):
    return {
        f"C{k}": tf.fill([1, side, side, channels], float(value))
        for k, value, side in zip((2, 3, 4, 5), values, sides, strict=True)
    }


def test_equals_torchvision_on_odd_sizes(golden, draws):
    kept = golden("networks").under("pyramid")
    channels = [int(value) for value in kept["channels"]]
    names = ("C2", "C3", "C4", "C5")
    model = build_pyramid(dict(zip(names, channels, strict=True)), channels=16)
    features = {}
    for index, (name, shape) in enumerate(zip(names, kept["shapes"], strict=True)):
        for ours, theirs, kernel in (("lateral_C", "inner", (1, 1)), ("output_P", "layer", (3, 3))):
            inputs = channels[index] if theirs == "inner" else 16
            prefix = f"pyramid.{theirs}_blocks.{index}.0."
            weight = draws.weight(prefix + "weight", (16, inputs, *kernel)).transpose(2, 3, 1, 0)
            model.get_layer(f"{ours}{index + 2}").set_weights([weight, draws.weight(prefix + "bias", (16,))])
        drawn = draws.normal(f"pyramid/{name}", (1, channels[index], *map(int, shape)))
        features[name] = tf.constant(drawn.transpose(0, 2, 3, 1))
    outputs = model(features)
    assert list(outputs) == list(LEVELS)
    for level in LEVELS:
        assert tuple(outputs[level].shape[1:3]) == tuple(kept[f"{level}/shape"])
        np.testing.assert_allclose(outputs[level][:, ::2, ::2, ::2], kept[level], rtol=1e-4, atol=1e-4)


def test_the_sums_go_down_not_the_outputs():
    # By hand: the laterals are the constants, the outputs twice the sums; P5 fed down would give P4 = 4200.
    outputs = averaging()(constants((1, 10, 100, 1000)))
    assert [float(outputs[level][0, 0, 0, 0]) for level in ("P5", "P4", "P3", "P2")] == [
        2000,
        2200,
        2220,
        2222,
    ]
    for level in LEVELS:
        np.testing.assert_array_equal(
            outputs[level], tf.fill(outputs[level].shape, outputs[level][0, 0, 0, 0])
        )


def test_no_non_linearity():
    outputs = averaging()(constants((0, 0, 0, -1)))
    for level in LEVELS:
        assert (outputs[level].numpy() == -2).all()


def test_upsampling_is_nearest():
    features = constants((0, 0, 0, 0))
    features["C5"] = tf.reshape(tf.range(4.0), [1, 2, 2, 1]) * tf.ones([1, 1, 1, 4])
    p4 = averaging(doubling=1.0)(features)["P4"][0, :, :, 0]
    np.testing.assert_array_equal(p4, [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]])


def test_p6_takes_every_second_cell():
    features = constants((0, 0, 0, 0), sides=(40, 20, 10, 5))
    features["C5"] = tf.reshape(tf.range(25.0), [1, 5, 5, 1]) * tf.ones([1, 1, 1, 4])
    p6 = averaging(doubling=1.0)(features)["P6"][0, :, :, 0]
    # A 2x2 max pooling would give [[6, 8], [16, 18]].
    np.testing.assert_array_equal(p6, [[0, 2, 4], [10, 12, 14], [20, 22, 24]])


def test_p6_of_negative_features_is_not_cut_at_zero():
    outputs = averaging()(constants((0, 0, 0, -1), sides=(24, 12, 6, 3)))
    np.testing.assert_array_equal(outputs["P6"], tf.fill([1, 2, 2, 4], -2.0))


def test_parameters_of_the_paper_and_its_initialisation():
    # torchvision's pyramid has 3,344,384; detectron2's c2_xavier is U(+-sqrt(3 / fan_in)).
    model = build_pyramid({"C2": 256, "C3": 512, "C4": 1024, "C5": 2048})
    assert model.count_params() == 3_344_384
    kernel, bias = model.get_layer("lateral_C5").get_weights()
    np.testing.assert_allclose(np.abs(kernel).max(), np.sqrt(3 / 2048), rtol=1e-3)  # .03827
    assert (bias == 0).all()


@pytest.mark.parametrize(
    "levels", (["P3", "P4", "P5"], ["P2", "P3", "P4"], ["P3", "P4", "P5", "P6", "P7"], ["P2"])
)
def test_levels_can_be_chosen(levels):
    model = build_pyramid(dict.fromkeys(("C2", "C3", "C4", "C5"), 8), channels=4, levels=levels)
    features = constants((1, 1, 1, 1), sides=(32, 16, 8, 4), channels=8)
    outputs = model({name: value for name, value in features.items() if name in model.input})
    assert list(outputs) == levels
    for level in levels:
        assert outputs[level].shape[1] == max(1, 128 // 2 ** int(level[1]))


def test_levels_that_cannot_be_made_are_refused():
    channels = dict.fromkeys(("C3", "C4", "C5"), 8)
    with pytest.raises(UserError, match="P2"):
        build_pyramid(channels, levels=["P2", "P3"])
    with pytest.raises(UserError, match="neighbours"):
        build_pyramid(channels, levels=["P3", "P5"])


# --- With batch normalisation (torchvision's version 2)

STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def normed(kept, draws, norm):
    channels = [int(value) for value in kept["channels"]]
    model = build_pyramid(
        dict(zip(("C4", "C5", "C6"), channels, strict=True)), channels=8, levels=["P4", "P5", "P6", "P7"], norm=norm
    )
    for index, inputs in enumerate(channels):
        for ours, theirs, shape in (
            (f"lateral_C{index + 4}", f"normed_pyramid.inner_blocks.{index}", (8, inputs, 1, 1)),
            (f"output_P{index + 4}", f"normed_pyramid.layer_blocks.{index}", (8, 8, 3, 3)),
        ):
            (kernel,) = model.get_layer(ours).weights  # no bias: the normalisation has one
            kernel.assign(draws.weight(f"{theirs}.0.weight", shape).transpose(2, 3, 1, 0))
            for variable in model.get_layer(f"{ours}_norm").weights:
                variable.assign(draws.weight(f"{theirs}.1.{STATISTICS[variable.name]}", (8,)))
    features = {
        f"C{k}": tf.constant(draws.normal(f"normed_pyramid/C{k}", (1, inputs, *map(int, shape))).transpose(0, 2, 3, 1))
        for k, inputs, shape in zip((4, 5, 6), channels, kept["shapes"], strict=True)
    }
    return model, features


@pytest.mark.parametrize("norm", ["batch_norm", "frozen_batch_norm"])
def test_normalised_equals_torchvision(golden, draws, norm):
    kept = golden("mobilenet").under("pyramid")
    model, features = normed(kept, draws, norm)
    outputs = model(features, training=False)
    assert list(outputs) == ["P4", "P5", "P6", "P7"]
    for level, value in outputs.items():
        np.testing.assert_allclose(value, kept[level], rtol=1e-4, atol=1e-5)


def test_live_normalisation_learns_in_training_only(golden, draws):
    model, features = normed(golden("mobilenet").under("pyramid"), draws, "batch_norm")
    norm = model.get_layer("lateral_C5_norm")
    before = norm.moving_mean.numpy()
    model(features, training=False)
    np.testing.assert_array_equal(norm.moving_mean, before)
    model(features, training=True)
    # One tenth of the new: torch's momentum of 0.1.
    new = model.get_layer("lateral_C5")(features["C5"])
    np.testing.assert_allclose(norm.moving_mean, 0.9 * before + 0.1 * np.mean(new, axis=(0, 1, 2)), atol=1e-5)


def test_an_unknown_normalisation_is_told_by_its_setting():
    with pytest.raises(UserError, match="pyramid.norm: unknown value 'instance_norm'"):
        build_pyramid({"C4": 8}, levels=["P4"], norm="instance_norm")
    with pytest.raises(UserError, match="pyramid.norm_epsilon: 0"):
        build_pyramid({"C4": 8}, levels=["P4"], norm="batch_norm", norm_epsilon=0.0)


# --- Strides: a level has its map's, and twice the one below above the backbone


@pytest.mark.parametrize(
    ("backbone", "levels", "strides"),
    [
        ({"C2": 4, "C3": 8, "C4": 16, "C5": 32}, ["P2", "P3", "P4", "P5", "P6"], [4, 8, 16, 32, 64]),
        ({"C2": 4, "C3": 8, "C4": 16, "C5": 32}, ["P4", "P5", "P6", "P7"], [16, 32, 64, 128]),
        # MobileNetV3 in torchvision: two maps of stride 32.
        ({"C2": 4, "C3": 8, "C4": 16, "C5": 32, "C6": 32}, ["P5", "P6", "P7"], [32, 32, 64]),
    ],
)
def test_strides_follow_the_backbone(backbone, levels, strides):
    assert pyramid_strides(backbone, levels) == dict(zip(levels, strides, strict=True))


# --- The rows of the paper's ablations, its neighbours and successors: how each is built (section 5.1; tables 1 and 2)

BACKBONE = dict(zip(("C2", "C3", "C4", "C5"), (3, 5, 6, 7), strict=True))
# Sides of the maps of images of 128 x 192 px, and of 75 x 93 px, where the halves are rounded up.
SIDES = ([(32, 48), (16, 24), (8, 12), (4, 6)], [(19, 24), (10, 12), (5, 6), (3, 3)])
ROWS = {
    "fpn": {},
    "bottom_up": {},
    "top_down": {},
    "finest_level": {"levels": ["P2"]},
    "single_scale": {"levels": ["C4"]},
    "fusion": {"levels": ["P3"]},
    "ssd": {"levels": ["P4", "P5", "P6", "P7", "P8"]},
    "panet": {},
    "pafpn": {},
    "bifpn": {"repeats": 1},
    "nas_fpn": {"repeats": 1},
    # Of P2 and P3 maps whose sides are odd have more cells than the image: those are of whole cells of C4.
    "simple_pyramid": {"levels": ["P4", "P5", "P6"]},
}


def channels_of(name):
    """8 of every row but the map itself, which has the backbone's."""
    return {} if name == "single_scale" else {"channels": 8}


def noise(seed, sides=SIDES[0]):
    """Maps of the whole backbone `BACKBONE`, drawn."""
    rng = np.random.default_rng(seed)
    return {
        level: tf.constant(rng.normal(size=(2, *side, number)), tf.float32)
        for (level, number), side in zip(BACKBONE.items(), sides, strict=True)
    }


@functools.cache
def row(name, **settings):
    """The pyramid of `ROWS` with 8 channels; biases are drawn, too, from a seed as all weights: no ReLU may be dead."""
    keras.utils.set_random_seed(1)
    model = build_pyramid(BACKBONE, name=name, **channels_of(name), **{**ROWS[name], **settings})
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if variable.name == "bias":
            variable.assign(rng.normal(size=variable.shape))
    return model


def outputs_of(model, features):
    """The outputs; what the pyramid does not read is left out."""
    return model({level: features[level] for level in model.input})


def changed_outputs(name, level):
    """The outputs that another map C_k changes, of maps with even sides and of maps with odd ones."""
    for sides in SIDES:
        before = noise(1, sides)
        after = before | {level: noise(2, sides)[level]}
        ours, theirs = (outputs_of(row(name), features) for features in (before, after))
        yield {output for output in ours if not np.array_equal(ours[output], theirs[output])}


@pytest.mark.parametrize(
    ("name", "inputs", "strides"),
    [
        ("fpn", ["C2", "C3", "C4", "C5"], {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("bottom_up", ["C2", "C3", "C4", "C5"], {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("top_down", ["C2", "C3", "C4", "C5"], {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("finest_level", ["C2", "C3", "C4", "C5"], {"P2": 4}),
        ("single_scale", ["C4"], {"C4": 16}),
        ("fusion", ["C2", "C3", "C4", "C5"], {"P3": 8}),
        ("ssd", ["C4", "C5"], {"P4": 16, "P5": 32, "P6": 64, "P7": 128, "P8": 256}),
        ("panet", ["C2", "C3", "C4", "C5"], {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("pafpn", ["C2", "C3", "C4", "C5"], {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("bifpn", ["C2", "C3", "C4", "C5"], {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("nas_fpn", ["C2", "C3", "C4", "C5"], {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("simple_pyramid", ["C4"], {"P4": 16, "P5": 32, "P6": 64}),
    ],
)
def test_each_pyramid_has_its_inputs_and_its_outputs(name, inputs, strides):
    model = row(name)
    assert list(model.input) == inputs
    for height, width in ((128, 192), (75, 93)):
        outputs = outputs_of(model, noise(0, SIDES[height == 75]))
        assert {level: tuple(output.shape) for level, output in outputs.items()} == {
            level: (2, -(-height // stride), -(-width // stride), 6 if level == "C4" else 8)
            for level, stride in strides.items()
        }
    assert list(outputs) == list(strides)
    assert pyramid_strides({"C2": 4, "C3": 8, "C4": 16, "C5": 32}, list(strides)) == strides


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Rows c: what is coarser goes down into every finer level.
        ("fpn", [{"P2"}, {"P2", "P3"}, {"P2", "P3", "P4"}, {"P2", "P3", "P4", "P5", "P6"}]),
        ("bottom_up", [{"P2"}, {"P3"}, {"P4"}, {"P5", "P6"}]),
        ("top_down", [set(), set(), set(), {"P2", "P3", "P4", "P5", "P6"}]),
        ("finest_level", [{"P2"}, {"P2"}, {"P2"}, {"P2"}]),
        ("single_scale", [set(), set(), {"C4"}, set()]),
        ("fusion", [{"P3"}, {"P3"}, {"P3"}, {"P3"}]),
        ("ssd", [set(), set(), {"P4"}, {"P5", "P6", "P7", "P8"}]),
        # What is finer goes up, too.
        *((name, [{"P2", "P3", "P4", "P5", "P6"}] * 4) for name in ("panet", "pafpn", "bifpn")),
        # Of one stack: no cell but the one of its own level reads C4.
        ("nas_fpn", [{"P2", "P3", "P4", "P5", "P6"}] * 2 + [{"P4", "P5", "P6"}, {"P2", "P3", "P4", "P5", "P6"}]),
        ("simple_pyramid", [set(), set(), {"P4", "P5", "P6"}, set()]),
    ],
)
def test_each_pyramid_reads_the_maps_of_its_row_and_no_other(name, expected):
    for level, changed in zip(BACKBONE, expected, strict=True):
        assert list(changed_outputs(name, level)) == [changed, changed], level


@pytest.mark.parametrize(
    ("name", "expected"), [("bottom_up", (2, 20, 200, 2000, 2000)), ("top_down", (2000, 2000, 2000, 2000, 2000))]
)
def test_rows_d_and_e_add_nothing(name, expected):
    # By hand: M_k is C_k in row d and C5 in row e, the outputs are twice that; P6 is of P5.
    outputs = averaging(name=name)(constants((1, 10, 100, 1000)))
    assert [float(outputs[level][0, 0, 0, 0]) for level in LEVELS] == list(expected)
    for level in LEVELS:
        np.testing.assert_array_equal(outputs[level], tf.fill(outputs[level].shape, outputs[level][0, 0, 0, 0]))


@pytest.mark.parametrize("name", ["bottom_up", "top_down"])
def test_rows_d_and_e_take_every_second_cell_of_p5_for_p6(name):
    features = constants((0, 0, 0, 0), sides=(40, 20, 10, 5))
    features["C5"] = tf.reshape(tf.range(25.0), [1, 5, 5, 1]) * tf.ones([1, 1, 1, 4])
    p6 = averaging(doubling=1.0, name=name)(features)["P6"][0, :, :, 0]
    np.testing.assert_array_equal(p6, [[0, 2, 4], [10, 12, 14], [20, 22, 24]])


@pytest.mark.parametrize("sides", [((16, 24), (8, 12), (4, 6), (2, 3)), ((19, 23), (10, 12), (5, 6), (3, 3))])
def test_row_e_upsamples_c5_by_nearest_neighbours(sides):
    # Row i of a map of H rows is row floor(i h / H) of the one below, step by step down to C5.
    cells = {"C5": np.arange(sides[3][0] * sides[3][1], dtype=np.float32).reshape(sides[3])}
    for level, (height, width) in zip(("C4", "C3", "C2"), reversed(sides[:3]), strict=True):
        below = cells[f"C{int(level[1]) + 1}"]
        rows, columns = np.arange(height) * below.shape[0] // height, np.arange(width) * below.shape[1] // width
        cells[level] = below[rows][:, columns]
    features = {level: tf.fill([1, *side, 4], -1.0) for level, side in zip(BACKBONE, sides, strict=True)}
    features["C5"] = tf.constant(cells["C5"])[None, :, :, None] * tf.ones([1, 1, 1, 4])
    outputs = averaging(doubling=1.0, name="top_down")(features)
    for level, expected in cells.items():
        np.testing.assert_array_equal(outputs[f"P{level[1]}"][0, :, :, 0], expected)


def test_row_e_has_no_lateral_connection_but_that_of_c5():
    layers = [layer.name for layer in row("top_down").layers if layer.weights]
    assert sorted(layers) == ["lateral_C5", "output_P2", "output_P3", "output_P4", "output_P5"]
    assert not [layer for layer in row("bottom_up").layers if "merge" in layer.name or "upsample" in layer.name]


@pytest.mark.parametrize("sides", SIDES)
def test_row_f_is_p2_of_the_whole_pyramid_bit_for_bit(sides):
    finest, whole = row("finest_level"), row("fpn")
    for layer in finest.layers:
        layer.set_weights(whole.get_layer(layer.name).get_weights())
    features = noise(3, sides)
    outputs = finest(features)
    assert list(outputs) == ["P2"]
    np.testing.assert_array_equal(outputs["P2"], whole(features)["P2"])


@pytest.mark.parametrize("level", ["C2", "C4", "C5"])
def test_rows_a_and_b_are_the_map_itself_without_a_weight(level):
    model = row("single_scale", levels=(level,))
    for sides in SIDES:
        features = noise(4, sides)
        outputs = outputs_of(model, features)
        assert list(outputs) == [level]
        np.testing.assert_array_equal(outputs[level], features[level])
    assert model.count_params() == 0


def test_fusion_brings_every_map_to_one_grid_at_a_share_of_the_channels():
    model = row("fusion")
    assert [model.get_layer(f"share_{level}").get_weights()[0].shape for level in BACKBONE] == [
        (5, 5, number, 2) for number in BACKBONE.values()
    ]
    assert model.get_layer("output_P3").get_weights()[0].shape == (1, 1, 8, 8)


def test_ssd_halves_its_sides_and_rounds_up_where_they_are_odd():
    features = {"C4": tf.zeros([1, 13, 9, 6]), "C5": tf.zeros([1, 7, 5, 7])}
    sides = {level: tuple(output.shape[1:3]) for level, output in row("ssd")(features).items()}
    assert sides == {"P4": (13, 9), "P5": (7, 5), "P6": (4, 3), "P7": (2, 2), "P8": (1, 1)}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("finest", {}, "pyramid.name: unknown pyramid 'finest'; did you mean 'finest_level'?"),
        ("finest_level", {"levels": ["P2", "P3"]}, "finest_level gives one level, [P2] in the paper, not P2, P3"),
        ("finest_level", {"levels": ["P1"]}, "pyramid.levels: P1 needs C1; the backbone gives C2..C5"),
        ("single_scale", {"levels": ["C4", "C5"]}, "single_scale gives one of C2, C3, C4, C5"),
        ("single_scale", {"levels": ["P4"]}, "single_scale gives one of C2, C3, C4, C5, as in [C4]; not P4"),
        ("fusion", {"levels": ["P3", "P4"]}, "fusion gives one of the backbone's levels, [P3]; not P3, P4"),
        ("fusion", {"levels": ["P6"]}, "fusion gives one of the backbone's levels, [P3]; not P6"),
        ("fusion", {"channels": 6}, "pyramid.channels: 6; give a multiple of 4, a share each"),
        ("ssd", {"levels": ["P4", "P6"]}, "pyramid.levels: must be neighbours, finest first"),
        ("ssd", {"levels": ["P6", "P7"]}, "pyramid.levels: P6 needs C6; the backbone gives C2..C5"),
        ("nas_fpn", {"levels": ["P3", "P4"]}, "nas_fpn has five levels, as in P3, P4, P5, P6, P7; not P3, P4"),
        ("bifpn", {"levels": ["P1", "P2"]}, "pyramid.levels: P1 needs C1; the backbone gives C2..C5"),
        ("panet", {"norm": "bach_norm"}, "pyramid.norm: unknown value 'bach_norm'; did you mean 'batch_norm'?"),
        ("bottom_up", {"levels": ["C4"]}, "pyramid.levels: must be neighbours, finest first"),
        ("top_down", {"levels": ["P5", "P4"]}, "pyramid.levels: must be neighbours, finest first"),
    ],
)
def test_what_a_row_cannot_give_is_refused_in_one_line(name, settings, message):
    with pytest.raises(UserError) as caught:
        build_pyramid(BACKBONE, name=name, **{**channels_of(name), **ROWS.get(name, {}), **settings})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
