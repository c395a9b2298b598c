"""The configurations of the paper's rows: what each says, what it builds, and two steps of its training.

One small model a row is trained once, without graphs, on the embedded data set in its COCO layout, and shared by the
tests of this file; nothing of what tells the rows apart is changed for it.
"""

import configparser
import fnmatch
import functools
import itertools
import re
import shlex

import keras
import numpy as np
import pytest

import keras_fpn
from keras_fpn.config import building
from keras_fpn.config.loading import load_config, shipped_configs
from keras_fpn.console.errors import UserError
from keras_fpn.data.proposal_files import write_proposals
from keras_fpn.paper.rows import RECIPES
from keras_fpn.paper.tables import TABLES
from keras_fpn.training import datasets, four_step, named_files, new_run, training

TABLE_1, TABLE_2 = ([f"paper/table{number}_{row}" for row in "abcdef"] for number in (1, 2))
TABLE_3, TABLE_5 = [f"paper/table3_{row}" for row in "abc"], ["paper/table5_r101", "paper/table5_r50"]
TABLE_6 = [f"paper/table6_{row}" for row in ("5x5", "7x7", "dual", "dual_28", "dual_28_2x")]
NEIGHBOURS = ["paper/rpn_hypernet", "paper/rpn_ssd"]
RPNS = TABLE_1 + NEIGHBOURS
ROWS = [*NEIGHBOURS, *TABLE_1, *TABLE_2, *TABLE_3, *TABLE_5, *TABLE_6]

SMALL = {
    "model.backbone.name": "resnet18",
    "model.backbone.width": 8,
    "model.resize.min_side": 64,
    "model.resize.max_side": 96,
    "model.pyramid.channels": 16,
    "model.rpn.channels": 16,
    "model.proposals.pre_nms_top_k_train": 50,
    "model.proposals.pre_nms_top_k_test": 50,
    "model.proposals.post_nms_top_k_train": 40,
    "model.proposals.post_nms_top_k_test": 30,
    "model.roi_targets.samples_per_image": 16,
    "model.roi_pooling.canonical_size": 30,
    "model.box_head.units": 16,
    "model.segments.units": 16,
    "model.segments.canonical_size": 8,
    "model.segments.samples_per_image": 16,
    "model.segments.max_detections": 20,
    "data.batch_size": 2,
    "data.min_sides": [64],
    "data.train_proposals": 40,
    "data.test_proposals": 30,
    "training.steps": 2,
}


def small(name):
    """Those of `SMALL` that a row reads."""
    tree = load_config(name).model_dump()
    return {key: value for key, value in SMALL.items() if functools.reduce(_below, key.split("."), tree) is not None}


def _below(tree, part):
    return tree.get(part) if isinstance(tree, dict) else None


@pytest.fixture(scope="module")
def build(shapes_folder):
    """`build(name, overrides)` -> (small `Config` of a row, its untrained model, training set, validation set)."""

    def build(name, overrides=()):
        config = named_files.with_data(load_config(name, small(name) | dict(overrides)), shapes_folder)
        train_set, val_set, _ = datasets.read_data(config)
        return config, building.build_model(config, train_set), train_set, val_set

    return build


def drawn_boxes(rng):
    """Boxes [40, 4] in an image of 96 px; brought to 64 px ten belong on each of P2 to P5."""
    sides = rng.permutation(np.repeat([12.0, 32.0, 64.0, 96.0], 10))[:, None]
    corner = rng.uniform(0, 96 - sides, (40, 2))
    return np.concatenate([corner, corner + sides], axis=1)


