"""One image as every runtime sees it: drawn from each artefact's own detections."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from keras_fpn.export import artefact_inference
from keras_fpn.inference import detecting
from keras_fpn.reporting import visualize

if TYPE_CHECKING:
    from PIL import Image

    from keras_fpn.export.parity import Export
    from keras_fpn.models.detector import Detector


def pictures(
    model: "Detector", exports: "Iterable[Export]", file: str | os.PathLike, threshold: float = 0.5
) -> "list[tuple[str, Image.Image]]":
    """Draw what a model and its exported files find in one image.

    Args:
        model: a `Detector`.
        exports: `parity.Export`s.
        file: the image file.
        threshold: lowest score that is drawn.

    Returns:
        `[(caption, PIL image)]`, the model's own first.
    """
    drawn = [_drawn("Keras", detecting.detect(model, file, threshold)[0])]
    for export in exports:
        found = artefact_inference.detect(export.artefact, file, threshold)[0]
        drawn.append(_drawn(f"{export.artefact.format}, {export.artefact.description.precision}", found))
    return drawn


def _drawn(caption, found):
    return f"{caption}: {len(found.names)} found", visualize.draw_image_detections(found)
