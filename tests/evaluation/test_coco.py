"""COCO metrics: our evaluator against direct runs of pycocotools, and what it must refuse."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from keras_fpn.console.errors import UserError
from keras_fpn.evaluation import coco as evaluation_of_coco
from keras_fpn.evaluation.coco import COCOEvaluator, metrics_to_json
from keras_fpn.inference.results import (
    best_of_each,
    compile_inference,
    detections_to_results,
    predict_dataset,
    proposals_to_results,
)
from keras_fpn.metrics import DETECTIONS, PROPOSALS, MoreDetectionsFamily
from keras_fpn.parts.classes import numbered
from keras_fpn.parts.output_fields import STANDARD

CATEGORY_IDS = [3, 7, 90]  # with gaps, and without 1


def make_annotations(seed=0, images=30, crowds=True):
    """Random instances: image ids with gaps, some images empty, sizes 5..200 px, some crowds."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(images):
        for _ in range(0 if image % 7 == 0 else rng.integers(1, 9)):
            width, height = np.exp(rng.uniform(np.log(5), np.log(200), 2))
            x, y = rng.uniform(0, 300, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 + 3 * image,
                    "category_id": int(rng.choice(CATEGORY_IDS)),
                    "bbox": [float(value) for value in (x, y, width, height)],
                    "area": float(width * height * rng.uniform(0.6, 1.0)),
                    "iscrowd": int(crowds and rng.random() < 0.1),
                }
            )
    return {
        "info": {},
        "images": [
            {"id": 10 + 3 * image, "file_name": f"{image}.jpg", "height": 500, "width": 500}
            for image in range(images)
        ],
        "annotations": annotations,
        "categories": [{"id": key, "name": f"name{key}"} for key in reversed(CATEGORY_IDS)],
    }


def make_results(annotations, seed=1, false_alarms=12, jitter=0.08):
    """Noisy copies of the ground truth plus random boxes, with distinct scores."""
    rng = np.random.default_rng(seed)
    results = []
    for ground_truth in annotations["annotations"]:
        for _ in range(rng.integers(0, 4)):
            noise = rng.normal(0, jitter, 4) * ground_truth["bbox"][2]
            box = np.maximum(np.array(ground_truth["bbox"]) + noise, 1.0)
            category = ground_truth["category_id"] if rng.random() < 0.8 else int(rng.choice(CATEGORY_IDS))
            results.append((ground_truth["image_id"], category, box))
    for image in annotations["images"]:
        for _ in range(false_alarms):
            results.append((image["id"], int(rng.choice(CATEGORY_IDS)), rng.uniform(1, 200, 4)))
    return [
        {"image_id": image, "category_id": category, "bbox": box.tolist(), "score": float(rng.normal())}
        for image, category, box in results
    ]


def perfect_results(annotations):
    return [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}
        for a in annotations["annotations"]
    ]


