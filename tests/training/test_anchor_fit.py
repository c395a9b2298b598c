"""Objects held against anchors and levels: exactly, and with settings that help."""

import itertools

import numpy as np
import pytest
import yaml

from keras_fpn.config.loading import load_config
from keras_fpn.data.checks.half_table import table_of_content
from keras_fpn.data.checks.subject import Subject
from keras_fpn.data.sizes import padded_size, resized_size
from keras_fpn.layers.anchors import AnchorGenerator
from keras_fpn.ops import boxes as box_ops
from keras_fpn.ops.levels import roi_levels
from keras_fpn.training.anchor_fit import REACHED, scales_of, unreached_objects

SIZES = ((90, 120), (200, 64), (64, 64))


def _subject(boxes, config, sizes=SIZES):
    """Objects spread over images of some sizes (height, width)."""
    images = [
        {"id": number, "file_name": f"{number}.png", "height": height, "width": width}
        for number, (height, width) in enumerate(sizes)
    ]
    items = [
        {"id": number, "image_id": number % len(sizes), "category_id": 1, "bbox": list(box)}
        for number, box in enumerate(boxes)
    ]
    content = {"images": images, "annotations": items, "categories": [{"id": 1, "name": "one"}]}
    return Subject(table_of_content("train", "x.json", "", content), None, config.model.resize.model_dump())


def _boxes(number, sizes=SIZES, seed=0):
    draw = np.random.default_rng(seed).uniform(size=(number, 4))
    extents = np.array([sizes[index % len(sizes)][::-1] for index in range(number)], float)
    start = draw[:, :2] * 0.8 * extents
    return np.concatenate([start, np.maximum(draw[:, 2:] ** 3 * (extents - start), 1)], 1)


def _generator(config, strides):
    anchors = config.model.groups()["anchors"]
    levels = config.model.pyramid.levels
    sizes = {level: anchors["sizes"][level] for level in levels}
    return AnchorGenerator(**{**anchors, "sizes": sizes}, strides=strides)


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("faster_rcnn_r50_fpn", {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("faster_rcnn_r50_fpn_paper", {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("faster_rcnn_r50_fpn_torchvision", {"P2": 4, "P3": 8, "P4": 16, "P5": 32, "P6": 64}),
        ("faster_rcnn_mobilenet_v3_large_fpn", {"P5": 32, "P6": 32, "P7": 64}),
        ("faster_rcnn_r50_c4", {"C4": 16}),
        ("faster_rcnn_r50_dc5", {"C5": 16}),
    ],
)
def test_the_best_anchor_is_that_of_all_anchors(name, strides):
    """Each cell of each level tried, by the generator of the model."""
    config = load_config(name, ["model.resize.min_side=150", "model.resize.max_side=300"])
    rule = config.model.resize.model_dump()
    boxes = _boxes(45)
    fit = scales_of([_subject(boxes, config)], config).fits["train"]
    generator = _generator(config, strides)
    best, levels = np.zeros(len(boxes)), np.zeros(len(boxes), int)
    for index, (x, y, width, height) in enumerate(boxes):
        size = SIZES[index % len(SIZES)]
        new, canvas = resized_size(*size, rule), padded_size(*size, rule)
        box = np.array([x, y, x + width, y + height]) * np.tile(np.divide(new, size)[::-1], 2)
        shapes = {level: (-(-canvas[0] // stride), -(-canvas[1] // stride)) for level, stride in strides.items()}
        overlaps = {
            level: float(np.max(box_ops.pairwise_iou(box[None].astype(np.float32), anchors)))
            for level, anchors in generator(shapes, canvas).items()
        }
        levels[index] = max(range(len(strides)), key=lambda number: list(overlaps.values())[number])
        best[index] = max(overlaps.values())
    np.testing.assert_allclose(fit.overlaps, best, atol=1e-5)
    assert fit.unreached == (best < REACHED).sum() > 0
    assert sum(fit.best_levels.values()) == len(boxes) == sum(group.objects for group in fit.by_side)
    assert fit.unreached == sum(group.unreached for group in fit.by_ratio)


def test_every_architecture_has_the_strides_that_are_reckoned_with(tiny_model):
    from keras_fpn.training.anchor_fit import anchor_grid

    config = load_config("faster_rcnn_r50_fpn", ["model.backbone.name=resnet18", "model.backbone.width=8"])
    anchors = config.model.groups()["anchors"]
    assert anchor_grid(config, anchors["sizes"], anchors["ratios"]).strides == tiny_model.strides


def test_other_anchors_reach_what_they_promise():
    """The settings that are given, read as a command line has them, reach just as many objects as was said."""
    config = load_config("faster_rcnn_r50_fpn", ["size=100"])
    draw = np.random.default_rng(3)
    sizes, across = [(100, 100)] * 20, draw.uniform(9, 12, 400)
    extents = np.stack([across, across * draw.choice([1, 4], 400)], 1)
    boxes = np.concatenate([draw.uniform(0, 50, (400, 2)), extents], 1)
    subject = _subject(boxes, config, sizes)
    scales = scales_of([subject], config)
    (finding,) = unreached_objects(subject.table, scales.fits["train"])
    assert finding.count == scales.fits["train"].unreached > 360 and finding.detail.endswith(" % of 400")
    assert scales.proposal.unreached < 0.1 and scales.proposal.words.startswith("--set 'model.anchors.sizes={P2: [")
    changed = load_config("faster_rcnn_r50_fpn", ["size=100", *scales.proposal.overrides])
    assert changed.model.anchors.sizes == scales.proposal.sizes == yaml.safe_load(
        scales.proposal.overrides[0].partition("=")[2]
    )
    again = scales_of([subject], changed)
    assert again.fits["train"].share == pytest.approx(scales.proposal.unreached, abs=1e-12)


def test_nothing_is_proposed_where_all_are_reached():
    config = load_config("faster_rcnn_r50_fpn", ["size=100"])
    boxes = [(x, y, 32, 32) for x, y in itertools.product((0, 16, 32), repeat=2)]
    assert scales_of([_subject(boxes, config, [(100, 100)])], config).proposal is None


@pytest.mark.parametrize("name", ["faster_rcnn_r50_fpn", "faster_rcnn_mobilenet_v3_large_fpn", "shapes", "rpn_r50_fpn"])
def test_levels_are_those_of_roi_pooling(name):
    config = load_config(name)
    subject = _subject(_boxes(200), config)
    found = scales_of([subject], config).levels["train"]
    if name == "rpn_r50_fpn":  # pools nothing
        assert found == {}
        return
    pooling, rule = config.model.roi_pooling, config.model.resize.model_dump()
    levels = [int(level[1:]) for level in pooling.levels]
    corners = []
    for index, (x, y, width, height) in enumerate(_boxes(200)):
        size = SIZES[index % len(SIZES)]
        factors = np.tile(np.divide(resized_size(*size, rule), size)[::-1], 2)
        corners.append(np.array([x, y, x + width, y + height]) * factors)
    expected = roi_levels(
        np.array(corners, np.float32), levels[0], levels[-1], pooling.canonical_size, pooling.canonical_level
    )
    assert found == {f"P{level}": int(np.sum(expected == level)) for level in levels}
