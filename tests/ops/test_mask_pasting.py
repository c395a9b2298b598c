"""Pasting by the rules of both sources, against them (golden/make_mask_pasting.py) and against their exact counts."""

import numpy as np
import pytest

from keras_fpn.ops import mask_pasting, masks

BOTH = tuple(mask_pasting.RULES)


def test_every_mask_is_that_of_the_source_but_for_ties(golden):
    kept = golden("mask_pasting")
    count, height, width = kept["size"]
    probabilities = kept["masks"].astype(np.float32) / 255
    for rule in BOTH:
        expected = np.unpackbits(kept[f"{rule}/pasted"])[: count * height * width].reshape(count, height, width) == 1
        decided = np.ones(expected.size, bool)
        decided[kept[f"{rule}/ties"]] = False
        segments = mask_pasting.paste_all(probabilities, kept["boxes"], int(height), int(width), rule)
        found = np.stack([masks.decode(segment) for segment in segments])
        np.testing.assert_array_equal(found.ravel()[decided], expected.ravel()[decided])
        assert expected.any(axis=(1, 2)).sum() > 30 and (~decided).sum() < 30


def test_soft_pasting_is_that_of_the_source(golden):
    kept = golden("mask_pasting")
    _, height, width = kept["size"]
    for rule in BOTH:
        arguments = kept["masks"][2:3].astype(np.float32) / 255, kept["boxes"][2:3], int(height), int(width), rule
        (found,) = mask_pasting.paste_soft(*arguments)
        left, top, right, bottom = np.rint(kept["boxes"][2]).astype(int)
        window = np.s_[top:bottom, left:right]  # beyond it detectron2's rim fades out, which the box ends
        np.testing.assert_allclose(found[window], kept[f"{rule}/soft"][window], atol=1e-6)
        assert not found[: top - 3].any() and not found[:, right + 3 :].any()


def pixels(mask, box, rule, size=(100, 100)):
    return int(masks.areas([mask_pasting.paste(mask, np.array(box), *size, rule)])[0])


# Counted by running both libraries: torch 2.14.1, torchvision 0.29.1, detectron2 02b5c4e2.
@pytest.mark.parametrize(
    ("box", "torchvision", "detectron2"),
    [
        ([10, 10, 20, 20], 144, 100),
        ([0, 0, 8, 8], 81, 64),
        ([30, 30, 31, 31], 9, 1),
        ([5, 5, 5.4, 30], 50, 0),  # no pixel centre lies in a sliver
        ([10.7, 20.2, 50.3, 80.9], 2538, 2379),
        ([10.5, 10.5, 20.5, 20.5], 121, 117),  # pixels on the border are exactly 0.5 and count, corners are 0.25
    ],
)
def test_a_mask_of_ones_covers_as_many_pixels_as_in_the_source(box, torchvision, detectron2):
    ones = np.ones((28, 28), np.float32)
    assert (pixels(ones, box, "torchvision"), pixels(ones, box, "detectron2")) == (torchvision, detectron2)


def test_half_a_mask_covers_half_the_box():
    half = np.zeros((28, 28), np.float32)
    half[:, :14] = 1
    assert pixels(half, [10, 10, 66, 66], "torchvision") == 1596
    assert pixels(half, [10, 10, 66, 66], "detectron2") == 1568 == 28 * 56


def test_a_ramp_is_interpolated_between_bins():
    ramp = np.tile(np.linspace(0, 1, 28, dtype=np.float32), (28, 1))[None]
    expected = {
        "torchvision": [0.0833, 0.1759, 0.2685, 0.3611, 0.4537, 0.5463, 0.6389, 0.7315, 0.8241, 0.9167],
        "detectron2": [0.0333, 0.137, 0.2407, 0.3444, 0.4481, 0.5519, 0.6556, 0.7593, 0.863, 0.9667],
    }
    for rule, values in expected.items():
        (found,) = mask_pasting.paste_soft(ramp, np.array([[10, 10, 20, 20]]), 40, 40, rule)
        np.testing.assert_allclose(found[15, 10:20], values, atol=5e-5)


def test_torchvision_cuts_boxes_towards_zero():
    """The grown box begins at 9.643, which is 9, or at -0.4, which is 0; a 1e-4 px more would move a whole mask."""
    ones, row = np.ones((28, 28), np.float32), 15
    (grown, outside) = mask_pasting.paste_soft(
        np.stack([ones, ones]), np.array([[10, 10, 20, 20], [0, 0, 11.2, 20]]), 40, 40, "torchvision"
    )
    assert np.flatnonzero(grown[row])[0] == 9 and np.flatnonzero(outside[row])[0] == 0
    assert np.flatnonzero(outside[row])[-1] == 11  # 11.6


@pytest.mark.parametrize("rule", BOTH)
def test_boxes_without_extent_outside_or_not_finite_have_no_pixels(rule):
    ones = np.ones((28, 28), np.float32)
    for box in ([200, 10, 240, 50], [np.nan, 0, 10, 10], [0, 0, np.inf, 10], [-60, 10, -40, 50]):
        assert pixels(ones, box, rule) == 0, box
    assert pixels(ones, [30, 30, 30, 60], rule) == (0 if rule == "detectron2" else 32), "one pixel wide there"
    # detectron2's box ends at the borders of the image, so that its corners are 0.64 * 0.64.
    assert pixels(ones, [-1e6, -1e6, 1e6, 1e6], rule) == 100 * 100 - (4 if rule == "detectron2" else 0)
    assert mask_pasting.paste_all(np.zeros((0, 28, 28)), np.zeros((0, 4)), 10, 10, rule) == []


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match="a rule of pasting is one of detectron2, torchvision, not 'detectron'"):
        mask_pasting.paste(np.ones((28, 28)), [0, 0, 1, 1], 10, 10, "detectron")
