"""Drawing of keypoints: points, and the lines that join them."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageDraw

from keras_fpn.parts.keypoint_fields import KeypointPlaces

if TYPE_CHECKING:
    from keras_fpn.reporting.layers import Canvas

_RIM = (255, 255, 255)


def draw_skeletons(canvas: "Canvas", values: np.ndarray, field: KeypointPlaces) -> None:
    """Draw the keypoints of each object and the skeleton between them in its colour.

    values: `[n, K, 3]` x, y in the image and a score; 0, 0, 0 is not drawn, one without a score (NaN) is hollow.
    """
    draw = ImageDraw.Draw(canvas.picture)
    for index in canvas.order:
        rows, color = np.asarray(values[index], np.float64), canvas.colors[index]
        is_there = (rows != 0).any(axis=1) & np.isfinite(rows[:, :2]).all(axis=1)
        points = [tuple(point) for point in (rows[:, :2] * canvas.factor).tolist()]
        skeleton = field.skeleton_of(None if canvas.classes is None else int(canvas.classes[index]))
        limbs = [(points[one], points[other]) for one, other in skeleton if is_there[[one, other]].all()]
        for width, filling in ((canvas.width + 2, _RIM), (canvas.width, color)):  # all rims below all lines
            for limb in limbs:
                draw.line(limb, fill=filling, width=width)
        for number in np.flatnonzero(is_there).tolist():
            _draw_point(draw, points[number], color, canvas.width, is_hollow=np.isnan(rows[number, 2]))


def _draw_point(draw, point, color, width, is_hollow):
    x, y = point
    rings = ((width + 2, _RIM), (width + 1, color), (width - 0.5, _RIM if is_hollow else color))
    for radius, filling in rings:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=filling)
