"""Checks of an artefact's inputs and names, before its runtime complains."""

import os
from collections.abc import Iterable

import numpy as np

from keras_fpn.console.errors import UserError
from keras_fpn.export.description import Description


def check_names(
    path: str | os.PathLike, description: Description, inputs: Iterable[str], outputs: Iterable[str]
) -> None:
    """Refuse a graph that is not the one described.

    Args:
        path: of the artefact, for the error.
        description: its `Description`.
        inputs, outputs: names that the runtime finds in the graph.

    Raises:
        UserError: they are others.
    """
    if set(inputs) != set(description.inputs) or set(outputs) != set(description.outputs):
        raise UserError(f"{path}: its description is of another graph than the one inside; export the model again")


def checked_inputs(
    path: str | os.PathLike,
    description: Description,
    images: np.ndarray,
    image_sizes: np.ndarray | None = None,
    proposals: np.ndarray | None = None,
    num_proposals: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return the inputs by name as the artefact takes them: see `open_artefact`.

    Args:
        path: of the artefact, for the error.
        description: its `Description`.
        images: `[B, H, W, 3]` of the description's input type, RGB 0..255; H and W its frame, if it has one.
        image_sizes: `[B, 2]` whole numbers, height and width of the valid part; None: the whole images.
        proposals: `[B, P, 4]` numbers, pixels of the images, if the artefact needs them.
        num_proposals: `[B]` whole numbers, how many of the P are proposals; None: all of them.

    Raises:
        UserError: another dtype or shape, proposals that are missing, in the way, or of other images.
    """
    inputs = _checked_images(path, description, images, image_sizes)
    if description.needs_proposals:
        if proposals is None:
            raise UserError(f"{path}: finds nothing without proposals; give proposals [batch, P, 4] and num_proposals")
        boxes, numbers = _checked_proposals(path, inputs["images"], np.asarray(proposals), num_proposals)
        max_rows = description.inputs["proposals"]["shape"][1]
        rows = _rows(path, boxes, numbers, max_rows)
        return inputs | {"proposals": rows, "num_proposals": numbers}
    if proposals is not None or num_proposals is not None:
        raise UserError(f"{path}: makes proposals of its own or needs none; leave them out")
    return inputs


def _checked_images(path, description, images, image_sizes):
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise UserError(f"{path}: images have shape {images.shape}; give [batch, height, width, 3], at least one image")
    if images.dtype != description.input_type:
        raise UserError(f"{path}: images are {images.dtype}; this artefact takes {description.input_type}")
    frame = description.frame
    if frame is not None and images.shape[1:3] != tuple(frame):
        given, needed = (f"{height}x{width}" for height, width in (images.shape[1:3], frame))
        raise UserError(f"{path}: images are {given}; this artefact takes {needed}: letterbox them, or export another")
    if image_sizes is None:
        image_sizes = np.tile(np.array(images.shape[1:3], np.int32), (len(images), 1))
    return {"images": images, "image_sizes": _checked_sizes(path, images, np.asarray(image_sizes))}


def _checked_proposals(path, images, boxes, numbers):
    if boxes.ndim != 3 or boxes.shape[0] != len(images) or boxes.shape[2] != 4 or boxes.dtype.kind not in "iuf":
        raise UserError(f"{path}: proposals are {boxes.dtype} {boxes.shape}; give float32 [batch, P, 4], x1 y1 x2 y2")
    numbers = np.full(len(boxes), boxes.shape[1], np.int32) if numbers is None else np.asarray(numbers)
    if numbers.shape != (len(images),) or numbers.dtype.kind not in "iu":
        raise UserError(f"{path}: num_proposals are {numbers.dtype} {numbers.shape}; give int32 [batch]")
    if (numbers < 0).any() or (numbers > boxes.shape[1]).any():
        raise UserError(f"{path}: num_proposals must be from 0 to the {boxes.shape[1]} rows of proposals")
    is_there = np.arange(boxes.shape[1]) < numbers[:, None]
    edges = np.array([*images.shape[2:0:-1]] * 2)
    # NaN fails every comparison.
    if not ((boxes >= 0) & (boxes <= edges) & (boxes[..., [2, 3] * 2] >= boxes))[is_there].all():
        raise UserError(f"{path}: a proposal is no box within the images of {images.shape[1]} x {images.shape[2]}")
    return np.where(is_there[..., None], boxes, 0).astype(np.float32), numbers.astype(np.int32)


def _rows(path, boxes, numbers, max_rows):
    """Boxes with as many rows as a static input has; where any number will do, with one at least."""
    max_rows = max_rows or max(boxes.shape[1], 1)
    if numbers.max() > max_rows:
        raise UserError(f"{path}: {numbers.max()} proposals; this artefact takes {max_rows}: leave out the worst")
    return np.pad(boxes[:, :max_rows], [(0, 0), (0, max(max_rows - boxes.shape[1], 0)), (0, 0)])


def _checked_sizes(path, images, sizes):
    if sizes.shape != (len(images), 2) or sizes.dtype.kind not in "iu":
        raise UserError(
            f"{path}: image_sizes are {sizes.dtype} {sizes.shape}; give int32 [batch, 2], height and width of each"
        )
    if (sizes < 1).any() or (sizes > images.shape[1:3]).any():
        raise UserError(f"{path}: image_sizes must be from 1 to the images' {images.shape[1]} x {images.shape[2]}")
    return sizes.astype(np.int32)