@pytest.fixture(scope="module")
def trained(build, tmp_path_factory):
    """`trained(name)` -> (a row's model after two steps, what `fit` reported, its weights before); made once."""
    folder, batches = tmp_path_factory.mktemp("proposals"), {}

    def two_batches(config, train_set, fields):
        # Rows whose data are told alike read the same ones.
        key = (config.data.model_dump_json(), config.model.resize.model_dump_json(), fields)
        if key not in batches:
            batches[key] = datasets.training_dataset(config, train_set).take(2).cache()
        return batches[key]

    @functools.cache
    def proposals():
        rng = np.random.default_rng(0)
        *_, train_set, val_set = build("paper/table1_c")
        for split, data_set in (("train", train_set), ("val", val_set)):
            rows = [(record.image_id, drawn_boxes(rng), np.linspace(1, 0, 40)) for record in data_set.records]
            write_proposals(folder / split, rows, {"model": "drawn"})
        return {f"data.{split}.proposals": str(folder / split) for split in ("train", "val")}

    made = {}

    @functools.cache
    def trained(name):
        needs_proposals = load_config(name).model.architecture == "fast_rcnn"
        keras.utils.set_random_seed(5)
        config, model, train_set, _ = build(name, proposals() if needs_proposals else {})
        key = config.to_yaml()  # rows that differ in depth or schedule alone are one, so small
        if key not in made:
            before = [variable.numpy() for variable in model.trainable_variables]
            model.compile(run_eagerly=True)
            report = model.fit(two_batches(config, train_set, model.object_fields), verbose=0, shuffle=False)
            made[key] = model, report.history, before
        return made[key]

    return trained


@pytest.fixture(scope="module")
def file_of(request):
    """The YAML file of a shipped name."""
    return lambda name: request.config.rootpath / "configs" / f"{name}.yaml"


# --- Names and files


def test_every_row_is_shipped():
    assert [name for name in shipped_configs() if "/" in name] == sorted(ROWS)
    assert {recipe.config for recipes in RECIPES.values() for recipe in recipes.values()} == set(ROWS) - set(NEIGHBOURS)


def test_the_wheel_carries_every_configuration(request):
    root = request.config.rootpath
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    patterns = setup["options.package_data"]["keras_fpn.configs"].split(", ")
    files = [file.relative_to(root / "configs").as_posix() for file in (root / "configs").rglob("*.yaml")]
    assert sorted(file.removesuffix(".yaml") for file in files) == shipped_configs()
    # A star of a file pattern does not reach into folders.
    assert all(
        any(fnmatch.fnmatch(file, each) and file.count("/") == each.count("/") for each in patterns) for file in files
    )


@pytest.mark.parametrize("name", ROWS)
def test_a_row_survives_its_own_yaml(name, tmp_path):
    config = load_config(name)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("paper/table1_g", "did you mean 'paper/table1_f'?"),
        ("papr/table1_c", "did you mean 'paper/table1_c'?"),
        ("table1_c", "table1_c: no such configuration; did you mean 'paper/table1_c'?"),
        ("paper/table2_c.yaml", "no such configuration file; did you mean 'paper/table2_c'?"),
        ("somewhere/else", "somewhere/else: no such configuration file"),
        ("xyz", "xyz: no such configuration; valid are cascade_mask_rcnn_r50_fpn, "),
    ],
)
def test_a_name_that_is_not_shipped_is_one_line_with_the_nearest(name, message):
    with pytest.raises(UserError) as caught:
        load_config(name)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    # The rows are told by their folder, since they would fill the screen.
    assert ("paper/..." in str(caught.value)) == (name == "xyz") and str(caught.value).count("paper/table") <= 2


def test_a_file_is_taken_before_a_shipped_name(tmp_path, monkeypatch):
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "table1_c").write_text("training: {steps: 7}\n")
    monkeypatch.chdir(tmp_path)
    assert load_config("paper/table1_c").training.steps == 7
    assert load_config("paper/table1_d").training.steps == 40_000


def test_a_row_runs_in_a_folder_of_its_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for expected in ("runs/table1_c", "runs/table1_c-2"):
        with new_run.new_run_folder(None, "paper/table1_c") as folder:
            (folder / "last.keras").touch()
        assert folder.as_posix() == expected


def test_train_takes_a_row_by_its_name(run, shapes_folder, monkeypatch):
    started = []

    def train(config, run_dir):
        started.append((config, run_dir.as_posix(), run_dir.is_dir()))
        return training.Outcome(run_dir, 1, 40_000)

    monkeypatch.setattr(training, "train", train)
    run("train", "paper/table1_c", "--data", shapes_folder)
    [(config, folder, is_there)] = started
    assert (folder, is_there) == ("runs/table1_c", True)
    assert config == named_files.with_data(load_config("paper/table1_c"), shapes_folder)


