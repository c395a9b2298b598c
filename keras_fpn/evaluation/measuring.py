"""A model measured on a data set."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from keras_fpn.console.errors import UserError
from keras_fpn.console.progress import Count
from keras_fpn.data.coco import CocoDataset
from keras_fpn.data.decode import readable_errors
from keras_fpn.data.fields import names_of
from keras_fpn.data.pipeline import load_coco
from keras_fpn.evaluation.coco import COCOEvaluator
from keras_fpn.inference.results import best_of_each, predict_batches
from keras_fpn.metrics import (
    COCO_LIMIT,
    DETECTIONS,
    Measurement,
    MetricFamily,
    MoreDetectionsFamily,
    register_metric_family,
)

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_fpn.models.detector import Detector


def evaluation_dataset(model: "Detector", data_set: CocoDataset, batch_size: int = 1) -> "tf.data.Dataset":
    """Return the `tf.data.Dataset` of a `CocoDataset`, resized by the model's own rule, images of one size together."""
    fields = [name for name in names_of(model.object_fields) if name in data_set.fields]  # only drawn
    rule = model.settings["resize"]
    return load_coco(data_set, batch_size=batch_size, group_by_padded_size=True, fields=fields, **rule)


def measure(
    model: "Detector",
    data_set: CocoDataset,
    *,
    batch_size: int = 1,
    evaluator: COCOEvaluator | None = None,
    max_results: int | None = None,
    max_detections: int | None = None,
    batches: Iterable[tuple[list[int], list[dict], list[dict]]] | None = None,
) -> tuple[dict[str, float], list[dict], COCOEvaluator]:
    """Evaluate `model` on a `CocoDataset`, with a progress bar.

    Args:
        evaluator: a `COCOEvaluator` of its annotations; made if not given.
        max_results: how many of an image to return, the best; all by default. The metrics look at all of them. (Of
            5000 images the 1000 segments of each take some 6 GB.)
        max_detections: where it is above COCO's 100, AP and AR of that many detections of an image are measured, too.
        batches: results of detections alone, in place of those that the model gives by itself: see `predict_batches`.

    Returns:
        `(metrics, results, evaluator)`: the metrics that the model is measured by (of a detector those of its
        detections and proposals), the detections as COCO results best first, and the `COCOEvaluator` that made them
        (for its curves).

    Raises:
        UserError: the classes of the annotations are not the model's, or the data are bad.
    """
    model.check_classes(data_set.class_names, data_set.category_ids, data_set.annotations)
    model.check_fields(data_set.fields, data_set.annotations)
    if "proposals" in model.further_inputs and data_set.proposals is None:
        raise UserError(
            f"{data_set.annotations}: {model.title} needs proposals of these images; give --proposals DIR, a folder"
            " that keras-fpn propose wrote (from Python: with_proposals)"
        )
    evaluator = evaluator or evaluator_of(data_set)
    families = with_more_detections(model.metric_families, max_detections)
    if batches is None:
        batches = predict_batches(model, evaluation_dataset(model, data_set, batch_size))
    else:
        families.pop("proposals", None)
    measurement, results, done = Measurement(evaluator, families), [], 0
    with Count("evaluate", len(data_set.records)) as count, readable_errors():
        for image_ids, found, proposed in batches:
            measurement.add({"detections": found, "proposals": proposed})
            results += best_of_each(found, max_results)
            done += len(image_ids)
            count(done)
    return measurement.metrics(), sorted(results, key=lambda result: -result["score"]), evaluator


def with_more_detections(
    families: Mapping[str, Sequence[MetricFamily]], max_detections: int | None
) -> dict[str, tuple[MetricFamily, ...]]:
    """The families of a model, and of one with AP that of more detections where `max_detections` is above COCO's."""
    found = {output: tuple(each) for output, each in families.items()}
    if max_detections is None or max_detections <= COCO_LIMIT or DETECTIONS not in found.get("detections", ()):
        return found
    more = register_metric_family(MoreDetectionsFamily(max_detections))
    return found | {"detections": (*found["detections"], more)}


def evaluator_of(data_set: CocoDataset) -> COCOEvaluator:
    return COCOEvaluator(data_set.instances(), leave_out=data_set.dropped)
