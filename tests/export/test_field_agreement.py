"""Further values of made detections, compared: of float32 one by one, of a lower precision part by part."""

import dataclasses

import numpy as np
import pytest

from keras_fpn.export import agreement, verification
from keras_fpn.export.field_agreement import Further, apart
from keras_fpn.export.findings import Bounds, Detections, Finding, VerificationError
from keras_fpn.ops import masks
from keras_fpn.parts.keypoint_fields import KeypointPlaces
from keras_fpn.parts.mask_fields import InstanceMasks
from keras_fpn.parts.output_fields import OutputField, Place

BOUNDS = Bounds(level=0.3, overlap=0.8, score=0.1, share=0.05)  # places: 0.2 / 1.8
BOXES = np.array([[0.0, 0, 100, 50], [200, 100, 300, 300]])
MOST = 100  # detections of an image
POINTS = KeypointPlaces(("a", "b", "c"))


def points(*changes):
    """`[2, 3, 3]` keypoints, some of them changed: (detection, keypoint, axis, by how much)."""
    values = np.array([[[10.0, 10, 0.5], [50, 25, 8.0], [90, 40, 0.1]], [[210.0, 120, 0.5], [0, 0, 0], [290, 280, 3]]])
    for detection, point, axis, change in changes:
        values[detection, point, axis] += change
    return values


def detections(values, name="keypoints"):
    return Detections(BOXES, np.array([0.9, 0.8]), np.zeros(2, int), {name: values})


def exactly(ours, theirs, field, **options):
    found, expected = detections(theirs, field.name), detections(ours, field.name)
    return agreement.exactly(found, expected, ["shape"], None, further=Further((field,), **options))


def roughly(ours, theirs, field, **options):
    found, expected = detections(theirs, field.name), detections(ours, field.name)
    return agreement.roughly(found, expected, BOUNDS, MOST, Further((field,), **options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, 1, 0, 0.04), None),
        ((0, 1, 1, 0.06), "keypoints of the shape at .0.0, 0.0, 100.0, 50.0. differ by 0.06 .at most 0.05."),
        ((0, 0, 2, 0.0009), None),
        ((0, 0, 2, 0.0011), "differ by 0.0011 .at most 0.001."),
        ((0, 1, 2, 0.0079), None),  # of a score of 8 the thousandth part
        ((0, 1, 2, 0.0081), "differ by 0.0081 .at most 0.008."),
    ],
)
def test_float32_holds_places_to_pixels_and_scores_to_themselves(change, message):
    if message is None:
        assert exactly(points(), points(change), POINTS).further["keypoints"] == pytest.approx(change[-1])
    else:
        with pytest.raises(VerificationError, match=message):
            exactly(points(), points(change), POINTS)


def test_float32_asks_before_it_complains():
    theirs = points((0, 0, 0, 3.0), (0, 1, 0, 0.01))

    def compare(*is_open):
        return exactly(points(), theirs, POINTS, are_open=lambda name, boxes, values: np.array([is_open]))

    assert compare(True, False, False).further["keypoints"] == pytest.approx(0.01)
    with pytest.raises(VerificationError, match="keypoints of the shape at .* differ by 3"):
        compare(False, True, True)


@pytest.mark.parametrize(
    ("change", "far"),
    [
        ((0, 1, 0, 11.0), 0),  # of 100 pixels
        ((0, 1, 0, 12.0), 1),
        ((0, 1, 1, 5.5), 0),  # of 50
        ((0, 1, 1, 6.0), 1),
        ((1, 0, 1, 22.0), 0),  # of 200
        ((0, 1, 2, 0.79), 0),  # of a score of 8
        ((0, 1, 2, 0.81), 1),
        ((0, 2, 2, 0.09), 0),
        ((0, 2, 2, 0.11), 1),
    ],
)
def test_a_lower_precision_counts_the_points_that_are_elsewhere(change, far):
    """Five points, since of one there is nothing; all of them have partners, whatever becomes of a point."""
    finding = roughly(points(), points(change), POINTS)
    assert (finding.unpaired, finding.far["keypoints"]) == (0, [far, 5])
    assert (finding.further["keypoints"] > 0) == (far == 0)


def test_a_place_that_is_nearly_as_high_is_no_fault():
    theirs = points((0, 0, 0, 30.0), (0, 1, 2, 5.0))

    def are_open(name, boxes, values, bounds):
        assert (name, bounds.place, len(boxes)) == ("keypoints", pytest.approx(1 / 9), 1)
        return np.array([[True, True, True]])

    assert roughly(points(), theirs, POINTS).far["keypoints"] == [2, 5]
    assert roughly(points(), theirs, POINTS, are_open=are_open).far["keypoints"] == [1, 5]  # the score's own