# --- Headers


def header(file):
    """The comment that a file begins with, a line of text each."""
    lines = file.read_text().splitlines()
    return [line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line[0] == "#", lines)]


def commands(file):
    """The `keras-fpn` commands of a header, in words."""
    text = "\n".join(header(file)).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("keras-fpn ")]


@pytest.mark.parametrize("name", ROWS)
def test_a_header_has_the_commands_and_they_are_as_the_command_line_takes_them(name, file_of, run):
    told = commands(file_of(name))
    names = [words[0] for words in told]
    assert names == ["convert", *(["propose", "propose"] if name in TABLE_2 else []), "train"]
    assert told[-1][1] == name and "--data" in told[-1]
    assert ("--four-step" in told[-1]) == (name in TABLE_3 + TABLE_5)
    proposals = [words[words.index("--out") + 1] for words in told if words[0] == "propose"]
    assert [word.split("=")[1] for word in told[-1] if ".proposals=" in word] == proposals
    made = told[0][told[0].index("--out") + 1]
    assert told[-1][told[-1].index("--weights") + 1] == made
    assert made == f"{load_config(name).model.backbone.name}.keras"
    # Nothing is there but the command itself: each gets as far as the first file that it misses.
    missing = {"convert": "resnet", "propose": "runs/table1_", "train": "COCO"}
    for words in told:
        code, _, error = run(*words)
        assert code == 2 and error.startswith(f"error: {missing[words[0]]}") and error.count("\n") == 1, error


@pytest.mark.parametrize("name", ROWS)
def test_a_header_names_its_row_and_the_figures_to_expect(name, file_of):
    text = " ".join(header(file_of(name)))
    title, _, expected = text.partition("Expect")
    assert expected and "not yet measured with this package" in expected
    if name in NEIGHBOURS:
        assert "after" in title and "idea" in title and "The paper has no such row" in expected
        return
    table, _, row = name.removeprefix("paper/").partition("_")
    number = table.removeprefix("table")
    assert title.startswith(f"Table {number}, ") and f"table {number}" in expected
    named = [each.name for each in TABLES[table].rows if each.name in (row, f"{row}_yes", f"{row}_no")]
    for each in named:
        for figure in TABLES[table].row(each).figures:
            assert re.search(rf"\b{figure:.1f}\b", expected), figure
    assert named


@pytest.mark.parametrize("name", TABLE_3 + TABLE_5)
def test_a_row_of_two_networks_or_four_steps_can_be_trained_so(name):
    config = load_config(name)
    four_step.check(config, name)
    rpn = four_step.step_config(config, four_step.STEPS[0], "run").training
    assert (rpn.steps, [round(share * rpn.steps) for share in rpn.milestones]) == (40_000, [30_000])


# --- Every hyper-parameter of the paper (its sections 4 to 6; Detectron where it is silent)


@pytest.mark.parametrize("name", ROWS)
def test_the_hyper_parameters_of_the_paper(name):
    config = load_config(name)
    model, data, schedule = config.model, config.data, config.training
    lengths = {"rpn": (40_000, 30_000), "fast_rcnn": (80_000, 60_000), "faster_rcnn": (80_000, 60_000)}
    steps, drop = lengths.get(model.architecture, (160_000, 120_000) if name.endswith("2x") else (80_000, 60_000))
    rate = 0.03 if model.architecture == "segment_proposals" else 0.02
    assert (schedule.steps, [round(share * schedule.steps) for share in schedule.milestones]) == (steps, [drop])
    assert (schedule.learning_rate, schedule.gamma, schedule.momentum, schedule.weight_decay) == (rate, 0.1, 0.9, 1e-4)
    assert (schedule.warmup_steps, data.batch_size, data.min_sides, data.horizontal_flip) == (0, 16, [800], True)
    assert data.invalid_boxes == "drop"  # annotation 2206849 of train2017 is 1.03 px wide and 0 px high
    assert (model.profile, model.resize.min_side, model.resize.max_side) == ("paper", 800, 1333)
    assert (model.pixels.channel_order, model.backbone.stride_in) == ("BGR", "first_1x1")
    assert model.backbone.name == ("resnet101" if name.endswith("r101") else "resnet50")
    groups = model.groups()
    assert groups["pyramid"].get("channels", 256) == (128 if name in TABLE_6 else 256)
    assert (data.train_proposals, data.test_proposals) == (2000, 1000)
    if "anchors" in groups:
        _check_proposing(model)
    if "box_head" in groups:
        _check_classifying(model, conv5=name in ("paper/table2_a", "paper/table3_a"))


