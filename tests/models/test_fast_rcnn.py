"""Fast R-CNN on given proposals: against the second stage of Faster R-CNN, and through the commands from end to end."""

import csv
import functools
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_fpn
from keras_fpn.commands import main as cli
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.data import load_coco, read_coco
from keras_fpn.data.proposal_files import read_proposals, write_proposals
from keras_fpn.evaluation import measuring
from keras_fpn.inference import detecting
from keras_fpn.inference.propose import propose
from keras_fpn.models import files as model_files
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.stages.propose import ProposeStage
from keras_fpn.training import datasets
from keras_fpn.training.datasets import with_proposals


@pytest.fixture(scope="module")
def fast_rcnn(tiny_settings, tiny_model):
    """A Fast R-CNN with the weights of the tiny Faster R-CNN. Shared: do not train it."""
    settings = {key: value for key, value in tiny_settings().items() if key not in ("anchors", "rpn", "proposals")}
    settings.pop("anchor_targets")
    model = keras_fpn.FastRCNN(**settings)
    for part in ("backbone", "pyramid", "box_head"):
        getattr(model, part).set_weights(getattr(tiny_model, part).get_weights())
    return model


@pytest.fixture
def given(tiny_model, tiny_batch):
    """The batch with what the tiny Faster R-CNN proposes in it: in inference and in training."""
    inputs, targets = tiny_batch
    features = tiny_model.features(inputs)

    def with_proposals(training):
        stage = tiny_model.stages[0]
        found = stage.propose(stage.score_anchors(features, inputs), inputs, training=training)
        return inputs | {"proposals": found["boxes"], "num_proposals": found["num_proposals"]}

    return with_proposals(False), with_proposals(True), targets


def test_detections_are_those_of_a_faster_rcnn_that_proposed_the_same(fast_rcnn, tiny_model, given):
    inputs, _, _ = given
    expected = tiny_model({key: inputs[key] for key in ("images", "image_sizes")})
    found = fast_rcnn(inputs)
    assert sorted(found) == sorted(expected) and int(tf.reduce_sum(found["num_detections"])) > 0
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=key)


def test_losses_are_those_of_a_faster_rcnn_that_proposed_the_same(fast_rcnn, tiny_model, given):
    _, inputs, targets = given
    seed = tf.constant([5, 0], tf.int64)
    expected, expected_recalls = tiny_model.training_losses(inputs, targets, seed)
    losses, recalls = fast_rcnn.training_losses(inputs, targets, seed)
    assert list(losses) == ["roi_class_loss", "roi_box_loss"] and list(recalls) == ["roi_recall"]
    for name, value in losses.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5)
    np.testing.assert_array_equal(recalls["roi_recall"], expected_recalls["roi_recall"])


def test_padding_does_not_matter_and_fewer_proposals_do(fast_rcnn, given):
    inputs, _, _ = given
    expected = fast_rcnn(inputs)
    more = tf.concat([inputs["proposals"], tf.fill([2, 7, 4], 33.0)], axis=1)
    found = fast_rcnn(inputs | {"proposals": more})
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-5, err_msg=key)
    none = fast_rcnn(inputs | {"num_proposals": np.array([0, 1], np.int32)})
    assert none["num_detections"][0] == 0 and not none["scores"][0].numpy().any()


def test_inputs_without_proposals_are_refused(fast_rcnn, tiny_batch):
    with pytest.raises(UserError, match="Fast R-CNN finds nothing by itself; give .*proposals"):
        fast_rcnn.inference(tiny_batch[0])
    with pytest.raises(UserError, match="it finds objects only among given proposals; keras-fpn evaluate MODEL"):
        keras_fpn.detect(fast_rcnn, np.zeros((64, 64, 3), np.uint8))


def _command(*arguments):
    return cli.main([str(argument) for argument in arguments])


def _validation(shapes_folder):
    annotations = shapes_folder / "annotations" / "instances_val.json"
    return "--annotations", annotations, "--images", shapes_folder / "val"


@pytest.fixture(scope="module")
def rpn(tiny_settings):
    """A tiny RPN that sees the images of 96 px at 120. Shared: do not train it."""
    settings = {key: value for key, value in tiny_settings().items() if key in (*ARCHITECTURES["rpn"].groups, "seed")}
    keras.utils.set_random_seed(5)
    return keras_fpn.RPN(**settings, resize={"min_side": 120})


