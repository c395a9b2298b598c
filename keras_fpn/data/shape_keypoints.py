"""Keypoints of the embedded data set: the corners or tips of each shape, named by where they are.

All shapes share one list of names, as COCO's files and pycocotools want it; a shape labels those that it has. Places
are in the coordinates of its outline, where the first pixel runs from 0 to 1.
"""

from collections.abc import Sequence

import numpy as np

NAMES = ("top", "right", "bottom", "left", "top_left", "top_right", "bottom_right", "bottom_left")
SIGMA = 0.05  # of pycocotools' object keypoint similarity, of every keypoint
# What pictures join, from one to the next. A model has one skeleton for all classes: what one shape joins, another that
# has both ends shows, too.
_SKELETONS = {
    "circle": ("top", "right", "bottom", "left", "top"),
    "square": ("top_left", "top_right", "bottom_right", "bottom_left", "top_left"),
    "triangle": ("top", "bottom_right", "bottom_left", "top"),
    "star": ("top", "right", "bottom_right", "bottom_left", "left", "top"),
}
_VISIBLE, _HIDDEN = 2, 1


def category_keys(shape: str) -> dict[str, list]:
    """The keys of a category of a COCO file that speak of keypoints: names, skeleton counted from 1, sigmas."""
    way = [NAMES.index(name) + 1 for name in _SKELETONS[shape]]
    pairs = [list(pair) for pair in zip(way, way[1:], strict=False)]
    return {"keypoints": list(NAMES), "skeleton": pairs, "sigmas": [SIGMA] * len(NAMES)}


def annotation_keys(rows: np.ndarray) -> dict[str, int | list]:
    """The keys of an annotation of a COCO file: "keypoints" and how many of them are labelled."""
    places = [[round(x, 2), round(y, 2), int(v)] if v else [0, 0, 0] for x, y, v in rows.tolist()]
    return {"keypoints": [value for place in places for value in place], "num_keypoints": int((rows[:, 2] > 0).sum())}


def shown_keypoints(shapes: Sequence[str], outlines: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Keypoints of shapes that are drawn one over the other.

    Args:
        shapes: names, in drawing order.
        outlines: the whole polygon `[n, 2]` of each, in pixels of the image, beyond its border, too.
        size: side of the square image.

    Returns:
        for each `[8, 3]` x, y, v: 2 where it is seen, 1 where a later shape lies over it, 0 0 0 outside of the image or
        where the shape has no such keypoint.
    """
    found = []
    for number, (shape, outline) in enumerate(zip(shapes, outlines, strict=True)):
        rows = np.zeros((len(NAMES), 3))
        for name, place in _places(shape, outline).items():
            if (place >= 0).all() and (place <= size).all():
                is_hidden = any(_contains(later, place) for later in outlines[number + 1 :])
                rows[NAMES.index(name)] = (*place, _HIDDEN if is_hidden else _VISIBLE)
        found.append(rows)
    return found


def _places(shape, outline) -> dict[str, np.ndarray]:
    """`{name: x, y}` of an outline, whose points are in the order in which `shapes` makes them."""
    if shape == "circle":
        (x1, y1), (x2, y2) = outline.min(0), outline.max(0)
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        return dict(zip(NAMES[:4], np.array([[x, y1], [x2, y], [x, y2], [x1, y]]), strict=True))
    if shape == "square":
        return dict(zip(("top_left", "top_right", "bottom_right", "bottom_left"), outline, strict=True))
    if shape == "triangle":
        return dict(zip(("top", "bottom_right", "bottom_left"), outline, strict=True))
    return dict(zip(("top", "right", "bottom_right", "bottom_left", "left"), outline[::2], strict=True))


def _contains(polygon, place) -> bool:
    """Whether a polygon has a place inside: a ray to the right crosses its outline an odd number of times."""
    (x1, y1), (x2, y2) = polygon.T, np.roll(polygon, -1, 0).T
    crosses = (y1 > place[1]) != (y2 > place[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        at = x1 + (place[1] - y1) / (y2 - y1) * (x2 - x1)
    return bool((crosses & (place[0] < at)).sum() % 2)
