"""Metric families: what each says of itself holds, and one from outside goes wherever those of the package go."""

import json
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import keras_fpn
from keras_fpn.console.errors import UserError
from keras_fpn.data import load_coco, read_coco
from keras_fpn.evaluation import expectations, measuring
from keras_fpn.evaluation.coco import COCOEvaluator, metrics_to_json
from keras_fpn.metrics import (
    DETECTIONS,
    INSTANCE_MASKS,
    METRIC_FAMILIES,
    PROPOSALS,
    SEGMENTS,
    Measurement,
    all_families,
    families_in,
)
from keras_fpn.metrics.keypoints import KEYPOINTS
from keras_fpn.metrics.table import metrics_table
from keras_fpn.ops import masks
from keras_fpn.reporting import plots
from keras_fpn.reporting.report import write_report
from keras_fpn.training import callbacks, run_folder

SIDE = 40  # pixels of the images
FAMILIES = pytest.mark.parametrize("family", list(METRIC_FAMILIES), ids=METRIC_FAMILIES.names())


def _object(box):
    """A COCO box and mask that fill the same pixels, and two corners of them as keypoints."""
    x, y, width, height = box
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + height, x : x + width] = True
    corners = [x, y, 2, x + width, y + height, 2]
    return {"bbox": [float(number) for number in box], "segmentation": masks.encode(mask), "keypoints": corners}


OBJECTS = [(1, 3, (2, 2, 8, 9)), (1, 9, (20, 5, 12, 20)), (1, 3, (18, 25, 15, 15)), (2, 9, (5, 5, 30, 34))]
ANNOTATIONS = {
    "images": [{"id": number, "height": SIDE, "width": SIDE} for number in (1, 2, 3)],
    "categories": [
        {"id": number, "name": name, "keypoints": ["upper", "lower"], "sigmas": 0.1}
        for number, name in ((3, "cup"), (9, "plate"))
    ],
    "annotations": [
        {"id": number, "image_id": image_id, "category_id": category_id, "iscrowd": int(number == 3)} | _object(box)
        for number, (image_id, category_id, box) in enumerate(OBJECTS, start=1)
    ],
}


@FAMILIES
def test_what_a_family_says_of_itself_holds(family):
    others = [other for other in METRIC_FAMILIES if other is not family]
    assert len(set(family.metrics)) == len(family.metrics)
    for name in family.names(["cup", "x/y"]):
        assert family.owns(name) and not any(other.owns(name) for other in others)
    assert family.main in family.metrics and set(family.shown) <= set(family.metrics)
    evaluator = COCOEvaluator(ANNOTATIONS)
    metrics = family.measure(evaluator, [])
    assert list(metrics) == list(family.names(evaluator.class_names)) and metrics[family.main] == 0.0
    assert families_in(metrics_to_json(metrics)) == [family]
    assert METRIC_FAMILIES[family.name] is keras_fpn.register_metric_family(family)  # again, as by a second import


_BOXES = st.tuples(*[st.integers(0, SIDE - 1)] * 2, *[st.integers(1, SIDE)] * 2).map(
    lambda box: (*box[:2], min(box[2], SIDE - box[0]), min(box[3], SIDE - box[1]))
)
_SHIFTED = st.builds(  # so that many fit an object
    lambda item, dx, dy: (max(item[2][0] + dx, 0), max(item[2][1] + dy, 0), *item[2][2:]),
    st.sampled_from(OBJECTS), st.integers(-2, 2), st.integers(-2, 2),
)  # fmt: skip
_RESULTS = st.lists(
    st.builds(
        lambda image_id, category_id, score, box: (
            {"image_id": image_id, "category_id": category_id, "score": score / 8} | _object(box)
        ),
        st.sampled_from([1, 2, 3]), st.sampled_from([3, 9]), st.integers(0, 8), st.one_of(_BOXES, _SHIFTED),
    ),
    max_size=25,
)  # fmt: skip


@FAMILIES
@settings(max_examples=25)
@given(results=_RESULTS)
def test_what_a_family_keeps_of_each_image_is_all_that_its_metrics_depend_on(family, results):
    evaluator, kept = COCOEvaluator(ANNOTATIONS), []
    for image_id in evaluator.image_ids:
        kept += family.keep(evaluator, [result for result in results if result["image_id"] == image_id])
    assert family.measure(evaluator, kept) == family.measure(evaluator, results)