@pytest.fixture(scope="module")
def proposed(rpn, shapes_folder, tmp_path_factory):
    """A folder with the RPN, and proposals/: what it proposes in all images, through the command."""
    folder = tmp_path_factory.mktemp("proposed")
    rpn.save(folder / "rpn.keras")
    parts = [json.loads((shapes_folder / "annotations" / f"instances_{name}.json").read_text()) for name in SPLITS]
    images = [image | {"file_name": f"{name}/{image['file_name']}"} for name, part in zip(SPLITS, parts, strict=True)
              for image in part["images"]]  # fmt: skip
    (folder / "all.json").write_text(json.dumps(parts[0] | {"images": images, "annotations": []}))
    where = ("--annotations", folder / "all.json", "--images", shapes_folder)
    out = ("--out", folder / "proposals", "--count", 25, "--batch-size", 4)
    assert _command("propose", folder / "rpn.keras", *where, *out) == 0
    return folder


SPLITS = ("train", "val")
SETTINGS = [
    "model.architecture=fast_rcnn", "training.deterministic=false", "training.steps=4", "training.steps_per_epoch=2",
    "training.warmup_steps=1", "data.train_proposals=20", "data.test_proposals=15",
]  # fmt: skip


def _settings(proposals):
    return [*SETTINGS, *(f"data.{name}.proposals={proposals}" for name in SPLITS)]


