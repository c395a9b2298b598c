"""Masks: pasted, encoded, measured and drawn. pycocotools and exactly known shapes say what is right."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_fpn.console.errors import UserError
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.evaluation.expectations import resolve
from keras_fpn.evaluation.measuring import measure
from keras_fpn.inference.images import in_original_pixels
from keras_fpn.inference.results import best_of_each, detections_to_results
from keras_fpn.metrics import DETECTIONS, SEGMENTS, DetectionFamily, Measurement
from keras_fpn.metrics.table import metrics_table
from keras_fpn.ops import masks
from keras_fpn.parts.output_fields import SCORES, WINDOWS, Masks
from keras_fpn.reporting import visualize
from keras_fpn.reporting.report import write_report
from keras_fpn.training.callbacks import COCOEvaluation

HEIGHT, WIDTH = 90, 120


def mask_of(segment):
    return masks.decode(segment)


def disc(side, radius=0.4):
    """[side, side] probabilities: a disc of this radius (of the side) around the middle, soft at its border."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    return 1 / (1 + np.exp((np.hypot(x, y) - radius) * 2 * side))


def pasted_slowly(mask, box, height, width):
    """The same by its definition, pixel by pixel; a centre on the right or lower border belongs to the next box."""
    (x1, y1, x2, y2), bins, pasted = box, len(mask), np.zeros((height, width))
    for row, column in np.ndindex(height, width):
        if not (x1 <= column + 0.5 < x2 and y1 <= row + 0.5 < y2):
            continue
        u, v = (column + 0.5 - x1) / (x2 - x1) * bins - 0.5, (row + 0.5 - y1) / (y2 - y1) * bins - 0.5
        weights = [np.maximum(1 - np.abs(np.clip(place, 0, bins - 1) - np.arange(bins)), 0) for place in (v, u)]
        pasted[row, column] = weights[0] @ mask @ weights[1]
    return pasted


@given(
    st.lists(st.floats(-40, 100), min_size=4, max_size=4, unique=True),
    st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1),
)  # fmt: skip
@example([0.0, 1.5, 0.5, 1.5], 3, 3, 0)  # the centres of pixels lie on all four borders
def test_pasting_interpolates_between_the_centres_of_the_bins(corners, height, width, seed):
    mask = np.random.default_rng(seed).random((5, 5))
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    slow = pasted_slowly(mask, (x1, y1, x2, y2), height, width)
    decided = np.abs(slow - 0.5) > 1e-4
    found = mask_of(masks.paste(mask, (x1, y1, x2, y2), height, width))
    np.testing.assert_array_equal(found[decided], slow[decided] > 0.5)


def test_a_mask_of_ones_is_the_rectangle_of_its_window():
    inside = mask_of(masks.paste(np.ones((14, 14)), (10, 20, 40, 45), HEIGHT, WIDTH))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[20:45, 10:40] = True
    np.testing.assert_array_equal(inside, expected)
    beyond = mask_of(masks.paste(np.ones((14, 14)), (-50, -50, 500, 30.4), HEIGHT, WIDTH))
    assert beyond[:30].all() and not beyond[30:].any()
    for nowhere in ((200, 10, 240, 50), (30, 30, 30, 60), (np.nan, 0, 10, 10)):
        assert not mask_of(masks.paste(np.ones((14, 14)), nowhere, HEIGHT, WIDTH)).any()


@pytest.mark.parametrize(("side", "least"), [(14, 0.985), (28, 0.99)])
def test_a_disc_of_a_few_bins_becomes_the_circle_of_the_polygon(side, least):
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([300 + 128 * np.cos(angles), 220 + 128 * np.sin(angles)], 1).ravel().tolist()
    ground_truth = masks.from_annotation([circle], 480, 640)
    pasted = masks.paste(disc(side), (140, 60, 460, 380), 480, 640)  # the window is 320 px wide: radius 0.4 is 128 px
    assert masks.overlaps([pasted], [ground_truth])[0, 0] > least


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_run_lengths_are_those_of_pycocotools(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) < np.random.default_rng(seed + 1).random()
    segment = masks.encode(mask)
    assert segment["counts"] == coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(mask_of(segment), mask)
    assert masks.areas([segment])[0] == mask.sum()


def test_areas_are_of_as_many_segments_as_there_are():
    segments = [masks.encode(np.arange(600).reshape(20, 30) < number) for number in range(520)]
    np.testing.assert_array_equal(masks.areas(segments), np.arange(520))
    assert masks.areas([]).shape == (0,)