def _check_proposing(model):
    targets = model.anchor_targets
    assert (targets.positive_iou, targets.negative_iou, targets.low_quality_matches) == (0.7, 0.3, True)
    assert (targets.samples_per_image, targets.positive_fraction, model.proposals.nms_threshold) == (256, 0.5, 0.7)
    assert (model.proposals.post_nms_top_k_train, model.proposals.post_nms_top_k_test) == (2000, 1000)


def _check_classifying(model, conv5):
    rois, found = model.roi_targets, model.detections
    assert (rois.samples_per_image, rois.positive_fraction, rois.positive_iou) == (512, 0.25, 0.5)
    assert (found.score_threshold, found.nms_threshold, found.max_detections) == (0.05, 0.5, 100)
    pooling, head = model.roi_pooling, model.box_head
    assert (pooling.method, pooling.canonical_size, pooling.canonical_level) == ("max", 224, 4)
    assert (pooling.output_size, head.name) == ((14, "conv5") if conv5 else (7, "fc"))
    assert conv5 or head.units == 1024


@pytest.mark.parametrize(
    ("rows", "pyramid", "levels"),
    [
        ("table1_a table2_a table3_a", "single_scale", ["C4"]),
        ("table1_b table2_b table3_b", "single_scale", ["C5"]),
        ("table1_c table2_c table3_c table5_r50 table5_r101", "fpn", ["P2", "P3", "P4", "P5", "P6"]),
        ("table1_d table2_d", "bottom_up", ["P2", "P3", "P4", "P5", "P6"]),
        ("table1_e table2_e", "top_down", ["P2", "P3", "P4", "P5", "P6"]),
        ("table1_f table2_f", "finest_level", ["P2"]),
        ("rpn_hypernet", "fusion", ["P3"]),
        ("rpn_ssd", "ssd", ["P4", "P5", "P6", "P7", "P8"]),
        ("table6_5x5 table6_7x7 table6_dual table6_dual_28 table6_dual_28_2x", "fpn", ["P2", "P3", "P4", "P5", "P6"]),
    ],
)
def test_the_features_of_each_row(rows, pyramid, levels):
    for name in rows.split():
        model = load_config(f"paper/{name}").model
        assert (model.pyramid.name, model.pyramid.levels) == (pyramid, levels)
        if "table2" in name or "table3" in name or "table5" in name:
            # P6 is for proposals alone.
            assert model.roi_pooling.levels == [level for level in levels if level != "P6"]
        if name in ("table1_a", "table1_b", "table1_f", "table3_a", "table3_b", "rpn_hypernet", "rpn_ssd"):
            # Five sizes on one map, or one on each of five; ratios are three.
            sizes = [32, 64, 128, 256, 512]
            each = [sizes] if len(levels) == 1 else [[size] for size in sizes]
            assert [model.anchors.sizes[level] for level in levels] == each
            assert model.anchors.ratios == [0.5, 1, 2]


def test_the_rows_of_segments():
    groups = {name.removeprefix("paper/table6_"): load_config(name).model.segments for name in TABLE_6}
    assert {row: (group.kernel_sizes, group.mask_size) for row, group in groups.items()} == {
        "5x5": ([5], 14),
        "7x7": ([7], 14),
        "dual": ([5, 7], 14),
        "dual_28": ([5, 7], 28),
        "dual_28_2x": ([5, 7], 28),
    }
    for group in groups.values():
        assert (group.units, group.canonical_size, group.max_detections) == (512, 32, 1000)
        # 2048 examples of 16 images, one of them positive to three negative; masks weigh ten times the score.
        assert (16 * group.samples_per_image, group.positive_fraction, group.mask_loss_weight) == (2048, 0.25, 10)


