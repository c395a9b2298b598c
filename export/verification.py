"""An exported detector held against the model it was made of, on the same pixels, in its own runtime.

float32 is held to the model detection by detection: boxes 0.05 px, scores 1e-4, further fields their own bounds, the
same classes, as many, in the same order but for scores that are equal within 1e-4. Values that are regions are brought
into the image, too, over the same box, and must overlap there as their field says. Detections that only one side has
may be where rounding decides in the model itself, see `undecided`, and so may values; the number of the former is
reported.

Lower precisions decide differently by nature. They are held to what people act on, the detections above a score: on
either side, each should have a partner of the same class on the other, that overlaps it, with nearly its score; a small
share may lack one. What one side alone has does not count where the other has as many as an image can have, the last of
them with nearly that score: one more might be the partner. Of the parts of further fields, each row of places and else
each value, the same share may be apart: numbers by more than scores may, places by more than a box may move and still
overlap itself so. That is no fault where the model itself has another place nearly as high.

    precision      from score    overlap (IoU)    scores    places    share without a partner, apart
    bfloat16          0.3            0.80          0.10      0.11             5 %
    float16           0.3            0.95          0.01      0.03             2 %
    dynamic_int8      0.3            0.70          0.15      0.18            10 %
    int8              0.3            0.70          0.15      0.18            15 %

The shares of the trained detector of `keras-fpn demo`, on twenty of its validation pictures and the hard cases, int8
calibrated with its training pictures: 1 %, 0 %, 2 % and 4 %, about half of them in the crowd of 120 shapes and in the
noise, where many boxes score alike, and some of those by the end of the list, which counted then.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from keras_fpn.console.progress import Count
from keras_fpn.export import agreement, hard_cases, undecided
from keras_fpn.export.agreement import BOX_BOUND
from keras_fpn.export.description import describe
from keras_fpn.export.field_agreement import Further
from keras_fpn.export.findings import Bounds, Detections, Finding, VerificationError
from keras_fpn.export.signature import of_any_size
from keras_fpn.parts.output_fields import BOXES, Place, further, labels_of, rescaled

if TYPE_CHECKING:
    from keras_fpn.export.artefacts import Artefact
    from keras_fpn.models.detector import Detector

BOUNDS = {
    "bfloat16": Bounds(level=0.3, overlap=0.80, score=0.10, share=0.05),
    "float16": Bounds(level=0.3, overlap=0.95, score=0.01, share=0.02),
    "dynamic_int8": Bounds(level=0.3, overlap=0.70, score=0.15, share=0.10),
    "int8": Bounds(level=0.3, overlap=0.70, score=0.15, share=0.15),
}


def verify(artefact: "Artefact", model: "Detector", pictures: Iterable[np.ndarray] = ()) -> Finding:
    """Run an artefact and its model on the same pixels, and compare.

    Args:
        artefact: what `open_artefact` gives.
        model: the `Detector` that it was exported from.
        pictures: `[H, W, 3]` uint8 RGB images to add to the hard cases; without, some are drawn.

    Returns:
        `Finding` of all cases together.

    Raises:
        VerificationError: it answers otherwise than it may.
    """
    _check_description(artefact.description, model)
    rule = model.settings["resize"]
    cases = list(hard_cases.cases_for(artefact, rule, list(pictures) or hard_cases.drawn_pictures(rule)))
    bounds = BOUNDS.get(_precision(artefact, model))
    infer, total = of_any_size(model), Finding()
    with Count("verify", len(cases), unit="cases") as count:
        for number, case in enumerate(cases, start=1):
            try:
                total += _compare(artefact, infer, model, case, bounds)
            except VerificationError as error:
                raise VerificationError(f"{case.name}: {error}") from None
            count(number)
    if bounds is not None:
        _check_share(total, bounds)
    return total


def _check_description(description, model):
    theirs = list(zip(description.class_names, description.category_ids, strict=True))
    ours = list(zip(map(str, model.class_names), map(int, model.category_ids), strict=True))
    if theirs != ours:
        raise VerificationError(f"its classes and category ids are {theirs[:5]}..., of the model {ours[:5]}...")
    expected = describe(model)
    for key in ("resize", "pixels", "score_threshold"):
        if getattr(description, key) != getattr(expected, key):
            raise VerificationError(f"its {key} is {getattr(description, key)}, of the model {getattr(expected, key)}")


def _precision(artefact, model):
    """Of the bounds: a model that itself computes in bfloat16 is not to be met more nearly than that."""
    precision = artefact.description.precision
    return "bfloat16" if precision == "float32" and model.compute_dtype != "float32" else precision


def _compare(artefact, infer, model, case, bounds):
    given = {"images": case.images.astype(np.float32), "image_sizes": case.image_sizes} | case.proposals
    given = {name: tf.constant(value) for name, value in given.items()}
    expected = {name: value.numpy() for name, value in infer(given).items()}
    described = artefact.description
    if case.contents is None:
        found = artefact.run(case.images, case.image_sizes, **case.proposals)
    else:
        found, described = artefact.run_encoded(case.contents), described.of_encoded_images
    their_fields = {field.name: field for field in described.output_fields}
    _check_form(found, expected, model.output_fields, their_fields)
    total, fields = Finding(), further(model.output_fields)
    for index in range(len(case.image_sizes)):
        ratio = np.ones(4, np.float32) if case.ratios is None else case.ratios[index]
        theirs, ours = _rows(found, index, fields), _rows(expected, index, fields, ratio)
        inputs = {name: value[index : index + 1] for name, value in given.items()}
        compared = _further(model, inputs, ratio, fields, their_fields, theirs, ours)
        if bounds is not None:
            total += agreement.roughly(theirs, ours, bounds, expected["boxes"].shape[1], compared)
            continue

        def possible(room, inputs=inputs, ratio=ratio):
            return undecided.answer(model, inputs, room, ratio)

        bound = BOX_BOUND * max(1.0, ratio.max())
        total += agreement.exactly(theirs, ours, model.class_names, possible, bound, compared)
    return total


def _further(model, inputs, ratio, fields, their_fields, theirs, ours):
    """The `Further` values of one image; the artefact has them, and the boxes, in pixels times `ratio`."""
    by_name = {field.name: field for field in fields}
    # A field that the artefact gives in the image itself already has no values to compare.
    same = tuple(field for field in fields if their_fields[field.name].kind == field.kind)
    size = np.rint(inputs["image_sizes"][0].numpy() * ratio[1::-1]).astype(int)

    def are_open(name, boxes, values, bounds=None):
        values = rescaled(values, by_name[name].axes, 1.0 / ratio[:2])
        return undecided.are_open(model, inputs, name, boxes / ratio, values, by_name[name].bound, bounds)

    def overlaps(field, of_found, of_expected):
        values = ours.further[field.name][of_expected], theirs.further[field.name][of_found]
        sides = [ours.boxes[of_expected]] + ([] if field in same else [theirs.boxes[of_found]])
        places = [Place((int(size[0]), int(size[1])), np.ones(2, np.float32), boxes) for boxes in sides]
        return np.max([field.overlaps(*values, place, their_fields[field.name]) for place in places], axis=0)

    regions = tuple(field for field in fields if field.least_overlap)
    return Further(same, regions, are_open, overlaps)


def _rows(outputs, index, fields, ratio=None):
    """The `Detections` of one image; places, which the artefact may have in other pixels, times `ratio`."""
    number = int(outputs["num_detections"][index])
    of_image = {name: value[index][:number] for name, value in outputs.items() if name != "num_detections"}
    sides = np.ones(2, np.float32) if ratio is None else ratio[:2]
    values = {field.name: rescaled(of_image[field.name], field.axes, sides) for field in fields}
    boxes = rescaled(of_image["boxes"], BOXES.axes, sides)
    return Detections(boxes, of_image["scores"], labels_of(of_image), values)


def _check_form(found, expected, fields, their_fields):
    """Refuse outputs that are not what every artefact of ours gives, whatever stands in them."""
    placed = {field.name for field in fields if their_fields[field.name].kind != field.kind}
    for name, value in expected.items():
        if name not in found:
            raise VerificationError(f"the artefact gives no {name!r}")
        if name not in placed and found[name].shape != value.shape:
            raise VerificationError(f"{name} have shape {found[name].shape}, of the model {value.shape}")
        if not np.isfinite(found[name]).all():
            raise VerificationError(f"{name} hold NaN or infinite values")
    numbers, scores = found["num_detections"], found["scores"]
    for name, rows in [("scores", scores.shape[1]), *((name, found[name].shape[1]) for name in placed)]:
        if (numbers < 0).any() or (numbers > rows).any():
            raise VerificationError(f"num_detections is {numbers.tolist()} of {rows} rows of {name}")
    if (np.diff(scores, axis=1) > 0).any():
        raise VerificationError("scores are not best first")
    for field in fields:
        is_past = np.arange(found[field.name].shape[1]) >= numbers[:, None]
        if (found[field.name][is_past] != field.padding).any():
            raise VerificationError(f"{field.name} past the last detection are not {field.padding}")


def _check_share(total, bounds):
    if total.unpaired > max(1.0, bounds.share * total.detections):
        raise VerificationError(
            f"all cases: {total.unpaired} of {total.detections} detections from score {bounds.level:g} on have no"
            f" partner of their class with an IoU of {bounds.overlap:g} and a score within {bounds.score:g};"
            f" {bounds.share:.0%} may"
        )
    for name, (far, parts) in total.far.items():
        if far > max(1.0, bounds.share * parts):
            raise VerificationError(
                f"all cases: {far} of {parts} {name} of detections from score {bounds.level:g} on are apart: places by"
                f" more than {bounds.place:.2g} of the box, or numbers by more than {bounds.score:g};"
                f" {bounds.share:.0%} may"
            )