def test_a_polygon_that_pycocotools_has_no_memory_for_is_refused():
    for far in (1e7, -1e12):
        with pytest.raises(ValueError, match=r"has a polygon \[0, 0, .* far outside the image"):
            masks.from_annotation([[0, 0, far, 0, 50, 50]], HEIGHT, WIDTH)
    assert masks.areas([masks.from_annotation([[0, 0, 15 * WIDTH, 0, 0, 15 * WIDTH]], HEIGHT, WIDTH)])[0] > 0


# ------------------------------------------------------------------------------------------------- evaluation


def make_annotations(seed=0, images=12):
    """Random polygons of 6 to 90 px, some of two parts, some crowds by run lengths; images of two sizes, some empty."""
    rng = np.random.default_rng(seed)
    document = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "a"}, {"id": 9, "name": "b"}]}
    for number in range(images):
        height, width = ((HEIGHT, WIDTH), (150, 100))[number % 2]
        document["images"].append({"id": 5 + number, "file_name": f"{number}.png", "height": height, "width": width})
        for index in range(0 if number % 5 == 0 else rng.integers(1, 6)):
            parts = [_polygon(rng, height, width) for _ in range(1 + (index == 2))]
            segment = masks.from_annotation(parts, height, width)
            is_crowd = int(index == 3)
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": 5 + number,
                    "category_id": int(rng.choice([3, 9])),
                    "bbox": masks.bounding_boxes([segment])[0].tolist(),
                    "area": float(masks.areas([segment])[0]),
                    "segmentation": segment if is_crowd else parts,
                    "iscrowd": is_crowd,
                }
            )
    return document


def _polygon(rng, height, width):
    radius = np.exp(rng.uniform(np.log(3), np.log(45)))
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radius + rng.uniform(0, 1, 2) * (width, height)
    return np.clip(points, 0, (width, height)).ravel().tolist()


def make_results(document, seed=1, false_alarms=150):
    """The ground truth moved by a pixel or more, and many segments elsewhere; some images get more than 100."""
    rng, results = np.random.default_rng(seed), []
    sizes = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
    found = [(item["image_id"], item["segmentation"]) for item in document["annotations"] for _ in range(3)]
    for image_id, segmentation in found:
        mask = mask_of(masks.from_annotation(segmentation, *sizes[image_id]))
        results.append((image_id, np.roll(mask, rng.integers(-3, 4, 2), (0, 1))))
    for image_id, size in sizes.items():
        for _ in range(false_alarms if image_id % 2 else 20):
            window = np.concatenate([rng.uniform(-20, 80, 2), rng.uniform(90, 150, 2)])
            results.append((image_id, mask_of(masks.paste(disc(6), window, *size))))
    return [
        {"image_id": image_id, "category_id": 0, "bbox": [0, 0, 1, 1], "score": float(score), "segmentation": segment}
        for (image_id, mask), score in zip(results, rng.permutation(len(results)) / len(results), strict=True)
        for segment in [masks.encode(mask)]
    ]


@pytest.fixture(scope="module")
def scene():
    document = make_annotations()
    return document, make_results(document)