# --- What is built, and its training


# One of each kind of model, and the pyramids, which are trained for the next test anyway.
QUICK = (*RPNS, "paper/table2_a", "paper/table6_dual_28")


@pytest.mark.parametrize("name", [row if row in QUICK else pytest.param(row, marks=pytest.mark.slow) for row in ROWS])
def test_two_steps_of_training(name, trained):
    model, history, before = trained(name)
    assert type(model) is {
        "rpn": keras_fpn.RPN,
        "fast_rcnn": keras_fpn.FastRCNN,
        "faster_rcnn": keras_fpn.FasterRCNN,
        "segment_proposals": keras_fpn.SegmentProposals,
    }[load_config(name).model.architecture]
    assert int(model.optimizer.iterations) == 2
    assert set(history) == {"loss", *model.loss_names, *model.recall_names}
    assert all(np.isfinite(values).all() for values in history.values()) and history["loss"][0] > 0
    # Every trained tensor was reached by the loss: none is of no use to its row.
    pairs = zip(model.trainable_variables, before, strict=True)
    assert not [variable.path for variable, old in pairs if np.array_equal(variable.numpy(), old)]


# A row of table 1 on an image of 800 x 1000 px: 15 x 50 x 63, 15 x 25 x 32, 3 x (200 x 250 + 100 x 125 + 50 x 63
# + 25 x 32 + 13 x 16) and 15 x 200 x 250; the paper prints 47k, 12k, 200k and 750k.
ANCHORS = {"a": 47_250, "b": 12_000, "c": 199_974, "d": 199_974, "e": 199_974, "f": 750_000}


@pytest.mark.parametrize("row", ANCHORS)
def test_the_number_of_anchors_that_the_paper_prints(row, trained):
    model = trained(f"paper/table1_{row}")[0]
    assert model.stages[0].count_anchors(800, 1000) == ANCHORS[row]
    # Those that are made on the maps that such an image has.
    shapes = model.pyramid.compute_output_shape(
        {level: model.backbone.compute_output_shape((1, 800, 1000, 3))[level] for level in model.pyramid.input}
    )
    anchors = model.anchors({level: shape[1:3] for level, shape in shapes.items()}, (800, 1000))
    assert sum(len(boxes) for boxes in anchors.values()) == ANCHORS[row]
    assert model.rpn_head.objectness.filters == (15 if row in "abf" else 3)


def test_the_neighbours_have_as_many_anchors_in_a_cell_as_their_maps_ask_for(trained):
    # 15 x 100 x 125 on P3; 3 x (50 x 63 + 25 x 32 + 13 x 16 + 7 x 8 + 4 x 4) on P4 to P8.
    assert trained("paper/rpn_hypernet")[0].stages[0].count_anchors(800, 1000) == 187_500
    assert trained("paper/rpn_ssd")[0].stages[0].count_anchors(800, 1000) == 12_690


@pytest.mark.parametrize("name", RPNS)
def test_an_rpn_on_each_pyramid_proposes_and_comes_back_from_its_file(name, trained, tmp_path):
    model = trained(name)[0]
    inputs = {
        "images": np.random.default_rng(0).uniform(0, 255, (2, 70, 90, 3)).astype(np.float32),
        "image_sizes": np.array([[70, 90], [64, 51]], np.int32),
    }
    found = model.predict(inputs, verbose=0)
    for boxes, scores, number, (height, width) in zip(
        found["boxes"], found["scores"], found["num_detections"], inputs["image_sizes"], strict=True
    ):
        assert 0 < number <= 30 and not boxes[number:].any() and not scores[number:].any()
        assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
        assert (np.diff(scores) <= 0).all() and (scores[:number] > 0).all() and (scores <= 1).all()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    for key, value in again(inputs).items():
        np.testing.assert_allclose(value, found[key], atol=1e-3)
