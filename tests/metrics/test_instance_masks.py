"""AP of masks beside that of boxes: pycocotools' figures as detectron2 takes them, and where they are shown."""

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.evaluation.expectations import resolve
from keras_fpn.metrics import DETECTIONS, INSTANCE_MASKS, Measurement, all_families
from keras_fpn.metrics.table import metrics_table
from keras_fpn.ops import masks
from keras_fpn.reporting.report import write_report

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
