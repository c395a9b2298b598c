"""Masks of objects and COCO's run-length encoding of them: pasted from small grids, packed, compared.

A *segment* here is COCO's compressed run-length encoding, `{"size": [height, width], "counts": str}`, as it stands in
a results file: some 200 bytes where the mask of an image has a megabyte. pycocotools encodes, decodes and compares.
Masks are regular grids of bins over a box `[x1, y1, x2, y2]` in pixels: of n bins, bin i covers
`x1 + (x2 - x1) * [i, i + 1] / n`, as pixel i of an image covers `[i, i + 1]`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

_AT_A_TIME = 255  # segments whose areas pycocotools gives: it writes their number into a byte
_REACH = 100  # sides of an image: pycocotools keeps every pixel of an outline, and ends the program where they are many
THRESHOLD = 0.5  # probability from which a pixel is part of the object


def paste(mask: np.ndarray, box: np.ndarray, height: int, width: int) -> dict[str, Any]:
    """The segment that a mask makes in an image: interpolated between the centres of the bins, then thresholded.

    Args:
        mask: `[m, n]` probabilities.
        box: `[4]` x1, y1, x2, y2 in pixels of the image; may lie partly or wholly outside. Nothing is pasted beyond
            it, so that a mask of ones fills exactly the pixels whose centres lie in the box; a centre on its right
            or lower border is outside, so that boxes side by side share no pixel.
        height, width: of the image, pixels.

    Returns:
        The segment; one without pixels where the box has no extent or the mask nothing above `THRESHOLD`.
    """
    mask = np.asarray(mask, np.float32)
    top, rows = _between_bins(box[1], box[3], mask.shape[0], height)
    left, columns = _between_bins(box[0], box[2], mask.shape[1], width)
    # Not as products of matrices: BLAS would start threads for each of a thousand small ones.
    window = _interpolate(_interpolate(mask, *rows).T, *columns)  # [columns, rows]: COCO counts down the columns
    return encode_window(window >= THRESHOLD, top, left, height, width)


def paste_all(masks: np.ndarray, boxes: np.ndarray, height: int, width: int) -> list[dict[str, Any]]:
    """`paste` of `[D, m, n]` probabilities over `[D, 4]` boxes: a list of D segments."""
    return [paste(mask, box, height, width) for mask, box in zip(masks, boxes, strict=True)]


def _between_bins(start, end, bins, size):
    """First pixel of an axis whose centre lies from `start` to `end`, and between which bins it and the others lie.

    Returns:
        (first, (bins before `[n]` int, bins after `[n]` int, share of the latter `[n, 1]`)).
    """
    start, end = float(start), float(end)
    if not (np.isfinite(start) and np.isfinite(end) and end > start):
        return 0, (np.zeros(0, int), np.zeros(0, int), np.zeros((0, 1), np.float32))
    first = int(np.clip(np.ceil(start - 0.5), 0, size))
    last = int(np.clip(np.ceil(end - 0.5), first, size))
    place = ((np.arange(first, last) + 0.5 - start) * (bins / (end - start)) - 0.5).clip(0, bins - 1)
    before = place.astype(int)
    return first, (before, np.minimum(before + 1, bins - 1), (place - before).astype(np.float32)[:, None])


def _interpolate(lines, before, after, share):
    """`[n, k]` between the lines of `[m, k]`."""
    return lines[before] * (1 - share) + lines[after] * share


def encode_window(window: np.ndarray, top: int, left: int, height: int, width: int) -> dict[str, Any]:
    """The segment of an image that is empty but for `window` [columns, rows] bool at `top` and `left`, pixels."""
    edges = np.diff(window, axis=1, prepend=False, append=False) if window.size else np.zeros((0, 1), bool)
    columns, rows = np.nonzero(edges)  # starts and ends of runs by turns: each column begins and ends without
    places = (columns + left) * height + rows + top
    # A run to the bottom of the image goes on at the top of the next column.
    joined = np.flatnonzero(places[1:-1:2] == places[2::2]) * 2 + 1
    places = np.delete(places, np.concatenate([joined, joined + 1]))
    counts = np.diff(places, prepend=0, append=height * width).tolist()
    return _compress(counts[:-1] if len(counts) > 1 and not counts[-1] else counts, height, width)


def _compress(counts, height, width):
    from pycocotools import mask

    packed = mask.frPyObjects({"counts": counts, "size": [height, width]}, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode("ascii")}


def encode(mask: np.ndarray) -> dict[str, Any]:
    """The segment of a mask `[H, W]` bool or 0/1."""
    mask = np.asarray(mask, bool)
    return encode_window(mask.T, 0, 0, *mask.shape)


def decode(segment: Mapping[str, Any]) -> np.ndarray:
    """The mask `[H, W]` bool of a segment."""
    from pycocotools import mask

    return mask.decode(segment).astype(bool)


def bounding_boxes(segments: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """`[N, 4]` float64 x, y, width, height of N segments, in pixels; zeros of those without pixels."""
    from pycocotools import mask

    return np.array(mask.toBbox(list(segments)), np.float64).reshape(-1, 4)


def areas(segments: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """`[N]` pixels of N segments."""
    from pycocotools import mask

    segments = list(segments)
    chunks = [segments[start : start + _AT_A_TIME] for start in range(0, len(segments), _AT_A_TIME)]
    return np.concatenate([np.zeros(0), *(np.asarray(mask.area(chunk), np.float64) for chunk in chunks)])


def overlaps(
    segments: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], is_crowd: Iterable[int] | None = None
) -> np.ndarray:
    """IoU `[N, M]` of N segments with M others; with those that are a crowd the share of the segment inside it."""
    from pycocotools import mask

    is_crowd = [0] * len(others) if is_crowd is None else [int(value) for value in is_crowd]
    if not len(segments) or not len(others):
        return np.zeros((len(segments), len(others)))
    return np.asarray(mask.iou(list(segments), list(others), is_crowd), np.float64)


def from_annotation(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """The segment of an annotation's "segmentation": polygons, or run lengths, compressed or not.

    Args:
        segmentation: a list of polygons `[x, y, x, y, ...]` (the parts of one object), or `{"size", "counts"}`.
        height, width: of the image, pixels.

    Raises:
        ValueError: it is none of these; says what is wrong, in words that follow "segmentation".
    """
    from pycocotools import mask

    problem = what_is_wrong(segmentation, height, width)
    if problem:
        raise ValueError(problem)
    if isinstance(segmentation, list):
        merged = mask.merge(mask.frPyObjects(segmentation, height, width))
        return {"size": [height, width], "counts": merged["counts"].decode("ascii")}
    counts = segmentation["counts"]
    if isinstance(counts, list):
        return _compress(counts, height, width)
    return {"size": [height, width], "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts}


def is_absent(segmentation: Any) -> bool:
    """Whether an annotation's "segmentation" says nothing: it is missing or empty."""
    return not segmentation


