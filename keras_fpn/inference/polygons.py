"""Outlines of what was found as polygons, from the run lengths that results have."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_fpn.inference.result_forms import ResultForm
from keras_fpn.ops.mask_outlines import outlines

DECIMALS = 2  # of a pixel


class Polygons(ResultForm):
    """Results whose "segmentation" is a list of polygons `[x, y, x, y, ...]`, one of each part, their holes filled.

    Results without run lengths stay as they are; a mask without pixels gives an empty list.
    """

    def __init__(self):
        self._holed = 0

    def change(self, result: Mapping[str, Any]) -> dict:
        """See `ResultForm`."""
        parts = self.parts(result)
        return dict(result) if parts is None else {**result, "segmentation": [part.ravel().tolist() for part in parts]}

    def parts(self, result: Mapping[str, Any]) -> list[np.ndarray] | None:
        """`[n, 2]` corners of each part, the largest first; None of a result without run lengths."""
        if not isinstance(result.get("segmentation"), dict):
            return None
        found = outlines(result["segmentation"])
        self._holed += any(outline.holes for outline in found)
        return [outline.outer.round(DECIMALS) for outline in found]

    def note(self) -> str:
        """See `ResultForm`."""
        masks = "1 mask has a hole" if self._holed == 1 else f"{self._holed} masks have holes"
        return f"note: {masks}, which polygons fill" if self._holed else ""
