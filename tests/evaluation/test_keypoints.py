"""Metrics of keypoints against direct runs of pycocotools, to the last digit, and what is refused."""

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_fpn.console.errors import UserError
from keras_fpn.data import coco_keypoints
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.metrics import family_of
from keras_fpn.metrics.keypoints import KEYPOINTS

TIPS = ("top", "left", "right")


def make_annotations(names=coco_keypoints.NAMES, seed=0, images=25, **category):
    """Objects of two classes, 20 to 200 px, some crowds, some with nothing labelled, some without an area."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(1, images + 1):
        for _ in range(0 if image % 7 == 0 else rng.integers(1, 6)):
            width, height = np.exp(rng.uniform(np.log(20), np.log(200), 2))
            x, y = rng.uniform(0, 300, 2)
            places = np.round(rng.uniform((x, y), (x + width, y + height), (len(names), 2)), 2)
            v = rng.integers(0, 3, len(names)) * (rng.random() < 0.85)
            keypoints = np.concatenate([places * (v > 0)[:, None], v[:, None]], axis=1)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image, "category_id": int(rng.integers(2, 4)),
                    "bbox": [float(value) for value in (x, y, width, height)], "area": float(width * height * 0.6),
                    "iscrowd": int(rng.random() < 0.08), "keypoints": keypoints.ravel().tolist(),
                    "num_keypoints": int((v > 0).sum()),
                }
            )  # fmt: skip
    categories = [{"id": number, "name": f"c{number}", "keypoints": list(names), **category} for number in (2, 3)]
    return {
        "images": [{"id": image, "height": 500, "width": 500} for image in range(1, images + 1)],
        "annotations": annotations,
        "categories": categories,
    }


def make_results(annotations, seed=1, jitter=0.12):
    """Copies of the objects with noise of several sizes, more than 20 in an image, and false alarms."""
    rng = np.random.default_rng(seed)
    results = []
    for item in annotations["annotations"]:
        for _ in range(rng.integers(0, 12)):
            rows = np.reshape(item["keypoints"], (-1, 3)).copy()
            rows[:, :2] += rng.normal(0, jitter * rng.random(), rows[:, :2].shape) * item["bbox"][2]
            rows[:, 2] = rng.random(len(rows))
            found = {"image_id": item["image_id"], "bbox": item["bbox"], "keypoints": rows.ravel().tolist()}
            category = item["category_id"] if rng.random() < 0.9 else 5 - item["category_id"]
            results.append({**found, "category_id": category, "score": float(rng.normal())})
    return results


def direct_run(annotations, results, sigmas=None):
    """Plain use of pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(annotations)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "keypoints")
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", [0, 1])
def test_the_17_of_coco_are_measured_as_pycocotools_does(seed):
    annotations = make_annotations(seed=seed)
    results = make_results(annotations, seed + 100)
    reference = direct_run(annotations, results)
    metrics = KEYPOINTS.measure(COCOEvaluator(annotations), results)
    assert 0.1 < metrics["keypoints/AP"] < 0.9
    assert [metrics[name] for name in KEYPOINTS.metrics] == list(reference.stats)
    for index, name in enumerate(("c2", "c3")):
        precision = reference.eval["precision"][:, :, index, 0, 0]
        assert metrics[f"keypoints/AP/{name}"] == pytest.approx(precision.mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("sigmas", "expected"), [(0.05, [0.05] * 3), ([0.02, 0.1, 0.07], [0.02, 0.1, 0.07])], ids=["one", "each"]
)
def test_other_keypoints_are_measured_by_the_sigmas_of_their_category(sigmas, expected):
    annotations = make_annotations(TIPS, sigmas=sigmas)
    results = make_results(annotations)
    reference = direct_run(annotations, results, expected)
    metrics = KEYPOINTS.measure(COCOEvaluator(annotations), results)
    assert [metrics[name] for name in KEYPOINTS.metrics] == list(reference.stats)
    assert 0 < metrics["keypoints/AP"] < 1


def test_what_an_annotation_leaves_out_is_filled_in():
    annotations = make_annotations(TIPS, sigmas=0.05)
    results, bare = make_results(annotations), copy.deepcopy(annotations)
    for item in bare["annotations"]:
        del item["num_keypoints"]
        if not any(item["keypoints"]):
            del item["keypoints"]
    measured = [KEYPOINTS.measure(COCOEvaluator(each), results) for each in (annotations, bare)]
    assert measured[0] == measured[1]


def test_perfect_results_have_ap_one_and_none_at_all_has_zero():
    annotations = make_annotations()
    found = [item for item in annotations["annotations"] if item["num_keypoints"] and not item["iscrowd"]]
    perfect = [{**item, "score": 0.9} for item in found]
    evaluator = COCOEvaluator(annotations)
    assert KEYPOINTS.measure(evaluator, perfect)["keypoints/AP"] == 1.0
    assert KEYPOINTS.measure(evaluator, [])["keypoints/AP"] == 0.0
    assert evaluator.precision_recall("keypoints")["mean"]["AP"] == 0.0


def test_matches_go_by_the_places_of_keypoints():
    annotations = make_annotations(images=3)
    item = next(item for item in annotations["annotations"] if item["num_keypoints"] and not item["iscrowd"])
    right = {**item, "score": 0.9, "bbox": [0, 0, 1, 1]}
    far = {**item, "score": 0.8, "keypoints": [value + 300 for value in item["keypoints"]]}
    ((result, found),) = COCOEvaluator(annotations).matches([right, far], kind="keypoints")
    assert (result, found) == (right, item)


def _change(annotations, results, part, value):
    if part == "result":
        results[0]["keypoints"] = value
    elif part == "annotation":
        annotations["annotations"][0]["keypoints"] = value
    else:
        for category in annotations["categories"]:
            category[part] = value


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("sigmas", None, r"nothing says how exactly its 3 keypoints can be placed, .* --set data.keypoint_sigmas=0.05"),
        ("sigmas", [0.1], r'category 2 \(.c2.\) has "sigmas": \[0.1\]; give'),
        ("keypoints", None, 'annotations: no category has "keypoints"'),
        ("annotation", [1, 2, 2], 'annotations: "keypoints" of annotation 1 are not 9 numbers; write x, y, v'),
        ("result", [1.0] * 6, r'"keypoints" of a result of image id \d+ are not 9 finite numbers'),
        ("result", [float("nan")] * 9, r'"keypoints" of a result of image id \d+ are not 9 finite numbers'),
        ("result", None, r'"keypoints" of a result of image id \d+ are not 9 finite numbers'),
    ],
)
def test_what_pycocotools_would_stumble_over_is_one_line(part, value, told):
    annotations = make_annotations(TIPS, images=3, sigmas=0.05)
    results = make_results(annotations)
    _change(annotations, results, part, value)
    with pytest.raises(UserError, match=told) as caught:
        KEYPOINTS.measure(COCOEvaluator(annotations), results)
    assert "\n" not in str(caught.value)


def test_the_figures_are_shown_under_their_family():
    assert family_of("keypoints/AP") is KEYPOINTS and family_of("keypoints/AP/star") is KEYPOINTS
    assert KEYPOINTS.main == "keypoints/AP" and KEYPOINTS.label("keypoints/APm") == "APm"
    assert family_of("AP").name == "detections"
