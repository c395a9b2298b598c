"""Gradients of a backbone against those that a golden script kept of its reference."""

import numpy as np


def watched(kept):
    """Names of the tensors whose gradients were kept."""
    return [key.removeprefix("gradients/") for key in kept if key.startswith("gradients/") and "images" not in key]


def assert_same(kept, slice_of, entries, names, gradients):
    """Those of the images, then of the tensors `names`, whose `Entry`s are given by name, within 1e-4 in norm."""
    _assert_near(slice_of(gradients[0]), kept["gradients/images"], "images")
    for key, gradient in zip(names, gradients[1:], strict=True):
        gradient = entries[key].transform.to_source(np.asarray(gradient)).reshape(-1)
        _assert_near(slice_of(gradient), kept[f"gradients/{key}"], key)


def _assert_near(ours, theirs, name):
    assert np.linalg.norm(ours - theirs) <= 1e-4 * np.linalg.norm(theirs), name