def test_families_of_one_output_each_get_what_they_need_of_it():
    """False alarms that recall of masks drops are not lost to precision."""
    rng = np.random.default_rng(0)
    results = [
        {"image_id": image_id, "category_id": category_id, "score": float(score)} | _object(box)
        for (image_id, category_id, box), score in zip(OBJECTS, rng.random(4), strict=True)
    ]
    results += [{"image_id": 3, "category_id": 3, "score": 1.0} | _object((1, 1, 4, 4))] * 7
    evaluator = COCOEvaluator(ANNOTATIONS)
    measurement = Measurement(evaluator, {"proposals": (PROPOSALS,), "detections": (DETECTIONS, SEGMENTS)})
    for image_id in evaluator.image_ids:
        found = [result for result in results if result["image_id"] == image_id]
        measurement.add({"detections": found, "proposals": found[:1]})
    metrics = measurement.metrics()
    firsts = [next(result for result in results if result["image_id"] == image_id) for image_id in (1, 2, 3)]
    alone = (DETECTIONS.measure(evaluator, results), SEGMENTS.measure(evaluator, results))
    assert metrics == alone[0] | alone[1] | PROPOSALS.measure(evaluator, firsts)
    assert list(metrics)[0] == "AP" and 0 < metrics["AP"] < 0.8  # seven false alarms come before all that is right
    assert metrics["segments/AR100"] == 1.0


@pytest.mark.parametrize(
    ("families", "told"),
    [
        ((KEYPOINTS,), 'annotations: no category has "keypoints"'),
        ((INSTANCE_MASKS,), '"segmentation" of annotation 1 is empty; masks are needed here'),
        ((SEGMENTS,), '"segmentation" of annotation 1 is empty; masks are needed here'),
    ],
)
def test_annotations_that_cannot_be_measured_are_refused_before_anything_is_found(families, told):
    first, *others = ANNOTATIONS["annotations"]
    categories = [{**each, "keypoints": None} for each in ANNOTATIONS["categories"]]
    changed = {"annotations": [{**first, "segmentation": []}, *others], "categories": categories}
    evaluator = COCOEvaluator(ANNOTATIONS | changed)
    with pytest.raises(UserError, match=told):
        Measurement(evaluator, {"detections": (DETECTIONS, *families)})
    Measurement(evaluator, {"detections": (DETECTIONS,), "proposals": (PROPOSALS,)})


def test_families_of_a_model_have_a_main_one_and_are_told_apart():
    assert all_families(keras_fpn.FasterRCNN.metric_families) == [DETECTIONS, PROPOSALS]
    assert all_families({"proposals": (PROPOSALS,), "detections": (DETECTIONS,)})[0] is DETECTIONS
    for wrong in ({}, {"proposals": (PROPOSALS,)}, {"detections": (PROPOSALS,), "proposals": (PROPOSALS,)}):
        with pytest.raises(ValueError, match="the first must be of the detections, and each only once"):
            all_families(wrong)


def test_what_another_model_is_measured_by_cannot_be_expected():
    given = [("AR1000", 0.5)]
    figures = expectations.resolve(given, ["cup"], keras_fpn.FasterRCNN.metric_families)
    assert figures == {"proposals/AR1000": 0.5}
    with pytest.raises(UserError, match="--expect AR1000: no such metric"):  # its proposals are given
        expectations.resolve(given, ["cup"], keras_fpn.FastRCNN.metric_families)
    with pytest.raises(UserError, match="--expect AP/cup: this model proposes boxes without classes; expect proposals"):
        expectations.resolve([("AP/cup", 0.5)], ["cup"], keras_fpn.RPN.metric_families)


def test_families_are_light():
    code = "import sys, keras_fpn; keras_fpn.MetricFamily, keras_fpn.register_metric_family"
    code += "; import keras_fpn.metrics.table"
    code += "; print({'tensorflow', 'keras', 'numpy', 'pycocotools'} & set(sys.modules) or '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --------------------------------------------------------------------------------------------- one from outside


