"""benchmarks/parity/masks.py and keypoints.py on answers made by hand: what is the same, and what may be excused."""

import numpy as np
import pytest

from keras_fpn.ops import mask_pasting
from keras_fpn.parts.mask_fields import InstanceMasks
from keras_fpn.parts.output_fields import Place

SIZE = (60, 70)


@pytest.fixture(scope="module")
def parity(parity_modules):
    return parity_modules("agreement", "instances", "keypoints", "masks")


@pytest.fixture
def judged(parity):
    """Verdict of masks pasted by torchvision's rule: ours of `values` into `box`, theirs of ones into `their_box`."""

    def verdict(values, box, their_box, own=None):
        box, their_box = np.array(box, np.float32), np.array(their_box, np.float32)
        ours = mask_pasting.paste(values, box, *SIZE, "torchvision")
        theirs = mask_pasting.paste_soft(np.ones((1, 28, 28)), their_box[None], *SIZE, "torchvision")[0] > 0.5
        place = Place(SIZE, np.ones(2, np.float32), their_box[None])
        verdicts = [] if own is None else [own]
        field = InstanceMasks(28, "torchvision")
        given = parity.instances.Answers(field, values[None], None, their_box[None], place, verdicts)
        return parity.masks.Masks().verdict(ours, theirs, given, 0, box)

    return verdict


ONES = np.ones((28, 28), np.float32)
BOX = [12.4, 12.4, 40.4, 40.4]  # grown by a bin 11.4 to 41.4: far from whole pixels


def test_same_masks_are_the_same(judged):
    assert (judged(ONES, BOX, BOX).is_same, judged(ONES, BOX, BOX).difference) == (True, 0)


def test_another_mask_is_not_excused(judged, parity):
    assert not judged(_with_a_patch(0), BOX, BOX, parity.agreement.Verdict(0.0, True)).is_explained


def test_a_mask_whose_probabilities_are_near_a_half_is_excused(judged):
    assert judged(_with_a_patch(0.4995), BOX, BOX).reason == "near ties"
    assert judged(_with_a_patch(0.4995), BOX, BOX).gap == pytest.approx(0.0005, abs=1e-6)
    assert not judged(_with_a_patch(0.45), BOX, BOX).is_explained


def _with_a_patch(value):
    values = ONES.copy()
    values[10:20, 10:20] = value
    return values


def test_a_border_that_truncation_moves_is_excused_where_the_mask_itself_is_right(judged, parity):
    # Grown by a bin, the left borders are 10.0001 and 9.9999.
    boxes = [11.0001, 12.4, 39.0001, 40.4], [10.9999, 12.4, 38.9999, 40.4]
    assert judged(ONES, *boxes, parity.agreement.Verdict(0.0, True)).reason == "truncation"
    assert not judged(ONES, *boxes, parity.agreement.Verdict(0.5, False)).is_explained


@pytest.fixture
def placed(parity):
    """Verdict of keypoints over a map with two peaks, ours on the first and theirs on the second."""

    def verdict(second, box=(0, 0, 112, 112), own_box=None, own=None):
        maps = np.zeros((1, 56, 56, 1), np.float32)
        maps[0, 10, 10], maps[0, 40, 30] = 1, second
        box = np.array(box, np.float32)
        place = Place((200, 200), np.ones(2, np.float32), box[None])
        verdicts = [] if own is None else [own]
        given = parity.instances.Answers(None, None, maps, box[None], place, verdicts)
        # A cell has 2 x 2 pixels, a quarter of it from its middle, of which the first is taken.
        ours, theirs = np.array([[20.5, 20.5, 1]]), np.array([[60.5, 80.5, 1]])
        return parity.keypoints.Keypoints().verdict(ours, theirs, given, 0, np.array(own_box or box, np.float32))

    return verdict


def test_a_keypoint_at_a_peak_as_high_is_excused(placed):
    assert placed(0.9995).reason == "near ties"
    share = (1.25 / 4 - 2.25) / 16 + 1  # of a cell in a pixel a quarter away, along an axis: Keys' cubic, a = -0.75
    assert placed(0.9995).gap == pytest.approx(0.0005 * share**2, abs=1e-6)


def test_a_keypoint_at_a_lower_peak_is_not_excused(placed):
    assert not placed(0.99).is_explained


def test_a_box_beside_a_whole_number_of_pixels_is_excused_where_the_keypoints_in_it_are_right(placed, parity):
    same = parity.agreement.Verdict(0.0, True)
    boxes = (0, 0, 112.00001, 112), (0, 0, 111.99999, 112)
    assert placed(0.9, *boxes, same).reason == "truncation"
    assert not placed(0.9, *boxes, parity.agreement.Verdict(9.0, False)).is_explained
    assert not placed(0.9, (0, 0, 112.4, 112.4), (0, 0, 112.39, 112.4), same).is_explained


def test_instances_are_counted_by_what_explains_them(parity):
    found = parity.agreement.Agreement()
    for verdict in ((0.01, True), (3.0, False, "near ties", 2e-4), (5.0, False)):
        found.add(parity.agreement.Verdict(*verdict))
    both = found | found
    assert (both.total, both.same, both.reasons, both.unexplained) == (6, 2, {"near ties": 2}, 2)
    assert (both.difference, both.gap, both.share) == (0.01, 2e-4, 1 / 3)
