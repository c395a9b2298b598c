"""The ways of suppression that `detections.suppression` can name, against loops in numpy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.layers.class_agnostic_detections import ClassAgnosticDetections
from keras_fpn.layers.dense_suppressions import (
    ClassAgnosticDenseDetections,
    ClassAgnosticPointDetections,
    SoftDenseDetections,
    SoftPointDetections,
)
from keras_fpn.layers.soft_detections import SoftDetections
from keras_fpn.models.settings import resolve

CLASSES, ROIS, MOST = 3, 30, 25
THRESHOLD, NMS, SIGMA = 0.05, 0.4, 0.5


def iou_of(box, others):
    corner, end = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inside = np.clip(end - corner, 0, None).prod(1)
    return inside / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - inside)


FACTORS = {
    "hard": lambda iou: np.where(iou > NMS, 0.0, 1.0),
    "linear": lambda iou: np.where(iou > NMS, 1.0 - iou, 1.0),
    "gaussian": lambda iou: np.exp(-(iou**2) / SIGMA),
}


def suppressed(boxes, scores, kind):
    """`[(score, row), ...]`: the best of what is left, then the rest lowered, and again (figure 2 of the paper)."""
    left, scores, found = list(range(len(boxes))), scores.astype(np.float64).copy(), []
    while left:
        best = max(left, key=lambda row: scores[row])
        if scores[best] <= THRESHOLD:
            break
        found.append((scores[best], best))
        left.remove(best)
        scores[left] *= FACTORS[kind](iou_of(boxes[best], boxes[left]))
    return found


@pytest.fixture
def drawn():
    """Proposals in five heaps, probabilities, no deltas: `(boxes [1, R, 4], scores [1, R, K])`."""
    rng = np.random.default_rng(7)
    heaps = rng.uniform(0, 150, (5, 2))[rng.integers(0, 5, ROIS)]
    corner = heaps + rng.normal(0, 4, (ROIS, 2))
    boxes = np.concatenate([corner, corner + 40 + rng.normal(0, 4, (ROIS, 2))], 1).clip(0, 199)
    return boxes[None].astype(np.float32), rng.dirichlet(np.ones(CLASSES + 1), (1, ROIS)).astype(np.float32)


def detected(layer, boxes, scores):
    arguments = tf.constant([ROIS]), tf.math.log(scores), tf.zeros([1, ROIS, 1, 4]), tf.constant([[200, 200]])
    found = tf.function(layer)(tf.constant(boxes), *arguments)
    count = int(found["num_detections"][0])
    assert not np.asarray(found["scores"])[0, count:].any()
    return [np.asarray(found[name])[0, :count] for name in ("boxes", "scores", "classes")]


def assert_found(found, expected, boxes):
    """`expected`: `[(score, row, class), ...]`."""
    expected = sorted(expected, reverse=True)[:MOST]
    assert 5 < len(expected)
    np.testing.assert_allclose(found[1], [score for score, _, _ in expected], atol=1e-5)
    np.testing.assert_allclose(found[0], boxes[0, [row for _, row, _ in expected]], atol=1e-3)
    np.testing.assert_array_equal(found[2], [label for _, _, label in expected])


@pytest.mark.parametrize("decay", ["linear", "gaussian"])
def test_soft_suppression_is_that_of_the_paper(decay, drawn):
    boxes, scores = drawn
    layer = SoftDetections(CLASSES, decay, SIGMA, nms_threshold=NMS, max_detections=MOST)
    expected = [
        (score, row, label) for label in range(CLASSES)
        for score, row in suppressed(boxes[0], scores[0, :, label], decay)
    ]  # fmt: skip
    hard = sum(len(suppressed(boxes[0], scores[0, :, label], "hard")) for label in range(CLASSES))
    assert len(expected) > hard  # what a box lowers may stay
    assert_found(detected(layer, boxes, scores), expected, boxes)


def test_boxes_may_suppress_those_of_all_classes(drawn):
    boxes, scores = drawn
    layer = ClassAgnosticDetections(CLASSES, nms_threshold=NMS, max_detections=MOST)
    flat = np.repeat(boxes[0], CLASSES, axis=0)
    found = suppressed(flat, scores[0, :, :CLASSES].reshape(-1), "hard")
    expected = [(score, place // CLASSES, place % CLASSES) for score, place in found]
    assert len(expected) < MOST and len({row for _, row, _ in expected}) == len(expected)
    assert_found(detected(layer, boxes, scores), expected, boxes)


def densely_detected(layer, boxes, scores):
    """The same boxes as anchors of two levels that nothing moves, and probabilities that are the layer's scores."""
    scores = tf.constant(scores[..., :CLASSES])
    if isinstance(layer, SoftPointDetections | ClassAgnosticPointDetections):
        root, outwards = tf.square(scores), tf.fill([1, ROIS, 4], 0.5)  # of a cell that the box fills
        given = {"class_logits": tf.math.log(root / (1 - root)), "distances": outwards}
        given["centerness"] = tf.fill([1, ROIS, 1], 50.0)
    else:
        given = {"class_logits": tf.math.log(scores / (1 - scores)), "box_deltas": tf.zeros([1, ROIS, 4])}
    parts = {"P3": slice(0, 12), "P4": slice(12, ROIS)}
    predictions = {name: {level: value[:, rows] for level, rows in parts.items()} for name, value in given.items()}
    anchors = {level: tf.constant(boxes[0, rows]) for level, rows in parts.items()}
    found = tf.function(layer)(predictions, anchors, tf.constant([[200, 200]]), num_classes=CLASSES)
    count = int(found["num_detections"][0])
    return [np.asarray(found[name])[0, :count] for name in ("boxes", "scores", "classes")]