@pytest.fixture(scope="module")
def run_dir(proposed, shapes_folder, tmp_path_factory):
    """A run of the tiny configuration as a Fast R-CNN, through the command."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = _settings(proposed / "proposals")
    assert _command("train", "tiny", "--data", shapes_folder, "--out", folder, "--set", *settings) == 0
    return folder


def test_propose_writes_what_the_model_proposes_in_original_pixels(proposed, rpn, shapes_folder):
    data_set = read_coco(proposed / "all.json", shapes_folder)
    given = read_proposals(proposed / "proposals")
    assert (given.about["annotations"], given.about["model"]) == (data_set.annotations, str(proposed / "rpn.keras"))
    assert given.image_ids.tolist() == [record.image_id for record in data_set.records]
    assert np.diff(given.ends, prepend=0).max() == 25  # the model keeps 40 of an image: --count
    boxes = np.concatenate([given.boxes_of(row) for row in range(len(given.image_ids))])
    assert boxes.min() >= 0 and boxes.max() <= 96
    # The same by hand for the first image.
    image = np.asarray(keras.utils.load_img(data_set.records[0].path))
    batch = detecting.batch([image], rpn.settings["resize"])
    assert batch["image_sizes"].numpy().tolist() == [[120, 120]]
    stage = rpn.stages[0]
    expected = stage.propose(stage.score_anchors(rpn.features(batch), batch), batch, training=True)
    count = given.ends[0]
    np.testing.assert_allclose(given.boxes_of(0)[:count], expected["boxes"][0, :count] * 96 / 120, atol=1e-3)
    logits = expected["scores"][0, :count].numpy()
    np.testing.assert_allclose(given.scores[:count], 1 / (1 + np.exp(-logits)), atol=1e-5)


@pytest.mark.slow
def test_a_run_is_measured_and_leaves_its_folder(run_dir, proposed):
    with (run_dir / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["step"]) for row in rows] == [2, 4]
    assert {"roi_class_loss", "roi_box_loss", "roi_recall", "val_AP"} <= set(rows[0])
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert "AP" in metrics and not any(name.startswith("proposals/") for name in metrics)
    assert max(float(row["val_AP"]) for row in rows) == pytest.approx(metrics["AP"], abs=1e-6)
    config = load_config(run_dir / "config.yaml")
    assert config.data.train.proposals == str(proposed / "proposals") and config.data.test_proposals == 15
    assert "Fast R-CNN on given proposals" in (run_dir / "report.html").read_text()
    # What a resumed run goes on with.
    train_set, val_set, _ = datasets.read_data(config)
    assert (train_set.proposals.max_proposals, val_set.proposals.max_proposals) == (20, 15)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "is_named", "most"), [("", False, 15), ("", True, 15), ("model.keras", True, 1000)])
def test_evaluate_takes_its_own_proposals_or_those_named(
    model, is_named, most, run_dir, proposed, shapes_folder, monkeypatch
):
    seen = []

    def measure(model, data_set, **kwargs):
        seen.append((data_set.proposals.given.source, data_set.proposals.max_proposals, len(data_set)))
        return {"AP": 0.5}, [], None

    monkeypatch.setattr(measuring, "measure", measure)
    named = (*_validation(shapes_folder), "--proposals", proposed / "proposals") if is_named else ()
    assert _command("evaluate", run_dir / model, *named) == 0
    assert seen == [(str(proposed / "proposals"), most, 6)]  # a run says how many of them it is measured on


def test_what_is_wrong_is_told_in_one_line(run, fast_rcnn, proposed, shapes_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "load_model", functools.cache(model_files.load_model))
    good = proposed / "proposals"
    bad = shutil.copytree(good, tmp_path / "bad")
    with open(bad / "boxes.tfrecord", "r+b") as file:
        file.seek(12 + 3 * 16)
        file.write(np.full(4, np.nan, np.float32).tobytes())
    write_proposals("others", [(5_000_000, [[0, 0, 8, 8]], [0.5])], {})
    where, model, own = _validation(shapes_folder), proposed / "rpn.keras", proposed / "model.keras"
    fast_rcnn.save(own)
    train = ("train", "tiny", "--data", shapes_folder, "--out", "new/run", "--set")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    for command, message in (
        ((*train, *_settings(good), f"data.train.proposals={bad}"), "proposal 3 [nan, nan, nan, nan] is not finite"),
        ((*train, *_settings("others")), "others: proposals of other images"),
        ((*train, *_settings(good)[:-1]), "data.val.proposals is not set, and Fast R-CNN needs proposals; give --set"),
        (
            (*train, *_settings(good), "data.canvas=[64, 64]", "data.scale_jitter=[0.5, 2]"),
            "scale_jitter crops images, and given proposals are of whole ones",
        ),
        (("evaluate", own, *where, "--proposals", "others"), "others: proposals of other images"),
        (("evaluate", own, *where), "Fast R-CNN on given proposals needs proposals; give --proposals DIR"),
        (("evaluate", model, *where, "--proposals", good), "finds boxes itself (Region proposal network)"),
        (("detect", own, shapes_folder / "val"), "it finds objects only among given proposals"),
        (("propose", own, *where, "--out", "new"), "model.keras: Fast R-CNN on given proposals: it proposes no boxes"),
        (("propose", model, *where, "--out", "mine"), "mine: exists already and is not empty"),
        (("propose", model, *where, "--out", "mine/notes.txt"), "is a file; give the name of a folder"),
        (("propose", model, *where), "--out"),
    ):
        code, _, error = run(*command)
        assert (code, error.count("\n")) == (2, 1) and message in error, (command, error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "mine", "others"]


class _Broken(ProposeStage):
    """In place of an RPN that diverged: the boxes it is given, for every image; a model of this stage alone."""

    title, settings = "an RPN", {"resize": {"min_side": 96, "max_side": 96}}

    def __init__(self, boxes):
        self.boxes = tf.constant(boxes, tf.float32)[None]
        self.stages = (self,)

    def score_anchors(self, features, inputs):
        return None

    def features(self, inputs):
        return inputs

    def propose(self, scored, inputs, training):
        assert training
        shape = tf.shape(self.boxes)
        return {"boxes": self.boxes, "scores": tf.zeros(shape[:2]), "num_proposals": shape[1:2]}


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (np.zeros((0, 4)), "the model proposes nothing in any of the 6 images"),
        ([[5, 5, 5, 9]], "the model proposes nothing in any of the 6 images"),
        ([[1, 1, np.inf, 9]], r"val/000001.jpg: image \d+: .*proposals are not finite"),
    ],
)
def test_a_model_that_diverged_leaves_no_proposals(boxes, message, shapes_folder, tmp_path):
    data_set = read_coco(*_validation(shapes_folder)[1::2])
    with pytest.raises(UserError, match=message):
        propose(_Broken(boxes), data_set, tmp_path / "new" / "proposals")
    assert not list(tmp_path.iterdir())


def test_an_image_without_proposals_is_an_answer(shapes_folder, tmp_path):
    """A model that finds something in bright images alone: five of the six are dark."""
    annotations, images = _validation(shapes_folder)[1::2]
    data_set = read_coco(annotations, images)
    brightest = max(float(np.asarray(Image.open(record.path)).mean()) for record in data_set.records)

    class Timid(_Broken):
        def propose(self, scored, inputs, training):
            found = super().propose(scored, inputs, training)
            is_bright = tf.reduce_mean(tf.cast(inputs["images"], tf.float32)) >= brightest - 1e-3
            return found | {"num_proposals": tf.where(is_bright, found["num_proposals"], 0)}

    assert propose(Timid([[1, 2, 30, 40]]), data_set, tmp_path / "some") == (6, 1)
    given = with_proposals(data_set, tmp_path / "some", 5)
    batches = list(load_coco(given, batch_size=1, min_side=96, max_side=96))
    assert sorted(int(inputs["num_proposals"][0]) for inputs, _ in batches) == [0, 0, 0, 0, 0, 1]
    assert {inputs["proposals"].shape[1:] for inputs, _ in batches} == {(5, 4)}
