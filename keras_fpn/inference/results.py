"""Detections of a data set as COCO results: dicts that evaluation, files and other programs read.

A *result* is one dict of the COCO results format: `image_id`, `category_id`, `bbox` ([x, y, width, height] in pixels of
the original image), `score`, and what further fields of the detections add (see `fields`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.parts import output_fields
from keras_fpn.parts.output_fields import BOXES, OutputField, plain

MOST = 1000  # results of an image: no metric looks further


def detections_to_results(
    detections: Mapping[str, np.ndarray],
    image_ids: Sequence[int],
    image_sizes: np.ndarray,
    original_sizes: np.ndarray,
    classes: Any,
    fields: Sequence[OutputField] = output_fields.STANDARD,
    file_names: Sequence[str] | None = None,
) -> list[dict]:
    """Detections of a batch as COCO results, in pixels of the original images.

    Args:
        detections: `{field: [B, D, *shape]}` and `"num_detections"` `[B]`, in pixels of the given images.
        image_ids: `[B]`.
        image_sizes, original_sizes: `[B, 2]` height, width of the valid part of the given image and of the file.
        classes: has `class_names` and `category_ids`: a model.
        fields: `OutputField`s of the detections.
        file_names: optional; they add "file_name" to each result.

    Returns:
        A list of dicts, image by image, best first, the 1000 best of each. Places are scaled by the actual ratio of
        each axis (rounding in the resize makes the two differ).
    """
    results = []
    for index, count in enumerate(np.minimum(detections["num_detections"], MOST)):
        found = {name: value[index] for name, value in detections.items() if name != "num_detections"}
        labels = output_fields.labels_of(found)[:count].tolist()
        values = output_fields.in_original(
            found, slice(count), fields, original_sizes[index], _ratio(image_sizes[index], original_sizes[index])
        )
        for row, label in enumerate(labels):
            if not 0 <= label < len(classes.category_ids):
                raise ValueError(f"a detection has class {label} of {len(classes.category_ids)} category ids")
            result = {} if file_names is None else {"file_name": str(file_names[index])}
            result |= {"image_id": plain(image_ids[index])}
            results.append(result | output_fields.to_result(values, row, label, fields, classes))
    return results


def _ratio(image_size, original_size):
    """`[2]` float64 width and height of the original image over those of the given one."""
    image_size, original_size = np.asarray(image_size, np.float64), np.asarray(original_size, np.float64)
    return (original_size / image_size)[::-1]


def proposals_to_results(
    proposals: Mapping[str, np.ndarray],
    image_ids: Sequence[int],
    image_sizes: np.ndarray,
    original_sizes: np.ndarray,
    category_id: int = 1,
) -> list[dict]:
    """Proposals of a batch as COCO results; the score is the objectness logit, the category a placeholder.

    proposals: {"boxes": [B, P, 4], "scores": [B, P], "num_proposals": [B]}; the rest as in
    `detections_to_results`.
    """
    results = []
    for index, count in enumerate(np.minimum(proposals["num_proposals"], MOST)):
        found = {"boxes": proposals["boxes"][index]}
        ratio = _ratio(image_sizes[index], original_sizes[index])
        values = output_fields.in_original(found, slice(count), (BOXES,), original_sizes[index], ratio)
        scores = np.asarray(proposals["scores"][index][:count], dtype=np.float64)
        known = {"image_id": plain(image_ids[index]), "category_id": category_id}
        results += [
            known | BOXES.to_result(box, None) | {"score": score}
            for box, score in zip(values["boxes"], scores.tolist(), strict=True)
        ]
    return results


def compile_inference(model: Any, dataset: Iterable) -> Callable[[Any], dict[str, dict]]:
    """`model.inference` as one graph for all batches of the dataset; keep it, and no epoch traces again."""
    import tensorflow as tf

    signature = getattr(dataset, "element_spec", None)
    if isinstance(signature, tuple) and isinstance(signature[0], dict):
        return tf.function(model.inference, input_signature=[signature[0]])
    return tf.function(model.inference, reduce_retracing=True)


def predict_batches(
    model: Any,
    dataset: Iterable,
    with_proposals: bool = True,
    inference: Callable[[Any], dict[str, dict]] | None = None,
) -> Iterator[tuple[list[int], list[dict], list[dict]]]:
    """Run a detector over a `load_coco` dataset, in one forward pass an image; nothing is kept.

    model: has `inference(inputs)` -> {"detections", "proposals" (or not)}, `output_fields`, `category_ids` and
        `class_names`.
    dataset: finite, of (inputs, targets); targets name "image_ids" and "original_sizes".
    inference: what `compile_inference` made, to spare the tracing of a repeated evaluation.
    Yields (image ids, detection results, proposal results) of each batch, COCO results in original pixels.
    """
    cardinality = getattr(dataset, "cardinality", None)
    if cardinality is not None and int(cardinality()) == -1:  # tf.data.INFINITE_CARDINALITY
        raise UserError("the dataset never ends; evaluate with load_coco(..., repeat=False)")
    inference = compile_inference(model, dataset) if inference is None else inference
    seen: set[int] = set()
    for inputs, targets in dataset:
        outputs = inference(inputs)
        image_ids, image_sizes, original_sizes = _batch_facts(inputs, targets, seen)
        found = {name: np.asarray(value) for name, value in outputs["detections"].items()}
        detections = detections_to_results(found, image_ids, image_sizes, original_sizes, model, model.output_fields)
        proposals = []
        if with_proposals and "proposals" in outputs:
            proposed = {name: np.asarray(value) for name, value in outputs["proposals"].items()}
            proposals = proposals_to_results(proposed, image_ids, image_sizes, original_sizes, model.category_ids[0])
        yield image_ids, detections, proposals


def best_of_each(results: list[dict], max_results: int | None = None) -> list[dict]:
    """The results of each image with the highest scores, whatever their classes; all of them without a limit."""
    if max_results is None:
        return results
    best = (sorted(group, key=lambda result: -result["score"])[:max_results] for _, group in by_image(results))
    return [result for results_of_image in best for result in results_of_image]


def predict_dataset(
    model: Any,
    dataset: Iterable,
    with_proposals: bool = True,
    progress: Callable[[int], None] | None = None,
    inference: Callable[[Any], dict[str, dict]] | None = None,
) -> tuple[list[dict], list[dict]]:
    """Run a detector over a whole dataset: `predict_batches`, collected.

    progress: called with the number of images done, after each batch.
    Returns (detection results, proposal results).
    """
    detections, proposals, done = [], [], 0
    for image_ids, found, proposed in predict_batches(model, dataset, with_proposals, inference):
        detections += found
        proposals += proposed
        done += len(image_ids)
        if progress is not None:
            progress(done)
    return detections, proposals


def _batch_facts(inputs, targets, seen):
    missing = [key for key in ("image_ids", "original_sizes") if key not in targets]
    if missing:
        raise UserError(f"the dataset's targets lack {missing[0]!r}; evaluate on a dataset of load_coco")
    image_ids = [plain(image_id) for image_id in np.asarray(targets["image_ids"])]
    for image_id in image_ids:
        if image_id in seen:
            raise UserError(f"the dataset gives image id {image_id} twice; use load_coco(..., repeat=False)")
        seen.add(image_id)
    return image_ids, np.asarray(inputs["image_sizes"]), np.asarray(targets["original_sizes"])


def by_image(results: Iterable[dict]) -> Iterable[tuple[int, list[dict]]]:
    """(image id, its results, best first) of every image that has some."""
    grouped: dict[int, list[dict]] = {}
    for result in best_first(results):
        grouped.setdefault(result["image_id"], []).append(result)
    return grouped.items()


def best_first(results: Iterable[dict]) -> list[dict]:
    """Best first in each image and class; the box breaks ties, so that no order of the input shows."""
    return sorted(results, key=lambda r: (r["image_id"], r["category_id"], -r["score"], r["bbox"]))