class LooksFamily(keras_fpn.MetricFamily):
    """Of the objects found the share whose class is what the annotation file says that they look like."""

    name = "looks"
    metrics = ("looks/share",)
    class_prefix = "looks/share/"
    class_heading = "Looks: classes"

    def measure(self, evaluator, results, image_ids=None):
        pairs = evaluator.matches(results, image_ids)
        metrics = {"looks/share": self._share(pairs)}
        for name in evaluator.class_names:
            metrics[f"looks/share/{name}"] = self._share([pair for pair in pairs if pair[0]["category"] == name])
        return metrics

    def _share(self, pairs):
        right = [result["category"] == entry["looks_like"] for result, entry in pairs]
        return sum(right) / len(right) if right else -1.0


@pytest.fixture
def looks():
    family = keras_fpn.register_metric_family(LooksFamily())
    yield family
    _forget(family)


def _forget(family):
    """As in a process that has not loaded the extension."""
    METRIC_FAMILIES._parts.pop(family.name, None)


@pytest.fixture
def data_set(tmp_path):
    """Four images, each in a grey of its own and with one object; one of them does not look like its class."""
    box = [10, 10, 40, 40]
    annotations = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 64, "width": 64} for n in range(4)],
        "categories": [
            {"id": n + 1, "name": name} for n, name in enumerate(("circle", "square", "triangle", "star"))
        ],
        "annotations": [
            {"id": n + 1, "image_id": n, "category_id": 1 + n % 2, "bbox": box, "looks_like": look}
            for n, look in enumerate(("circle", "square", "star", "square"))
        ],
    }
    for n in range(4):
        Image.new("RGB", (64, 64), (n, n, n)).save(tmp_path / f"{n}.png")
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    return read_coco(tmp_path / "annotations.json", tmp_path)


class Teller(keras_fpn.FasterRCNN):
    """Finds the object of every image in the data set above, and names it by the grey of the image."""

    def inference(self, inputs):
        classes = tf.cast(inputs["images"][:, :1, 0, 0], tf.int32) % 2
        boxes, scores = tf.constant([10.0, 10, 50, 50]) + 0.0 * tf.cast(classes[..., None], tf.float32), classes >= 0
        return {
            "detections": {
                "boxes": boxes,
                "scores": tf.cast(scores, tf.float32),
                "classes": classes,
                "num_detections": tf.reduce_sum(tf.ones_like(classes), axis=1),
            }
        }


@pytest.fixture
def model(tiny_settings, looks):
    model = Teller(**tiny_settings(), resize={"min_side": 64, "max_side": 64})
    object.__setattr__(model, "metric_families", {"detections": (DETECTIONS, looks)})
    return model


def test_a_family_from_outside_is_measured_expected_printed_and_reported(model, looks, data_set, tmp_path):
    metrics, results, evaluator = measuring.measure(model, data_set, batch_size=3)
    assert len(results) == 4 and metrics["AP"] == 1.0
    assert list(metrics)[: len(DETECTIONS.metrics)] == list(DETECTIONS.metrics)
    assert (metrics["looks/share"], metrics["looks/share/circle"], metrics["looks/share/star"]) == (0.75, 0.5, -1)

    figures = expectations.resolve([("share", 0.75), ("AP", 1.0)], evaluator.class_names, model.metric_families)
    assert figures == {"looks/share": 0.75, "AP": 1.0} and expectations.compare(metrics, figures)[1] == []
    with pytest.raises(UserError, match="did you mean 'looks/share/star'"):
        expectations.resolve([("looks/share/stars", 0.75)], evaluator.class_names, model.metric_families)

    written = json.loads(json.dumps(metrics_to_json(metrics)))
    lines = metrics_table(written).splitlines()
    assert lines[4:6] == ["looks         share", "               75.0"]
    assert "circle     AP 100.0" in lines and "circle     looks/share 50.0" in lines and lines[-1].endswith(" -")

    history = [{"epoch": 1, "val_AP": 1.0, "val_looks/share": 0.75}]
    page = write_report(tmp_path / "report.html", title="t", metrics=written, history=history).read_text()
    headings = ("Detections", "Looks", "Classes", "Looks: classes")
    assert [page.count(f"<h2>{heading}</h2>") for heading in headings] == [1] * 4
    assert "<span>AP</span>" in page and "<span>share</span>" not in page and "<td>0.750</td>" in page
    assert ">share</text>" in page  # in the chart

    main_first = {**{name: written[name] for name in looks.names(evaluator.class_names)}, **written}
    page = write_report(tmp_path / "report.html", title="t", metrics=main_first, history=history).read_text()
    assert "<b>0.750</b><span>share</span>" in page and "<span>AP</span>" not in page


