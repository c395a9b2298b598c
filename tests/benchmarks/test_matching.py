"""benchmarks/parity/matching.py on lists made by hand: what it must catch, and the ties that it may excuse."""

import numpy as np
import pytest

# Far from one another, best first.
BOXES = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
LABELS = np.array([1, 2, 1, 2])


@pytest.fixture(scope="module")
def matching(parity_modules):
    return parity_modules("matching").matching


@pytest.fixture
def compare(matching):
    """Match two lists, each a tuple of the arguments of `Ranked`."""

    def compared(ours, theirs, most=100, least_score=-np.inf):
        return matching.match(matching.Ranked(*ours), matching.Ranked(*theirs), 0.5, most, least_score)

    return compared


def test_same_lists_have_no_differences(compare, matching):
    assert compare((BOXES, SCORES, LABELS), (BOXES, SCORES, LABELS)) == matching.Match()


def test_largest_differences_are_those_of_matched_boxes(compare):
    found = compare((BOXES + 0.03125, SCORES), (BOXES, SCORES - np.float32([0, 0, 0.25, 0])))
    assert found.boxes == 0.03125
    assert found.scores == pytest.approx(0.25)
    assert found.unmatched == 0


@pytest.mark.parametrize("row", range(4))
def test_missing_box_is_caught_on_either_side(compare, row):
    rest = np.delete(np.arange(4), row)
    assert compare((BOXES[rest], SCORES[rest]), (BOXES, SCORES)).unmatched == 1
    assert compare((BOXES, SCORES), (BOXES[rest], SCORES[rest])).unmatched == 1


@pytest.mark.parametrize("shift", [0.1, 1, 8])
@pytest.mark.parametrize("row", range(4))
def test_moved_box_is_caught_on_both_sides(compare, row, shift):
    moved = BOXES.copy()
    moved[row] += shift
    found = compare((moved, SCORES), (BOXES, SCORES))
    assert (found.unmatched, found.excused) == (2, 0)


@pytest.mark.parametrize("row", range(4))
def test_wrong_class_is_caught_in_the_last_place_too(compare, row):
    wrong = LABELS.copy()
    wrong[row] = 3
    found = compare((BOXES, SCORES, LABELS), (BOXES, SCORES, wrong), most=4)
    assert (found.unmatched, found.excused) == (2, 0)


def test_swap_of_different_scores_is_caught(compare):
    order = [0, 2, 1, 3]
    found = compare((BOXES[order], SCORES[order]), (BOXES, SCORES))
    assert found.swapped == 1
    assert found.gap == pytest.approx(0.1)  # 0.8 stands behind 0.7


def test_swap_of_equal_scores_counts_as_none(compare):
    order, scores = [0, 2, 1, 3], np.array([0.9, 0.8, 0.8, 0.6])
    found = compare((BOXES[order], scores), (BOXES, scores))
    assert (found.swapped, found.gap, found.unmatched) == (0, 0, 0)


# Reason 1: the cut of a level, the least score ------------------------------------------------------------------


def test_box_at_the_cut_of_its_level_is_excused(compare):
    found = compare((BOXES, SCORES, None, BOXES[2:3]), (BOXES[[0, 1, 3]], SCORES[[0, 1, 3]]))
    assert (found.unmatched, found.excused) == (0, 1)


def test_box_of_a_score_at_the_cut_that_is_not_at_it_is_caught(compare):
    elsewhere = BOXES[2:3] + 100
    found = compare((BOXES, SCORES, None, elsewhere), (BOXES[[0, 1, 3]], SCORES[[0, 1, 3]]))
    assert (found.unmatched, found.excused) == (1, 0)


def test_edge_of_the_other_side_excuses_nothing(compare):
    found = compare((BOXES, SCORES), (BOXES[[0, 1, 3]], SCORES[[0, 1, 3]], None, BOXES[2:3]))
    assert (found.unmatched, found.excused) == (1, 0)


@pytest.mark.parametrize(("least_score", "excused"), [(0.59995, 1), (0.5995, 0)])
def test_score_at_the_least_is_excused(compare, least_score, excused):
    found = compare((BOXES, SCORES), (BOXES[:3], SCORES[:3]), least_score=least_score)
    assert (found.unmatched, found.excused) == (1 - excused, excused)


# Reason 2: an overlap at the threshold --------------------------------------------------------------------------


def _pair(overlap):
    """Two boxes of one height whose intersection over union is this."""
    shift = 10 * (1 - overlap) / (1 + overlap)
    return np.array([[0, 0, 10, 10], [shift, 0, 10 + shift, 10]])


