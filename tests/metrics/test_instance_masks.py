"""AP of masks beside that of boxes: pycocotools' figures as detectron2 takes them, and where they are shown."""

import contextlib
import copy
import io

import numpy as np
import pytest
import tensorflow as tf
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_fpn.data import load_coco, read_coco
from keras_fpn.evaluation import coco
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.evaluation.expectations import resolve
from keras_fpn.evaluation.measuring import measure
from keras_fpn.metrics import DETECTIONS, INSTANCE_MASKS, Measurement, all_families
from keras_fpn.metrics.table import metrics_table
from keras_fpn.ops import masks
from keras_fpn.parts.mask_fields import InstanceMasks
from keras_fpn.parts.output_fields import STANDARD
from keras_fpn.reporting.report import write_report
from keras_fpn.reporting.visualize import class_color, gallery

SIDE = 200  # pixels of the images
FAMILIES = {"detections": (DETECTIONS, INSTANCE_MASKS)}


def segment(left, top, width, height):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top : top + height, left : left + width] = True
    return masks.encode(mask)


@pytest.fixture(scope="module")
def scene():
    """Objects of all sizes, and results whose boxes are of another range of sizes than their masks."""
    rng, objects, results = np.random.default_rng(3), [], []
    for image_id in range(1, 9):
        for _ in range(4):
            width, height = rng.integers(20, 110, 2).tolist()
            left, top = rng.integers(0, SIDE - 110, 2).tolist()
            category = int(rng.choice([3, 9]))
            found = segment(left, top, width, height)
            known = {"image_id": image_id, "category_id": category}
            objects.append(known | {"bbox": [left, top, width, height], "segmentation": found, "iscrowd": 0})
            for share in rng.uniform(0.4, 1, 3):
                inner = segment(left, top, max(1, round(width * share)), height)
                box = [left, top, float(width + 30 * share), float(height + 20)]
                results.append(known | {"bbox": box, "segmentation": inner, "score": float(rng.random())})
    for number, item in enumerate(objects, start=1):
        item |= {"id": number, "area": float(masks.areas([item["segmentation"]])[0])}
    document = {
        "images": [{"id": number, "height": SIDE, "width": SIDE} for number in range(1, 9)],
        "categories": [{"id": 3, "name": "cup"}, {"id": 9, "name": "plate"}],
        "annotations": objects,
    }
    return document, results