def what_is_wrong(segmentation: Any, height: int, width: int) -> str | None:
    """Why an annotation's "segmentation" says no mask, in words that follow that name; None of a good one."""
    if is_absent(segmentation):
        return "is missing" if segmentation is None else "is empty"
    if isinstance(segmentation, list):
        reach = _REACH * max(height, width)
        return next(filter(None, (_wrong_polygon(polygon, reach) for polygon in segmentation)), None)
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= set(segmentation):
        return 'is neither a list of polygons nor {"size", "counts"}'
    size = segmentation["size"]
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        return f"is of {_short(size)} pixels (height, width), the image of {[height, width]}"
    return _wrong_counts(segmentation["counts"], height * width)


def _wrong_polygon(polygon, reach):
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return f"has a polygon {_short(polygon)}, not three points or more as [x, y, x, y, ...]"
    try:
        numbers = np.array(polygon)
    except (ValueError, OverflowError):  # lists of several lengths, a number beyond all bounds
        numbers = np.array(None)
    # Not brought to numbers: pycocotools takes neither words nor points in lists of their own.
    sound = numbers.ndim == 1 and numbers.dtype.kind in "if" and np.isfinite(numbers).all()
    if not sound:
        return f"has a polygon {_short(polygon)} that is not all finite numbers"
    return f"has a polygon {_short(polygon)} far outside the image" if np.abs(numbers).max() > reach else None


def _wrong_counts(counts, pixels):
    if isinstance(counts, list):
        whole = all(isinstance(count, int) and count >= 0 for count in counts)
        total = sum(counts) if whole else -1
    else:
        total = sum(_run_lengths(counts)) if isinstance(counts, str | bytes) else -1
    return None if total == pixels else f"has run lengths that do not add up to the image's {pixels} pixels"


def _run_lengths(counts):
    """Run lengths of a compressed string: six bits a character, the sixth for "more", differences to the last but one.

    pycocotools reads past the end of a damaged string, so it is looked through before it is handed on.
    """
    lengths, value, shift = [], 0, 0
    for character in counts if isinstance(counts, bytes) else counts.encode("utf-8"):
        bits = character - 48
        if not 0 <= bits < 64:
            return [-1]
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value, shift = 0, 0
    return [-1] if shift or min(lengths, default=-1) < 0 else lengths


def _short(value, limit=40):
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 4] + " ..."