@pytest.mark.parametrize("decay", ["linear", "gaussian"])
@pytest.mark.parametrize("kind", [SoftDenseDetections, SoftPointDetections])
def test_soft_suppression_of_all_anchors_is_that_of_rois(kind, decay, drawn):
    boxes, scores = squares(drawn)
    layer = kind(decay, SIGMA, nms_threshold=NMS, max_detections=MOST)
    expected = [
        (score, row, label) for label in range(CLASSES)
        for score, row in suppressed(boxes[0], scores[0, :, label], decay)
    ]  # fmt: skip
    assert_found(densely_detected(layer, boxes, scores), expected, boxes)


@pytest.mark.parametrize("kind", [ClassAgnosticDenseDetections, ClassAgnosticPointDetections])
def test_boxes_of_all_anchors_may_suppress_those_of_all_classes(kind, drawn):
    boxes, scores = squares(drawn)
    found = suppressed(np.repeat(boxes[0], CLASSES, axis=0), scores[0, :, :CLASSES].reshape(-1), "hard")
    expected = [(score, place // CLASSES, place % CLASSES) for score, place in found]
    assert len({row for _, row, _ in expected}) == len(expected)
    layer = kind(nms_threshold=NMS, max_detections=MOST)
    assert_found(densely_detected(layer, boxes, scores), expected, boxes)


def squares(drawn):
    """The drawn corners with 24 pixels each way, squares as the cells of points are, inside the image."""
    corner = drawn[0][..., :2].clip(0, 175)
    return np.concatenate([corner, corner + 24], axis=-1), drawn[1]


@pytest.mark.parametrize("decay", ["linear", "gaussian"])
def test_nothing_above_the_threshold_and_boxes_that_are_none(decay, drawn):
    boxes, scores = drawn
    layer = SoftDetections(CLASSES, decay)
    unsure = np.broadcast_to(np.float32([0.01, 0.01, 0.01, 0.97]), scores.shape)
    assert len(detected(layer, boxes, unsure)[0]) == 0
    # A pile of the same box: the first stays as it is, and an empty one is dropped.
    boxes = np.broadcast_to(boxes[:, :1], boxes.shape).copy()
    boxes[0, 1, 2:] = boxes[0, 1, :2]
    sure = np.broadcast_to(np.float32([0.9, 0.0, 0.0, 0.1]), scores.shape)
    _, found, _ = detected(layer, boxes, sure)
    expected = [0.9 * np.exp(-number / SIGMA) for number in range(2)] if decay == "gaussian" else [0.9]
    np.testing.assert_allclose(found, expected, atol=1e-5)  # 0.9 exp(-4) is below the threshold


def test_each_is_chosen_by_its_name(tiny_settings, tiny_batch):
    settings = tiny_settings()
    inputs, _ = tiny_batch
    keras.utils.set_random_seed(3)
    many = {"score_threshold": 0.0, "max_detections": 100, "nms_threshold": 0.1}
    model = keras_fpn.FasterRCNN(**settings | {"detections": many})
    kinds = {"per_class": "DetectionLayer", "class_agnostic": "ClassAgnosticDetections"}
    found = {}
    for name in ("per_class", "class_agnostic", "soft_linear", "soft_gaussian"):
        changed = model.with_settings(detections={"suppression": name})
        assert type(changed.detections).__name__ == kinds.get(name, "SoftDetections")
        assert getattr(changed.detections, "decay", name.removeprefix("soft_")) == name.removeprefix("soft_")
        found[name] = changed(inputs)["scores"].numpy()
    assert len({scores.tobytes() for scores in found.values()}) == 4


@pytest.mark.parametrize(("member", "kind"), [("RetinaNet", "Dense"), ("FCOS", "Point")])
def test_dense_members_choose_by_the_same_names(member, kind, tiny_settings):
    alike = {key: tiny_settings()[key] for key in ("num_classes", "backbone", "pyramid")}
    model = getattr(keras_fpn, member)(**alike)
    kinds = {"per_class": f"{kind}DetectionLayer", "class_agnostic": f"ClassAgnostic{kind}Detections"}
    for name in ("per_class", "class_agnostic", "soft_linear", "soft_gaussian"):
        changed = model.with_settings(detections={"suppression": name})
        assert type(changed.detections).__name__ == kinds.get(name, f"Soft{kind}Detections")
        assert getattr(changed.detections, "decay", name.removeprefix("soft_")) == name.removeprefix("soft_")
        assert changed.detections.pre_nms_top_k == 1000


@pytest.mark.parametrize("architecture", ["faster_rcnn", "retinanet", "fcos"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"suppression": "soft"}, "detections.suppression: unknown suppression 'soft'"),
        ({"suppression": "soft_linear", "sigma": 0.3}, "detections.sigma: soft_linear does not read it, only soft_gau"),
        ({"suppression": "soft_gaussian", "sigma": 0.0}, "detections.sigma: input should be greater than 0"),
    ],
)
def test_wrong_settings_are_told_with_their_key(architecture, wrong, message):
    with pytest.raises(UserError) as error:
        resolve(architecture, "detectron2", {"detections": wrong})
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