def direct_run(annotations, results, use_categories=1, max_detections=(1, 10, 100)):
    """Plain use of pycocotools: the reference for every number here."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = copy.deepcopy(annotations)
        ground_truth.createIndex()
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(copy.deepcopy(results)), "bbox")
        evaluation.params.useCats = use_categories
        evaluation.params.maxDets = list(max_detections)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", [0, 1])
def test_detections_equal_pycocotools(seed):
    annotations = make_annotations(seed)
    results = make_results(annotations, seed + 100)
    metrics = DETECTIONS.measure(COCOEvaluator(annotations), results)
    reference = direct_run(annotations, results)
    assert [metrics[name] for name in DETECTIONS.metrics] == pytest.approx(list(reference.stats), abs=1e-9)
    for index, category_id in enumerate(sorted(CATEGORY_IDS)):
        precision = reference.eval["precision"][:, :, index, 0, 2]
        assert metrics[f"AP/name{category_id}"] == pytest.approx(precision.mean(), abs=1e-9)


@pytest.mark.parametrize("images_at_once", [1, 5, 500])
@pytest.mark.parametrize("seed", [0, 1])
def test_proposals_equal_pycocotools_without_categories(seed, images_at_once, monkeypatch):
    """Some images at a time, of some of which nothing is annotated, as pycocotools measures all of them at once."""
    monkeypatch.setattr(evaluation_of_coco, "_IMAGES_AT_ONCE", images_at_once)
    annotations = make_annotations(seed, images=12)
    # More than 100 an image, so that the two limits differ.
    results = make_results(annotations, seed + 50, false_alarms=130)
    metrics = PROPOSALS.measure(COCOEvaluator(annotations), results)
    reference = direct_run(annotations, results, use_categories=0, max_detections=(1, 100, 1000))
    expected = reference.stats[7:12]  # AR100, AR1000, AR1000 s m l
    names = ["AR100", "AR1000", "AR1000s", "AR1000m", "AR1000l"]
    assert [metrics[f"proposals/{name}"] for name in names] == pytest.approx(list(expected), abs=1e-9)
    small = reference.eval["recall"][:, 0, 1, 1]
    assert metrics["proposals/AR100s"] == pytest.approx(small[small > -1].mean(), abs=1e-9)
    assert set(metrics) == set(PROPOSALS.metrics)
    assert metrics["proposals/AR100"] < metrics["proposals/AR1000"]


@pytest.mark.parametrize("batch", [1, 5])
def test_proposals_that_meet_no_object_are_not_kept_and_change_no_digit(batch):
    annotations = make_annotations(3, images=12)
    results = make_results(annotations, 60, false_alarms=130)
    evaluator, kept = COCOEvaluator(annotations), []
    image_ids = evaluator.image_ids
    for start in range(0, len(image_ids), batch):
        of_batch = [one for one in results if one["image_id"] in image_ids[start : start + batch]]
        kept += PROPOSALS.keep(evaluator, of_batch)
    assert 0 < len(kept) < 0.2 * len(results)
    assert PROPOSALS.measure(evaluator, kept) == PROPOSALS.measure(evaluator, results)
    with pytest.raises(UserError, match="the results name image id 99, which is not among its 12 images"):
        PROPOSALS.keep(evaluator, [results[0] | {"image_id": 99}])


@pytest.mark.parametrize("limit", [150, 1000])
def test_more_detections_than_those_of_coco_equal_pycocotools(limit):
    annotations = make_annotations(4)
    results = make_results(annotations, 70, false_alarms=1000)
    measured = MoreDetectionsFamily(limit).measure(COCOEvaluator(annotations), results)
    reference = direct_run(annotations, results, max_detections=(1, 10, limit)).eval
    for name, figures in ((f"AP@{limit}", reference["precision"]), (f"AP50@{limit}", reference["precision"][:1])):
        figures = figures[:, :, :, 0, 2]
        assert measured[name] == pytest.approx(figures[figures > -1].mean(), abs=1e-9)
    recall = reference["recall"][:, :, 0, 2]
    assert measured[f"AR@{limit}"] == pytest.approx(recall[recall > -1].mean(), abs=1e-9)


def test_an_image_of_250_objects_needs_more_than_100_detections():
    boxes = [[4.5 * (number % 20), 4.5 * (number // 20), 4, 4] for number in range(250)]
    annotations = {
        "images": [{"id": 1, "height": 64, "width": 96}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [{"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)],
    }
    evaluator, results = COCOEvaluator(annotations), perfect_results(annotations)
    assert DETECTIONS.measure(evaluator, results)["AP"] < 0.45  # 100 of 250
    assert MoreDetectionsFamily(300).measure(evaluator, results)["AP@300"] == 1.0


def test_proposals_need_no_category_of_the_data_set():
    annotations = make_annotations()
    results = [result | {"category_id": 1} for result in perfect_results(annotations)]
    assert PROPOSALS.measure(COCOEvaluator(annotations), results)["proposals/AR100"] == 1.0


def test_order_of_results_changes_nothing_even_with_equal_scores():
    annotations = make_annotations()
    results = [r | {"score": round(r["score"])} for r in make_results(annotations)]
    evaluator = COCOEvaluator(annotations)
    first = DETECTIONS.measure(evaluator, results), PROPOSALS.measure(evaluator, results)
    rng = np.random.default_rng(0)
    for _ in range(3):
        rng.shuffle(results)
        assert (DETECTIONS.measure(evaluator, results), PROPOSALS.measure(evaluator, results)) == first


def test_perfect_detector_has_ap_one():
    annotations = make_annotations()
    metrics = DETECTIONS.measure(COCOEvaluator(annotations), perfect_results(annotations))
    assert {metrics[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "APl")} == {1.0}


def test_annotation_ids_from_zero_and_repeated_ids_do_not_cost_precision():
    # pycocotools takes a match with annotation 0 for no match, and drops all but one of equal ids.
    annotations = make_annotations()
    for annotation in annotations["annotations"]:
        annotation["id"] = 0
    assert DETECTIONS.measure(COCOEvaluator(annotations), perfect_results(annotations))["AP"] == 1.0


def test_optional_keys_may_be_absent():
    annotations = make_annotations(crowds=False)
    del annotations["info"]
    for annotation in annotations["annotations"]:
        del annotation["area"], annotation["iscrowd"], annotation["id"]
    assert DETECTIONS.measure(COCOEvaluator(annotations), perfect_results(annotations))["AP"] == 1.0


def test_caller_keeps_annotations_and_results_unchanged():
    annotations = make_annotations()
    results = make_results(annotations)
    before = copy.deepcopy((annotations, results))
    evaluator = COCOEvaluator(annotations)
    DETECTIONS.measure(evaluator, results)
    PROPOSALS.measure(evaluator, results)
    assert (annotations, results) == before


def test_crowds_are_neither_missed_nor_false_alarms():
    annotations = make_annotations(images=8)
    for annotation in annotations["annotations"][::2]:
        annotation["iscrowd"] = 1
    metrics = DETECTIONS.measure(COCOEvaluator(annotations), perfect_results(annotations))
    assert metrics["AP"] == 1.0 and metrics["AR100"] == 1.0


def test_no_results_is_zero_and_undefined_stays_undefined():
    annotations = make_annotations()
    annotations["annotations"] = [a for a in annotations["annotations"] if a["area"] < 32**2]
    evaluator = COCOEvaluator(annotations)
    metrics = DETECTIONS.measure(evaluator, []) | PROPOSALS.measure(evaluator, [])
    assert [metrics[name] for name in ("AP", "AP50", "AR100", "APs", "proposals/AR1000s")] == [0.0] * 5
    assert metrics["APl"] == -1 and metrics["proposals/AR100l"] == -1
    written = json.loads(json.dumps(metrics_to_json(metrics)))
    assert written["APl"] is None and written["AP"] == 0.0


def test_results_without_any_object_are_undefined():
    annotations = make_annotations() | {"annotations": []}
    metrics = DETECTIONS.measure(
        COCOEvaluator(annotations), [{"image_id": 10, "category_id": 3, "bbox": [0, 0, 5, 5], "score": 1}]
    )
    assert metrics["AP"] == -1


def test_selected_images_equal_a_smaller_annotation_file():
    annotations = make_annotations()
    results = make_results(annotations)
    chosen = [image["id"] for image in annotations["images"]][3:14]
    smaller = dict(annotations)
    smaller["images"] = [image for image in annotations["images"] if image["id"] in chosen]
    smaller["annotations"] = [a for a in annotations["annotations"] if a["image_id"] in chosen]
    kept = [result for result in results if result["image_id"] in chosen]
    whole, part = COCOEvaluator(annotations), COCOEvaluator(smaller)
    assert DETECTIONS.measure(whole, kept, image_ids=chosen) == DETECTIONS.measure(part, kept)
    assert PROPOSALS.measure(whole, kept, image_ids=chosen) == PROPOSALS.measure(part, kept)
    with pytest.raises(UserError, match="image_ids leaves out"):
        DETECTIONS.measure(whole, results, image_ids=chosen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 11}, "image id 11.*30 images"),
        ({"category_id": 1}, "category id 1 .*3, 7, 90"),
        ({"score": float("nan")}, "score is nan"),
        ({"bbox": [1, 2, float("inf"), 4]}, "four finite numbers"),
        ({"bbox": [1, 2, -3, 4]}, "negative size"),
    ],
)
def test_bad_results_are_refused_by_name(change, message):
    annotations = make_annotations()
    results = make_results(annotations)
    results[5] |= change
    with pytest.raises(UserError, match=message):
        DETECTIONS.measure(COCOEvaluator(annotations), results)
    if "category_id" not in change:
        with pytest.raises(UserError, match=message):
            PROPOSALS.measure(COCOEvaluator(annotations), results)


def test_bad_annotation_files_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="absent.json: there is no such annotation file"):
        COCOEvaluator(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UserError, match="broken.json: not a whole JSON file"):
        COCOEvaluator(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError, match="list.json: holds a list"):
        COCOEvaluator(tmp_path / "list.json")
    annotations = make_annotations()
    annotations["annotations"][4]["category_id"] = 5
    (tmp_path / "unknown.json").write_text(json.dumps(annotations))
    with pytest.raises(UserError, match="unknown.json: annotation 5: category id 5"):
        COCOEvaluator(tmp_path / "unknown.json")


@pytest.mark.parametrize("area", ["abc", [1], float("nan"), -1, True])
def test_an_area_that_is_none_is_refused(area):
    annotations = make_annotations()
    annotations["annotations"][3]["area"] = area
    with pytest.raises(UserError, match="annotation 4: area"):
        COCOEvaluator(annotations)


def test_annotations_can_be_left_out():
    annotations = make_annotations()
    results = make_results(annotations)
    broken = [{**annotations["annotations"][0], "id": 901, "bbox": [1, float("nan"), 3, 3]}]
    broken += [{**annotations["annotations"][0], "id": 902, "bbox": [5, 5, -3, 3]}]
    more = {**annotations, "annotations": annotations["annotations"] + broken}
    with pytest.raises(UserError, match="annotation 901"):
        COCOEvaluator(more)
    left = COCOEvaluator(more, leave_out=(901, 902))
    assert DETECTIONS.measure(left, results) == DETECTIONS.measure(COCOEvaluator(annotations), results)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_in_any_unicode(tmp_path, encoding):
    annotations = make_annotations()
    (tmp_path / "a.json").write_text(json.dumps(annotations), encoding=encoding)
    assert COCOEvaluator(tmp_path / "a.json").image_ids == COCOEvaluator(annotations).image_ids


def test_path_and_dict_agree_and_nothing_is_printed(tmp_path, capsys):
    annotations = make_annotations()
    results = make_results(annotations)
    (tmp_path / "instances.json").write_text(json.dumps(annotations))
    from_path = DETECTIONS.measure(COCOEvaluator(str(tmp_path / "instances.json")), results)
    assert from_path == DETECTIONS.measure(COCOEvaluator(annotations), results)
    assert capsys.readouterr().out == ""


def test_precision_recall_curves_average_to_the_metrics():
    annotations = make_annotations()
    annotations["categories"].append({"id": 4, "name": "never seen"})
    evaluator = COCOEvaluator(annotations)
    with pytest.raises(ValueError, match="before precision_recall"):
        evaluator.precision_recall()
    metrics = DETECTIONS.measure(evaluator, make_results(annotations))
    curves = evaluator.precision_recall()
    assert len(curves["recall"]) == 101 and "never seen" not in curves["classes"]
    assert curves["mean"]["AP"] == pytest.approx(metrics["AP"], abs=1e-9)
    assert np.mean(curves["mean"]["precision50"]) == pytest.approx(metrics["AP50"], abs=1e-9)
    assert curves["classes"]["name7"]["AP"] == pytest.approx(metrics["AP/name7"], abs=1e-9)
    assert 0 < curves["classes"]["name7"]["best_f1"] <= 1
    json.dumps(curves)


def test_matches_are_those_that_pycocotools_counts_as_right():
    annotations = make_annotations()
    for annotation in annotations["annotations"]:
        annotation["colour"] = annotation["id"] % 5
    results = make_results(annotations)
    pairs = COCOEvaluator(annotations).matches(results)
    evaluation, expected = direct_run(annotations, results), set()
    for group in filter(None, evaluation.evalImgs):
        if group["aRng"] == evaluation.params.areaRng[0]:
            found = zip(group["dtIds"], group["dtMatches"][0], group["dtIgnore"][0], strict=True)
            expected |= {(detection, match) for detection, match, is_ignored in found if match and not is_ignored}
    # pycocotools numbers the results from 1.
    assert {(results.index(result) + 1, entry["id"]) for result, entry in pairs} == expected and expected
    assert all(entry is annotations["annotations"][entry["id"] - 1] for _, entry in pairs)
    assert not any(entry["iscrowd"] for _, entry in pairs)


def test_annotations_of_an_image_are_the_entries_of_the_file():
    annotations = make_annotations()
    annotations["annotations"][5]["colour"] = "red"
    image_id, left_out = annotations["annotations"][5]["image_id"], annotations["annotations"][6]["id"]
    entries = [a for a in annotations["annotations"] if a["image_id"] == image_id and a["id"] != left_out]
    evaluator = COCOEvaluator(annotations, leave_out=[left_out])
    assert evaluator.annotations_of(image_id) == entries and any(entry.get("colour") == "red" for entry in entries)
    assert evaluator.annotations_of(10) == []  # an image without any


def test_equal_class_names_stay_apart():
    annotations = make_annotations()
    for category in annotations["categories"]:
        category["name"] = "cup"
    metrics = DETECTIONS.measure(COCOEvaluator(annotations), perfect_results(annotations))
    assert {"AP/cup (3)", "AP/cup (7)", "AP/cup (90)"} <= set(metrics)


def test_boxes_are_scaled_back_by_the_ratio_of_each_axis():
    # 480 x 640 -> 800 x 1067 (reference 6, spare checks): the axes have ratios 0.6 and 640 / 1067.
    detections = {
        "boxes": np.array([[[106.7, 80.0, 1067.0, 900.0], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.5, 0.0]], np.float32),
        "classes": np.array([[1, -1]]),
        "num_detections": np.array([1]),
    }
    (result,) = detections_to_results(
        detections, np.array([42]), [[800, 1067]], [[480, 640]], numbered(2, ["a", "b"], [3, 7]), file_names=["x.jpg"]
    )
    assert result["bbox"] == pytest.approx([64.0, 48.0, 576.0, 432.0], abs=1e-4)  # clipped at 480
    assert list(result) == ["file_name", "image_id", "category_id", "category", "bbox", "score"]
    assert (result["image_id"], result["category_id"], result["category"]) == (42, 7, "b")
    json.dumps(result)


def test_proposals_to_results_keeps_the_valid_rows_in_order():
    proposals = {
        "boxes": np.tile(np.array([10.0, 20, 30, 60], np.float32), (2, 3, 1)),
        "scores": np.array([[3.0, -1, 0], [2.0, 0, 0]], np.float32),
        "num_proposals": np.array([2, 1]),
    }
    results = proposals_to_results(proposals, [5, 6], [[100, 100]] * 2, [[200, 50]] * 2)
    assert [(r["image_id"], r["score"]) for r in results] == [(5, 3.0), (5, -1.0), (6, 2.0)]
    assert results[0]["bbox"] == [5.0, 40.0, 10.0, 80.0]


class TruthTellingModel:
    """A stand-in for a detector: the pixel value of an image is its index in a list of boxes."""

    category_ids = CATEGORY_IDS
    output_fields = STANDARD
    class_names = ["a", "b", "c"]

    def __init__(self, boxes, classes):
        self.boxes, self.classes = tf.constant(boxes, tf.float32), tf.constant(classes, tf.int32)
        self.traces = 0

    def inference(self, inputs):
        self.traces += 1
        index = tf.cast(inputs["images"][:, 0, 0, 0], tf.int32)
        boxes = tf.gather(self.boxes, index)[:, None]
        ones = tf.ones_like(boxes[..., 0])
        count = tf.ones_like(index)
        return {
            "detections": {
                "boxes": boxes,
                "scores": ones,
                "classes": tf.gather(self.classes, index)[:, None],
                "num_detections": count,
            },
            "proposals": {"boxes": boxes, "scores": ones, "num_proposals": count},
        }


@pytest.fixture
def ground_truth_telling():
    """(model, annotations, dataset of a batch size): 5 images, shown at half and a third of their size."""
    rng = np.random.default_rng(3)
    corners = rng.uniform(2, 18, (5, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 10, (5, 2))], axis=1)
    classes = rng.integers(0, 3, 5)
    annotations = {
        "images": [{"id": key} for key in range(1, 6)],
        "categories": [{"id": key, "name": str(key)} for key in CATEGORY_IDS],
        "annotations": [
            {
                "image_id": index + 1,
                "category_id": CATEGORY_IDS[classes[index]],
                "bbox": [3 * x1, 2 * y1, 3 * (x2 - x1), 2 * (y2 - y1)],
            }
            for index, (x1, y1, x2, y2) in enumerate(boxes)
        ],
    }

    def dataset(batch_size):
        images = np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None, None], (5, 40, 40, 3))
        inputs = {"images": images, "image_sizes": np.full((5, 2), 32, np.int32)}
        targets = {
            "image_ids": np.arange(1, 6),
            "original_sizes": np.tile(np.array([64, 96], np.int32), (5, 1)),
        }
        return tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(batch_size)

    return TruthTellingModel(boxes, classes), annotations, dataset


def test_predict_dataset_finds_everything_whatever_the_batches(ground_truth_telling):
    model, annotations, dataset = ground_truth_telling
    evaluator = COCOEvaluator(annotations)
    for batch_size in (1, 2, 5):
        done = []
        detections, proposals = predict_dataset(model, dataset(batch_size), progress=done.append)
        assert DETECTIONS.measure(evaluator, detections)["AP"] == 1.0
        assert PROPOSALS.measure(evaluator, proposals)["proposals/AR100"] == 1.0
        assert done[-1] == 5 and len(done) == -(-5 // batch_size)
    assert detections[0]["category"] in model.class_names
    assert predict_dataset(model, dataset(2), with_proposals=False)[1] == []


def test_predict_dataset_traces_once(ground_truth_telling):
    model, _, dataset = ground_truth_telling
    inference = compile_inference(model, dataset(2))  # the last batch is short
    predict_dataset(model, dataset(2), inference=inference)
    predict_dataset(model, dataset(2), inference=inference)
    assert model.traces == 1


def test_predict_dataset_refuses_endless_and_repeated_data(ground_truth_telling):
    model, _, dataset = ground_truth_telling
    with pytest.raises(UserError, match="never ends"):
        predict_dataset(model, dataset(2).repeat())
    with pytest.raises(UserError, match="image id 1 twice"):
        predict_dataset(model, dataset(2).repeat(2))
    with pytest.raises(UserError, match="lack 'image_ids'"):
        predict_dataset(model, dataset(2).map(lambda inputs, targets: (inputs, {})))


def test_the_best_of_an_image_are_those_with_the_highest_scores_whatever_their_class():
    rows = [(1, 5, 0.9), (1, 2, 0.3), (1, 2, 0.8), (2, 7, 0.1)]
    results = [{"image_id": i, "category_id": c, "score": score, "bbox": [0, 0, 9, 9]} for i, c, score in rows]
    kept = [(result["image_id"], result["score"]) for result in best_of_each(results, 2)]
    assert kept == [(1, 0.9), (1, 0.8), (2, 0.1)]
    assert best_of_each(results) == results