def of_pycocotools(document, results, limit):
    """Average recall of pycocotools by itself: all, small, medium, large."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth, found = COCO(), COCO()
        ground_truth.dataset = copy.deepcopy(document)
        ground_truth.createIndex()
        found = ground_truth.loadRes(
            [result | {"category_id": document["categories"][0]["id"]} for result in copy.deepcopy(results)]
        )
        evaluation = COCOeval(ground_truth, found, "segm")
        evaluation.params.useCats, evaluation.params.maxDets = 0, [1, 10, limit]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[[8, 9, 10, 11]]


def test_average_recall_is_that_of_pycocotools_over_masks(scene):
    document, results = scene
    metrics = SEGMENTS.measure(COCOEvaluator(document), results)
    assert list(metrics) == list(SEGMENTS.metrics)
    for limit in (100, 1000):
        ours = [metrics[f"segments/AR{limit}{area}"] for area in ("", "s", "m", "l")]
        np.testing.assert_allclose(ours, of_pycocotools(document, results, limit), atol=1e-12)
    assert metrics["segments/AR100"] < metrics["segments/AR1000"]
    assert metrics["segments/AR1000l"] == -1  # no mask has 96 x 96 pixels


def test_what_cannot_match_may_be_dropped_batch_by_batch(scene):
    document, results = scene
    evaluator, kept = COCOEvaluator(document), []
    for image in document["images"]:
        kept += SEGMENTS.keep(evaluator, [result for result in results if result["image_id"] == image["id"]])
    assert 0 < len(kept) < len(results) / 5
    expected = SEGMENTS.measure(COCOEvaluator(document), results)
    assert SEGMENTS.measure(evaluator, kept) == SEGMENTS.measure(evaluator, results[::-1]) == expected
    # Precision counts false alarms, with masks or without.
    boxes = [{key: result[key] for key in ("image_id", "bbox", "score")} for result in results]
    assert DETECTIONS.keep(evaluator, boxes) is boxes and DETECTIONS.keep(evaluator, results) is results


class MaskFamily(DetectionFamily):
    name = "segm"
    kind = "segm"
    prefix = "segm/"


def test_average_precision_of_masks_counts_false_alarms_as_pycocotools_does(scene):
    document, results = scene
    classes = [category["id"] for category in document["categories"]]
    results = [result | {"category_id": classes[index % len(classes)]} for index, result in enumerate(results)]
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = copy.deepcopy(document)
        ground_truth.createIndex()
        # Without boxes, whose areas pycocotools would take for those of the masks.
        found = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(copy.deepcopy(found)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    evaluator, family = COCOEvaluator(document), MaskFamily()
    measurement = Measurement(evaluator, {"detections": (DETECTIONS, family)})
    measurement.add({"detections": results})
    metrics = measurement.metrics()
    figures = [metrics[name] for name in family.metrics]
    assert figures == pytest.approx(list(evaluation.stats), abs=1e-12) and 0 < metrics["segm/AP50"] < 1
    assert family.metrics[:2] == ("segm/AP", "segm/AP50") and {"segm/AP/a", "segm/AP/b", "AP/a", "AP50"} <= set(metrics)
    assert family.curves(evaluator)["mean"]["AP"] == pytest.approx(metrics["segm/AP"], abs=1e-9)
    assert DETECTIONS.curves(evaluator)["mean"]["AP"] == pytest.approx(metrics["AP"], abs=1e-9)
    found = [result for result, _ in evaluator.matches(results, kind="segm")]
    assert 0 < len(found) < len(results) and all(result in results for result in found)


def test_results_of_others_may_be_run_lengths_of_any_kind_and_must_be_of_their_images(scene):
    document, results = scene
    evaluator, results = COCOEvaluator(document), results[:9]
    expected = SEGMENTS.measure(evaluator, results)
    assert expected["segments/AR100"] > 0
    for change in (_counted, lambda segment: segment | {"counts": segment["counts"].encode()}):
        changed = [result | {"segmentation": change(result["segmentation"])} for result in results]
        assert SEGMENTS.measure(evaluator, changed) == expected
    segment = results[0]["segmentation"]
    turned, damaged = masks.encode(mask_of(segment).T), segment | {"counts": "PP"}
    for segment, message in ((turned, "is of .* the image of"), (damaged, "has run lengths that do not add up")):
        with pytest.raises(UserError, match=f'"segmentation" of a result of image id [0-9]+ {message}.*; correct it'):
            SEGMENTS.measure(evaluator, [results[0] | {"segmentation": segment}])


def _counted(segment):
    """Run lengths that are not compressed."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask_of(segment).ravel(order="F"), [False]])))
    counts = np.diff(np.concatenate([[0], edges, [np.prod(segment["size"])]]))
    return segment | {"counts": counts.tolist()}


def test_sizes_without_area_are_those_of_the_masks(scene):
    document, results = copy.deepcopy(scene[0]), scene[1]
    for item in document["annotations"]:
        del item["area"]
    assert SEGMENTS.measure(COCOEvaluator(document), results) == SEGMENTS.measure(COCOEvaluator(scene[0]), results)


def test_truth_without_masks_and_results_without_masks_are_refused(scene):
    document, results = copy.deepcopy(scene[0]), scene[1]
    del document["annotations"][2]["segmentation"]
    with pytest.raises(UserError, match='"segmentation" of annotation 3 is missing; masks are needed here'):
        SEGMENTS.measure(COCOEvaluator(document), results)
    with pytest.raises(UserError, match='a result of image id 6 has no run lengths as "segmentation"'):
        SEGMENTS.measure(COCOEvaluator(scene[0]), [{"image_id": 6, "bbox": [0, 0, 1, 1], "score": 1.0}])
    del document["images"][1]["height"]
    with pytest.raises(UserError, match="image 6 has no height and width, which its masks need"):
        SEGMENTS.measure(COCOEvaluator(document), results)