def of_pycocotools(document, results):
    """Its twelve figures of masks."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(document)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats)


def test_figures_are_those_of_results_files_as_detectron2_measures_them(scene):
    """Its files have "bbox" and "segmentation"; before it measures masks it takes the boxes away."""
    document, results = scene
    metrics = INSTANCE_MASKS.measure(COCOEvaluator(document), results)
    without = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
    expected = of_pycocotools(document, without)
    assert [metrics[name] for name in INSTANCE_MASKS.metrics] == pytest.approx(expected, abs=1e-12)
    by_boxes = of_pycocotools(document, results)
    assert np.abs(np.subtract(by_boxes, expected)).max() > 0.01, "the areas of the boxes would give other figures"
    assert metrics["mask/AP/cup"] > 0 and metrics["mask/AP/plate"] > 0


def test_figures_do_not_hang_on_how_many_classes_are_measured_at_a_time(scene, monkeypatch):
    document, results = scene
    together, apart = COCOEvaluator(document), COCOEvaluator(document)
    expected = INSTANCE_MASKS.measure(together, results)
    monkeypatch.setattr(coco, "_TABLES_AT_ONCE", 1)
    runs = []
    monkeypatch.setattr(apart, "_evaluate", lambda *given: runs.append(given[-1]) or together._evaluate(*given))
    assert INSTANCE_MASKS.measure(apart, results[::-1]) == expected and runs == [[3], [9]]
    assert apart.precision_recall("segm") == together.precision_recall("segm")


def test_boxes_say_which_model_is_the_better_and_masks_are_shown_beside(scene, tmp_path):
    document, results = scene
    measurement = Measurement(COCOEvaluator(document), FAMILIES)
    measurement.add({"detections": results})
    metrics = measurement.metrics()
    assert all_families(FAMILIES)[0].main == "AP" and {"AP", "AP/cup", "mask/AP", "mask/AP/cup"} <= set(metrics)
    lines = [line.split() for line in metrics_table(metrics).splitlines()]
    assert ["detections", "AP", "AP50", "AP75", "APs", "APm", "APl"] in lines
    assert ["mask", "AP", "AP50", "AP75", "APs", "APm", "APl"] in lines
    page = write_report(tmp_path / "report.html", title="t", metrics=metrics, history=[]).read_text()
    headline = page[: page.index("<h2>")]
    assert "mask/AP" in headline and "mask/AP50" not in headline
    assert "<h2>Masks</h2>" in page and "10 masks (AR10)" in page and "<h2>Masks of the classes</h2>" in page
    asked = resolve([("AP", 0.4), ("mask/AP", 0.3)], ["cup", "plate"], FAMILIES)
    assert asked == {"AP": 0.4, "mask/AP": 0.3}


class TwoSquares:
    """Stands for a model that finds two squares in every image, each with the mask of its left half."""

    output_fields = (*STANDARD, InstanceMasks(side=4))
    metric_families = FAMILIES
    object_fields, further_inputs = ("masks",), {}
    settings = {"resize": {"min_side": 96, "max_side": 96}}  # noqa: RUF012 as of a model, not a default

    def __init__(self, data_set):
        self.class_names, self.category_ids = data_set.class_names, data_set.category_ids

    def check_classes(self, *_):
        pass

    check_fields = check_classes

    def inference(self, inputs):
        count = tf.shape(inputs["images"])[0]
        half = tf.tile([[1.0, 1.0, 0.0, 0.0]], [4, 1])
        found = {
            "boxes": [[10.0, 10, 50, 50], [60.0, 60, 80, 80]],
            "scores": [0.9, 0.6],
            "classes": [0, 1],
            "masks": tf.stack([half, half]),
            "num_detections": 2,
        }
        return {"detections": {name: tf.repeat([value], count, axis=0) for name, value in found.items()}}


def test_a_model_with_masks_is_measured_and_drawn_beside_its_truth(shapes_folder):
    annotations = shapes_folder / "annotations" / "instances_val.json"
    data_set = read_coco(annotations, shapes_folder / "val", fields=("masks",))
    model = TwoSquares(data_set)
    metrics, results, evaluator = measure(model, data_set, batch_size=4)
    assert metrics["mask/AP"] >= 0 and metrics["AP"] >= 0 and len(results) == 2 * len(data_set)
    assert results[0]["bbox"] == [10, 10, 40, 40], "of the detection, not of its mask"
    assert masks.bounding_boxes([results[0]["segmentation"]])[0].tolist() == [10, 10, 20, 40]
    assert evaluator.precision_recall("segm")["mean"]["AP"] == pytest.approx(metrics["mask/AP"], abs=1e-9)
    dataset = load_coco(data_set, batch_size=2, min_side=96, max_side=96, fields=("masks",), repeat=False)
    ((truth, found),) = gallery(model, dataset, count=1, threshold=0.8)
    ((_, bare),) = gallery(model, dataset, count=1, threshold=0.95)
    truth, found, bare = (np.asarray(picture).astype(int) for picture in (truth, found, bare))
    inputs, targets = next(iter(dataset))
    factor = len(found) // int(inputs["image_sizes"][0, 0])
    inside = np.s_[20 * factor : 40 * factor, 15 * factor : 25 * factor]
    np.testing.assert_allclose(found[inside], 0.6 * bare[inside] + 0.4 * np.array(class_color(0)), atol=1)
    other_half = np.s_[20 * factor : 40 * factor, 34 * factor : 45 * factor]
    np.testing.assert_array_equal(found[other_half], bare[other_half])
    x1, y1, x2, y2 = (targets["boxes"][0, 0].numpy() * factor).round().astype(int)
    color = class_color(int(targets["classes"][0, 0]))
    assert (truth[y1:y2, x1:x2] == color).all(axis=2).sum() > 10, "an outline inside the box"