@pytest.mark.parametrize(("overlap", "excused"), [(0.49995, 1), (0.4995, 0), (0.1, 0)])
def test_overlap_at_the_threshold_is_excused(compare, overlap, excused):
    boxes, scores = _pair(overlap), np.array([0.9, 0.8])
    found = compare((boxes, scores), (boxes[:1], scores[:1]))
    assert (found.unmatched, found.excused) == (1 - excused, excused)


def test_overlap_with_a_worse_box_or_another_class_excuses_nothing(compare):
    boxes, scores = _pair(0.49995), np.array([0.9, 0.8])
    assert compare((boxes, scores), (boxes[1:], scores[1:])).unmatched == 1
    assert compare((boxes, scores, np.array([1, 2])), (boxes[:1], scores[:1], np.array([1]))).unmatched == 1


@pytest.mark.parametrize(("distance", "excused"), [(0.0, 0), (0.002, 1)])
@pytest.mark.parametrize("width", [1.5, 150.0])
def test_overlap_of_a_thin_box_hangs_on_the_last_digits_of_its_sides(compare, width, distance, excused):
    """A box and its half and 0.0004 of it: what a side is off by that is matched moves the overlap of the thin one."""
    far = np.array([[500.0, 0.0, 510.0, 10.0]])
    whole, half = [0.0, 0.0, width, 100.0], [0.0, 0.0, 0.5004 * width, 100.0]
    ours = np.array([[500.0 + distance, 0.0, 510.0, 10.0], whole])
    found = compare((ours, np.array([0.9, 0.8])), (np.array([*far, whole, half]), np.array([0.9, 0.8, 0.7])))
    assert found.excused == (excused if width < 2 else 0)
    assert found.unmatched == 1 - found.excused


# Reason 3: a tie for the last place -------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "score", "excused"), [(3, 0.70005, 2), (3, 0.71, 0), (4, 0.70005, 0)])
def test_a_tie_for_the_last_place_is_excused(compare, most, score, excused):
    ours = BOXES[:3], SCORES[:3]
    theirs = BOXES[[0, 1, 3]], np.array([0.9, 0.8, score])
    found = compare(ours, theirs, most)
    assert (found.unmatched, found.excused) == (2 - excused, excused)


# Reasons 4 and 5: what follows from an excused box ---------------------------------------------------------------


def test_box_that_an_excused_one_suppresses_is_excused(compare):
    boxes, scores = _pair(0.8), np.array([0.9, 0.8])
    ours, theirs = (boxes[1:], scores[1:]), (boxes[:1], scores[:1])
    assert compare(ours, theirs).unmatched == 2
    assert compare(ours, (*theirs, None, boxes[:1])).excused == 2


@pytest.mark.parametrize("shift", [0.1, 1])
def test_a_last_box_that_moved_is_no_tie_for_its_place(compare, shift):
    moved = BOXES.copy()
    moved[3] += shift
    assert compare((moved, SCORES), (BOXES, SCORES), most=4).unmatched == 2


def test_an_excused_box_pushes_one_off_the_end_and_no_more(compare):
    theirs = BOXES[:3], SCORES[:3], None, BOXES[1:2]
    ours = BOXES[[0, 2, 3]], SCORES[[0, 2, 3]]
    found = compare(ours, theirs, most=3)
    assert (found.unmatched, found.excused) == (0, 2)
    assert compare(ours, theirs, most=4).unmatched == 1  # there was room for it
    assert compare(ours, theirs[:3], most=3).unmatched == 2  # for which there was no excuse


@pytest.mark.parametrize(("shift", "gap", "excused"), [(2, 1e-6, 3), (2, 1e-4, 0), (0.5, 1e-6, 0)])
def test_two_boxes_in_a_tie_that_suppress_each_other_are_excused(compare, shift, gap, excused):
    """IoU of the two is 0.67 at a shift of 2, above the threshold of 0.5; the third box only the second suppresses."""
    first, second, third = [0, 0, 10, 10], [shift, 0, shift + 10, 10], [shift + 2, 0, shift + 12, 10]
    ours = np.float32([first, third]), np.float32([0.9, 0.5])
    theirs = np.float32([second]), np.float32([0.9 - gap])
    found = compare(ours, theirs)
    assert (found.excused, found.unmatched) == (excused, 3 - excused)


def test_lone_boxes_are_those_that_the_other_list_lacks(matching):
    ours, theirs = matching.Ranked(BOXES[1:], SCORES[1:]), matching.Ranked(BOXES[:3], SCORES[:3])
    np.testing.assert_array_equal(matching.lone_boxes(ours, theirs), [BOXES[3:], BOXES[:1]])