def test_metrics_of_an_extension_that_is_not_loaded_are_shown_plainly(model, looks, data_set, tmp_path):
    metrics = measuring.measure(model, data_set)[0]
    _forget(looks)
    lines = metrics_table(metrics).splitlines()
    assert {"circle               AP 100.0", "looks/share          75.0", "looks/share/star     -"} <= set(lines)
    page = write_report(tmp_path / "report.html", title="t", metrics=metrics, history=[]).read_text()
    assert "<h2>Other metrics</h2>" in page and "<td>looks/share</td><td>0.750</td>" in page


@pytest.mark.parametrize("per_class", [False, True])
def test_a_family_from_outside_reaches_the_logs(model, data_set, per_class, tmp_path):
    dataset = load_coco(data_set, batch_size=2, min_side=64, max_side=64)
    callback = callbacks.COCOEvaluation(dataset, data_set.annotations, every=2, per_class=per_class)
    callback.set_model(model)
    callback.on_epoch_end(0, skipped := {})
    callback.on_epoch_end(1, logs := {})
    assert logs["val_looks/share"] == 0.75 and logs["val_AP"] == 1.0 and skipped["val_looks/share"] == -1
    assert ("val_looks/share/circle" in logs) == ("val_AP/circle" in skipped) == per_class
    assert "val_looks/share/star" not in logs  # undefined
    assert "val_looks/share 0.750" in callbacks._summary(logs) and "looks" not in callbacks._summary(skipped)
    (chart,) = plots.training_charts([{"epoch": 1} | skipped, {"epoch": 2} | logs])
    assert ">share<" in chart[1] and ">AP50<" in chart[1]


def test_the_best_model_is_that_of_the_main_family(model, looks, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(run_folder, "save_plain_model", lambda *arguments: saved.append(len(rows)))
    monkeypatch.setattr(run_folder, "save_model", lambda *arguments: None)
    keep, rows = run_folder.Checkpoints(tmp_path), []
    keep.set_model(types.SimpleNamespace(metric_families={"detections": (looks, DETECTIONS)}))
    for epoch, (share, precision) in enumerate(((0.1, 0.5), (0.3, 0.4), (0.2, 0.9))):
        rows.append({"epoch": epoch + 1, "val_looks/share": share, "val_AP": precision})
        run_folder.write_results(tmp_path / "results.csv", rows)
        keep.on_epoch_end(epoch)
    assert saved == [1, 2]


def _family(**attributes):
    return type("OtherFamily", (keras_fpn.MetricFamily,), {"name": "other", "metrics": ("other/a",)} | attributes)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"name": "proposals"}, "metric family 'proposals': there is one of this name already"),
        ({"metrics": ("AP50",)}, "metric family 'other': 'AP50' is a metric of 'detections'; rename it"),
        ({"metrics": ("AP/best",)}, "metric family 'other': 'AP/best' is a metric of 'detections'"),
        ({"class_prefix": "AP/of/"}, "metric family 'other': 'AP/of/' is a metric of 'detections'"),
        ({"class_prefix": "segments/"}, "metric family 'other': 'segments/AR100' is a metric of 'segments'"),
        ({"cards": ("other/b",)}, "metric family 'other': has no metric 'other/b'; did you mean 'other/a'"),
        ({"main": "AP"}, "metric family 'other': has no metric 'AP'"),
    ],
)
def test_a_family_that_clashes_is_refused(attributes, message):
    before = METRIC_FAMILIES.names()
    with pytest.raises(UserError, match=message):
        keras_fpn.register_metric_family(_family(**attributes)())
    assert METRIC_FAMILIES.names() == before


def test_a_family_measures_what_it_names(looks):
    class Wrong(LooksFamily):
        def measure(self, evaluator, results, image_ids=None):
            return {"looks/shares": 1.0}

    measurement = Measurement(COCOEvaluator(ANNOTATIONS), {"detections": (Wrong(),)})
    with pytest.raises(UserError, match="metric family 'looks': names or measures 'looks/share', not both"):
        measurement.metrics()


def test_a_thousand_classes_do_not_flood_the_table():
    metrics = {"AP": 0.5} | {f"AP/class {number}": 0.25 for number in range(1203)}
    lines = metrics_table(metrics).splitlines()
    assert len(lines) < 120 and lines[-1] == "and 1103 more, which a file of metrics has all"
    assert "class 99 " in lines[-2]