# ------------------------------------------------------------------------------- from a model to all that shows it


class FakeModel:
    """Finds the middle of every image: a disc over the whole image, best, and one over its left upper quarter."""

    class_names, category_ids = ("object",), (0,)
    metric_families = {"detections": (SEGMENTS,)}
    output_fields = (WINDOWS, SCORES, Masks(14))
    object_fields, further_inputs = ("masks",), {}
    settings = {"resize": {"min_side": 96, "max_side": 96}}  # noqa: RUF012 as of a model, not a default

    def check_classes(self, *_):
        pass

    check_fields = check_classes

    def inference(self, inputs):
        count = tf.shape(inputs["images"])[0]
        windows = tf.constant([[0.0, 0, 96, 96], [0, 0, 48, 48]])
        grid = tf.constant(disc(14), tf.float32)
        detections = {"boxes": windows, "scores": [0.9, 0.6], "masks": tf.stack([grid, grid]), "num_detections": 2}
        return {"detections": {name: tf.repeat([value], count, axis=0) for name, value in detections.items()}}


@pytest.fixture(scope="module")
def measured(shapes_folder):
    """(data set, metrics, results, evaluator) of the fake model on the embedded data."""
    from keras_fpn.data import read_coco

    data_set = read_coco(shapes_folder / "annotations" / "instances_val.json", shapes_folder / "val", fields=("masks",))
    return data_set, *measure(FakeModel(), data_set, batch_size=4)


def test_measuring_gives_metrics_and_results_with_masks(measured):
    data_set, metrics, results, evaluator = measured
    assert set(metrics) == set(SEGMENTS.metrics) and len(results) == 2 * len(data_set)
    result = next(result for result in results if result["score"] < 0.7)
    mask = mask_of(result["segmentation"])
    assert mask.sum() == pytest.approx(np.pi * (0.4 * 48) ** 2, rel=0.02)
    assert result["bbox"] == pytest.approx([4.8, 4.8, 38.4, 38.4], abs=1) and result["category"] == "object"
    assert SEGMENTS.measure(evaluator, results) == metrics
    assert len(best_of_each(results, 1)) == len(data_set)
    callback = COCOEvaluation(_dataset(data_set), evaluator)
    callback.set_model(FakeModel())
    callback.on_epoch_end(0, logs := {})
    assert logs == {f"val_{name}": value for name, value in metrics.items() if value != -1}


def _dataset(data_set):
    from keras_fpn.data import load_coco

    return load_coco(data_set, batch_size=4, min_side=96, max_side=96)


def test_figures_of_segments_are_told(measured, tmp_path):
    _, metrics, _, _ = measured
    lines = metrics_table(metrics | {"segments/AR1000": 0.4321}).splitlines()
    assert lines[0].split() == ["segments", "AR100", "AR1000", "AR1000s", "AR1000m", "AR1000l"]
    assert lines[1].split()[1] == "43.2" and len(lines) == 2
    page = write_report(tmp_path / "report.html", title="t", metrics=metrics, history=[]).read_text()
    assert "<h2>Segments</h2>" in page and "<h2>Proposals</h2>" not in page and "AR1000s" in page
    assert resolve([("AR1000", 0.4), ("segments/AR100", 0.3)], ["a"], FakeModel.metric_families) == {
        "segments/AR1000": 0.4,
        "segments/AR100": 0.3,
    }
    with pytest.raises(UserError, match="this model proposes segments without classes; expect segments/AR1000"):
        resolve([("AP", 0.3)], ["a"], FakeModel.metric_families)