def test_points_that_a_class_has_not_are_not_compared():
    field = KeypointPlaces(("a", "b", "c"), of_classes=[[0, 1]])
    assert roughly(points(), points((0, 2, 0, 50.0)), field).far["keypoints"] == [0, 3]


def test_what_is_no_place_is_one_part():
    field = InstanceMasks(4)
    ours = np.full((2, 4, 4), 0.5)
    theirs = ours + np.array([0.09, 0.11])[:, None, None]
    finding = roughly(ours, theirs, field)
    assert (finding.far["masks"], finding.further["masks"]) == ([1, 2], pytest.approx(0.09))
    number = OutputField()
    number.shape = ()
    assert apart(number, np.array([0, 3]), np.array([0, 6]), BOXES)[1].tolist() == [[0.0], [1.0]]


def test_a_share_of_the_parts_may_be_elsewhere():
    within, beyond = (Finding(detections=100, far={"keypoints": [far, 400]}) for far in (20, 21))
    verification._check_share(within, BOUNDS)
    with pytest.raises(VerificationError, match="all cases: 21 of 400 keypoints .* 0.11 of the box, .* 5% may"):
        verification._check_share(beyond, BOUNDS)
    verification._check_share(Finding(far={"keypoints": [1, 2]}), BOUNDS)


def test_findings_add_up():
    one = Finding(further={"masks": 0.2}, far={"masks": [1, 7]}, overlaps={"masks": 0.9995})
    other = Finding(further={"masks": 0.1, "colour": 0.0}, far={"masks": [0, 4]}, overlaps={"masks": 0.9993})
    both = one + other + Finding()
    assert (both.further, both.far) == ({"masks": 0.2, "colour": 0.0}, {"masks": [1, 11]})
    assert both.overlaps == {"masks": 0.9993}


# Regions -------------------------------------------------------------------------------------------------------

PLACE = Place((60, 320), np.ones(2, np.float32), np.array([[10.0, 10, 50, 50], [100, 0, 300, 60]], np.float32))


def ramp(*shifts):
    """Masks that rise from left to right through 0.5, moved a little."""
    line = np.linspace(0.0, 1.0, 28, dtype=np.float32)
    return np.stack([np.tile(line, (28, 1)) + np.float32(shift) for shift in shifts])


@pytest.mark.parametrize("rule", ["detectron2", "torchvision"])
def test_regions_overlap_but_for_pixels_that_the_last_digits_decide(rule):
    field = InstanceMasks(28, rule)
    assert field.overlaps(ramp(0, 0), ramp(5e-5, -5e-5), PLACE, field).tolist() == [1.0, 1.0]
    less = field.overlaps(ramp(0, 0), ramp(0.05, 0.05), PLACE, field)
    assert (less < 0.999).all() and (less > 0.8).all()


def test_a_region_by_another_rule_is_another():
    ours, theirs = InstanceMasks(28, "detectron2"), InstanceMasks(28, "torchvision")
    assert (ours.overlaps(ramp(0, 0), ramp(0, 0), PLACE, theirs) < 0.99).all()


@pytest.mark.parametrize("rule", ["detectron2", "torchvision"])
def test_a_placed_region_is_the_one_that_is_placed_here(rule):
    field, values = InstanceMasks(28, rule), ramp(0, 0.2)
    pixels = np.zeros((2, 64, 400), np.uint8)  # of a batch with larger images
    for row, segment in zip(pixels, field.to_original(values, PLACE), strict=True):
        row[:60, :320] = masks.decode(segment)
    assert field.overlaps(values, pixels, PLACE, field.placed()).tolist() == [1.0, 1.0]
    pixels[0, 5, 300] = 1  # far from its box
    found = field.overlaps(values, pixels, PLACE, field.placed())
    assert found[0] == 1 - 1 / (pixels[0].sum()) and found[1] == 1
    described = field.placed().describe((None, None))
    assert (described["kind"], described["dtype"], described["shape"]) == ("pasted_masks", "uint8", [None] * 4)


def test_float32_refuses_regions_that_overlap_less():
    field = dataclasses.replace(Further(), regions=(InstanceMasks(28),), overlaps=lambda *given: np.array([1.0, 0.998]))
    with pytest.raises(VerificationError, match="masks of the shape at .200.0.* an IoU of 0.9980 .at least 0.999."):
        agreement.exactly(detections(points()), detections(points()), ["shape"], None, further=field)