def test_windows_go_to_the_original_image_by_the_ratio_of_each_axis():
    """Twice as high, thrice as wide, and partly outside: the window is not clipped before the mask is pasted."""
    detections = {
        "boxes": np.array([[[-10, 5, 30, 25]]], np.float32),
        "scores": np.array([[0.5]]),
        "masks": disc(14)[None, None],
        "num_detections": np.array([1]),
    }
    (result,) = detections_to_results(detections, [4], [(50, 60)], [(100, 180)], FakeModel, FakeModel.output_fields)
    expected = masks.paste(disc(14), (-30, 10, 90, 50), 100, 180)
    assert result["segmentation"] == expected and result["bbox"] == masks.bounding_boxes([expected])[0].tolist()
    rows = {name: value[0] for name, value in detections.items()}
    found = in_original_pixels(rows, np.zeros((100, 180, 3), np.uint8), "a.png", (50, 60), 0.4, FakeModel)
    assert found.further == {"masks": [expected]}
    (written,) = found.to_results(image_id=1)
    assert written["segmentation"] == expected and written["bbox"] == result["bbox"]
    assert in_original_pixels(rows, found.image, "a.png", (50, 60), 0.6, FakeModel).to_results(1) == []


def test_segments_are_drawn_translucent_with_an_outline_and_only_the_distinct_ones():
    image = np.full((600, 800, 3), 200, np.uint8)
    segments = [masks.paste(disc(14), box, 600, 800) for box in ((50, 50, 350, 350), (52, 50, 352, 350))]
    corners = masks.bounding_boxes(segments)
    corners[:, 2:] += corners[:, :2]
    picture = np.asarray(visualize.draw_segments(image, corners, ["object"] * 2, [0.8, 0.9], masks=segments))
    once = np.asarray(visualize.draw_segments(image, corners[1:], ["object"], [0.9], masks=segments[1:]))
    np.testing.assert_array_equal(picture, once)  # the worse of the two, which overlap by 0.98, is not drawn
    color = np.array(visualize.class_color(0))
    np.testing.assert_array_equal(picture[200, 200], np.rint(200 + 0.4 * (color - 200)))
    assert (picture[500, 600] == 200).all()
    on_the_right = picture[200, 300:330]
    assert (on_the_right == color).all(axis=1).any(), "an outline in the colour itself"
    plain = np.asarray(visualize.draw_segments(image, np.zeros((0, 4)), [], [], masks=[]))
    assert (plain == 200).all()


def test_truth_is_drawn_with_its_masks_and_all_of_it():
    image = np.full((600, 600, 3), 200, np.uint8)
    ones = np.ones((2, 56, 56), np.uint8)
    ground_truth = {"boxes": np.array([[100, 100, 400, 400], [100, 100, 380, 400.0]]), "classes": [0, 0], "masks": ones}
    picture = np.asarray(visualize.draw_ground_truth(image, ground_truth, ["thing"], FakeModel.output_fields))
    both = 200 + 0.4 * (np.array(visualize.class_color(0)) - 200)
    both += 0.4 * (np.array(visualize.class_color(1)) - both)
    np.testing.assert_allclose(picture[250, 250], both, atol=1)


@pytest.mark.slow
def test_a_tiny_model_goes_the_whole_road(run, shapes_folder, tmp_path):
    settings = ["model.architecture=segment_proposals", "training.steps=2", "training.steps_per_epoch=2"]
    settings += [
        "training.warmup_steps=1",
        "training.evaluate_every=0",
        "model.segments.units=16",
        "model.segments.max_detections=120",
    ]
    code, out, error = run("train", "tiny", "--data", shapes_folder, "--out", "run", "--set", *settings)
    assert (code, error) == (0, "") and "segments      AR100   AR1000" in out
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"metrics.json", "report.html", "val_detections.jpg", "train_batch.jpg", "model.keras"} <= written
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics) == set(SEGMENTS.metrics)
    best = json.loads((tmp_path / "run" / "results.json").read_text())
    assert len(best) == 6 * 100  # of six images

    code, out, error = run("evaluate", "run", "--json", "all.json", "--expect", f"AR1000={metrics['segments/AR1000']}")
    results = json.loads((tmp_path / "all.json").read_text())
    assert (code, error) == (0, "") and len(results) == 6 * 120
    annotations = json.loads((shapes_folder / "annotations" / "instances_val.json").read_text())
    for limit in (100, 1000):
        figure = of_pycocotools(annotations, results, limit)[0]
        assert metrics[f"segments/AR{limit}"] == pytest.approx(figure, abs=1e-9)

    image = shapes_folder / "val" / "000001.jpg"
    code, out, error = run("detect", "run", image, "--threshold", "0", "--json", "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert (code, error) == (0, "") and "120 object" in out and (tmp_path / "detections" / image.name).is_file()
    assert mask_of(found[0]["segmentation"]).shape == (96, 96) and found[0]["category"] == "object"
