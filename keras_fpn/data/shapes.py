"""The embedded data set: four shapes over four octaves of size, drawn on the spot as a COCO-format folder.

It needs no download and no licence, and it is a fair small copy of what makes COCO hard for a feature
pyramid: objects from 8 to 160 pixels in one picture, more small ones than large ones, some cut by the border
or partly hidden by others. Colour and texture are random, so shape alone tells the class. Each has an outline and its
corners or tips as keypoints.
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_output, write_text
from keras_fpn.console.picture_files import encoded
from keras_fpn.data import shape_keypoints

CLASS_NAMES = ("circle", "square", "triangle", "star")
SMALLEST, LARGEST = 8.0, 160.0  # longer side of the box, pixels; log-uniform between them
_LARGEST_SHARE = 0.625  # of the image's side: 160 px of 256
_EMPTY_SHARE = 0.02  # images without any object
_MIN_CONTRAST = 110.0  # RGB distance between an object and all that lies under it
_MIN_VISIBLE = 0.6  # of an object's area, after later objects were drawn over it
_MAX_CUT = 0.25  # of an object's side that may lie outside the image (objects from 32 px on)
_VAL_FIRST_ID = 1_000_001  # train and val share no image id, so that mixed-up files are noticed


def write_shapes(
    out: str | os.PathLike,
    *,
    num_train: int = 2000,
    num_val: int = 200,
    size: int = 256,
    seed: int = 0,
    quality: int = 92,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the data set to `out`: `train/*.jpg`, `val/*.jpg` and `annotations/instances_{train,val}.json`.

    Every image depends on (seed, split, its number) alone: the same call writes the same bytes, and more
    training images leave the first ones and the validation images as they are.

    Args:
        out: folder, made if absent.
        num_train, num_val: images of each split, 0 or more.
        size: side of the square images in pixels, 64 or more. Objects measure 8 to min(160, 0.625 size) px.
        seed: non-negative integer.
        quality: JPEG quality, 1 to 95.
        progress: called as `progress(images_written, images_in_all)` after each image.

    Raises:
        UserError: an argument is out of range or `out` cannot be written.
    """
    check_arguments(num_train, num_val, size, seed, quality)
    check_output(out, folder=True)
    out, total, done = Path(out), num_train + num_val, 0
    for split, (name, count) in enumerate((("train", num_train), ("val", num_val))):
        (out / name).mkdir(parents=True, exist_ok=True)
        document = _new_document(seed, name)
        for record in _write_images(out / name, split, count, size, seed, quality):
            _add_image(document, record, first_id=1 if split == 0 else _VAL_FIRST_ID)
            done += 1
            if progress is not None:
                progress(done, total)
        write_text(
            out / "annotations" / f"instances_{name}.json", json.dumps(document, separators=(",", ":")) + "\n"
        )


def draw_image(seed: int, split: int, index: int, size: int = 256) -> tuple[np.ndarray, list[dict]]:
    """Draw one picture.

    Returns:
        image [size, size, 3] uint8 RGB, and its objects in drawing order: a list of
        `{"class": 0..3, "polygon": [n, 2] float64 x, y in pixels, clipped to the image,
        "keypoints": [8, 3] x, y, v, see shape_keypoints}`.
    """
    rng = np.random.default_rng([seed, split, index])
    canvas = _background(rng, size)
    owner = np.full((size, size), -1, np.int16)  # which object each pixel shows
    objects: list[dict] = []
    outlines: list[np.ndarray] = []
    areas: list[int] = []
    for side in _draw_sides(rng, size):
        label = int(rng.integers(len(CLASS_NAMES)))
        for _ in range(12):  # try other places before giving the object up
            polygon = _place(rng, _outline(rng, label, side), side, size)
            window, coverage = _rasterise(polygon, size)
            if _hides_too_much(owner[window], coverage > 0.5, owner, areas):
                continue
            _paint(rng, canvas[window], coverage)
            owner[window][coverage > 0.5] = len(objects)
            areas.append(int((coverage > 0.5).sum()))
            objects.append({"class": label, "polygon": _clip_polygon(polygon, size)})
            outlines.append(polygon)
            break
    names = [CLASS_NAMES[item["class"]] for item in objects]
    for item, keypoints in zip(objects, shape_keypoints.shown_keypoints(names, outlines, size), strict=True):
        item["keypoints"] = keypoints
    canvas += rng.standard_normal(canvas.shape, dtype=np.float32) * rng.uniform(2.0, 7.0)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8), objects


def draw_scene(seed: int, size: int, shapes: Sequence[tuple[int, float, float, float]] = ()) -> np.ndarray:
    """Draw shapes at given places, for pictures that are to have a certain content.

    Args:
        seed: of the background, the colours and the turns.
        size: side of the square picture, pixels.
        shapes: `(class 0..3, side, x, y)` of each, in drawing order: longer side and top left corner of its box,
            pixels; the border may cut it.

    Returns:
        image [size, size, 3] uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    canvas = _background(rng, size)
    for label, side, x, y in shapes:
        window, coverage = _rasterise(_outline(rng, label, side) + (x, y), size)
        _paint(rng, canvas[window], coverage)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


# ---------------------------------------------------------------------------------------------- placing


def _draw_sides(rng, size: int) -> np.ndarray:
    """Sides of one image's objects in pixels, largest first: small objects lie on top of large ones."""
    if rng.random() < _EMPTY_SHARE:
        return np.zeros(0)
    largest = min(LARGEST, _LARGEST_SHARE * size)
    count = int(rng.integers(4, 10))
    return np.sort(np.exp(rng.uniform(math.log(SMALLEST), math.log(largest), count)))[::-1]


def _outline(rng, label: int, side: float) -> np.ndarray:
    """Polygon [n, 2] of a shape, turned a little, whose bounding box starts at 0, 0 and is `side` long."""
    if CLASS_NAMES[label] == "circle":
        angles = np.linspace(0, 2 * np.pi, 24 + int(side / 4), endpoint=False)
        points = np.stack([np.cos(angles), np.sin(angles)], 1)
    elif CLASS_NAMES[label] == "square":
        points = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float)
    elif CLASS_NAMES[label] == "triangle":
        points = np.array([[rng.uniform(-0.15, 0.15), -1], [1, 0.8], [-1, 0.8]])
    else:
        angles = np.arange(10) * np.pi / 5 - np.pi / 2
        radii = np.where(np.arange(10) % 2 == 0, 1.0, rng.uniform(0.38, 0.46))
        points = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]
    turn = rng.uniform(-0.22, 0.22)  # at most 13 degrees
    cos, sin = math.cos(turn), math.sin(turn)
    points = points @ np.array([[cos, sin], [-sin, cos]])
    points -= points.min(0)
    return points * (side / points.max())


def _place(rng, outline: np.ndarray, side: float, size: int) -> np.ndarray:
    """Move an outline to a random place; only objects of 32 px and more may be cut by the border."""
    cut = _MAX_CUT * side * rng.random() if side >= 32 and rng.random() < 0.3 else 0.0
    extent = outline.max(0)
    return np.round(outline + rng.uniform(-cut, size - extent + cut), 2)


def _hides_too_much(owner_window, covered, owner, areas: list[int]) -> bool:
    hidden = np.bincount(owner_window[covered] + 1, minlength=len(areas) + 1)[1:]
    for index in np.flatnonzero(hidden):
        if (owner == index).sum() - hidden[index] < _MIN_VISIBLE * areas[index]:
            return True
    return False


# ---------------------------------------------------------------------------------------------- drawing


def _rasterise(polygon: np.ndarray, size: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """The window (rows, columns) that a polygon touches and its coverage 0..1 there, antialiased."""
    x1, y1 = np.clip(np.floor(polygon.min(0)).astype(int), 0, size)
    x2, y2 = np.clip(np.ceil(polygon.max(0)).astype(int), 0, size)
    fine = 8 if max(x2 - x1, y2 - y1) <= 48 else 4
    mask = Image.new("L", (int(x2 - x1) * fine, int(y2 - y1) * fine))
    # Pillow puts integer coordinates on pixel centres; ours are pixel corners, hence the half.
    corners = (polygon - (x1, y1)) * fine - 0.5
    ImageDraw.Draw(mask).polygon([tuple(corner) for corner in corners.tolist()], fill=255)
    coverage = np.asarray(mask.reduce(fine), np.float32) / 255.0
    return (slice(y1, y2), slice(x1, x2)), coverage


def _paint(rng, window: np.ndarray, coverage: np.ndarray) -> None:
    """Fill `window` [h, w, 3] in place with a textured colour that stands out from what lies there."""
    weight = coverage[..., None]
    rows, columns = np.nonzero(coverage > 0.5)
    spots = rng.integers(len(rows), size=16)
    colour = _contrasting_colour(rng, window[rows[spots], columns[spots]])
    tint = rng.uniform(-1, 1, 3).astype(np.float32)
    tint *= rng.uniform(0, 32) / np.linalg.norm(tint)
    filling = colour + (_pattern(rng, *coverage.shape)[..., None] - 0.5) * tint
    window += (filling - window) * weight


def _contrasting_colour(rng, under: np.ndarray) -> np.ndarray:
    """A random colour at least `_MIN_CONTRAST` from all colours `under` [n, 3], or the best of many."""
    colours = rng.uniform(10, 245, (32, 3)).astype(np.float32)
    difference = colours[:, None] - under
    # Brightness counts as well: two colours can be far apart and yet hard to tell for a small network.
    distance = np.minimum(np.linalg.norm(difference, axis=-1), 3 * np.abs(difference.mean(-1))).min(-1)
    good = distance >= _MIN_CONTRAST
    return colours[np.argmax(good if good.any() else distance)]


def _background(rng, size: int) -> np.ndarray:
    """[size, size, 3] float32: one or two patterns between related colours."""
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = rng.uniform(40, 215, 3)
    for strength in (rng.uniform(15, 45), rng.uniform(0, 25)):
        tint = rng.normal(0, 1, 3).astype(np.float32) + 1.0  # mostly brightness, some hue
        tint *= strength / np.linalg.norm(tint)
        canvas += (_pattern(rng, size, size)[..., None] * 2 - 1) * tint
    return canvas


def _pattern(rng, height: int, width: int) -> np.ndarray:
    """A random field [height, width] in about 0..1: gradient, cloud of low frequency, or soft stripes."""
    kind = rng.integers(3)
    if kind == 0:
        return _ramp(rng, height, width)
    if kind == 1:
        cells = rng.integers(3, 10)
        cloud = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
        return np.asarray(cloud.resize((width, height), Image.Resampling.BICUBIC))
    period = rng.uniform(0.08, 0.4)
    wave = np.sin(_ramp(rng, height, width) * (2 * np.pi / period) + rng.uniform(0, 6.28))
    return 0.5 + 0.5 * np.clip(wave * rng.uniform(1, 3), -1, 1)


def _ramp(rng, height: int, width: int) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32) * np.float32(math.cos(angle))
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32) * np.float32(math.sin(angle))
    return 0.5 + across + down[:, None]


# ------------------------------------------------------------------------------------------ annotations


def _clip_polygon(polygon: np.ndarray, size: int) -> np.ndarray:
    """Sutherland-Hodgman against the image's four sides; the polygon itself where it lies inside."""
    for axis, sign, limit in ((0, 1, 0.0), (0, -1, -float(size)), (1, 1, 0.0), (1, -1, -float(size))):
        distance = sign * polygon[:, axis] - limit  # positive inside
        if (distance >= 0).all():
            continue
        kept = []
        for here, there, d_here, d_there in zip(
            polygon, np.roll(polygon, -1, 0), distance, np.roll(distance, -1), strict=True
        ):
            if d_here >= 0:
                kept.append(here)
            if (d_here >= 0) != (d_there >= 0):
                kept.append(here + (there - here) * (d_here / (d_here - d_there)))
        polygon = np.array(kept)
    return np.round(polygon, 2)


def _polygon_area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _new_document(seed: int, split: str) -> dict:
    return {
        "info": {"description": f"keras_fpn shapes, {split}, seed {seed}", "version": "1.0"},
        "licenses": [],
        "images": [],
        "annotations": [],
        "categories": [
            {"id": number, "name": name, "supercategory": "shape", **shape_keypoints.category_keys(name)}
            for number, name in enumerate(CLASS_NAMES, start=1)
        ],
    }


def _add_image(document: dict, record: tuple[str, int, list[dict]], first_id: int) -> None:
    file_name, size, objects = record
    image_id = first_id + len(document["images"])
    document["images"].append({"id": image_id, "file_name": file_name, "height": size, "width": size})
    for item in objects:
        polygon = item["polygon"]
        x, y = polygon.min(0).tolist()
        width, height = (polygon.max(0) - (x, y)).tolist()
        document["annotations"].append(
            {
                "id": len(document["annotations"]) + 1,
                "image_id": image_id,
                "category_id": item["class"] + 1,
                "bbox": [round(value, 2) for value in (x, y, width, height)],
                "area": round(_polygon_area(polygon), 2),
                "segmentation": [[round(value, 2) for value in polygon.ravel().tolist()]],
                "iscrowd": 0,
                **shape_keypoints.annotation_keys(item["keypoints"]),
            }
        )


# -------------------------------------------------------------------------------------------- file work


def _write_images(folder: Path, split: int, count: int, size: int, seed: int, quality: int):
    """Draw and write images on all cores; yields (file name, size, objects) in order."""

    def work(index):
        pixels, objects = draw_image(seed, split, index, size)
        name = f"{index + 1:06d}.jpg"
        (folder / name).write_bytes(encoded(Image.fromarray(pixels), ".jpg", quality=quality))
        return name, size, objects

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(work, range(count))


def check_arguments(num_train: int, num_val: int, size: int, seed: int = 0, quality: int = 92) -> None:
    """Refuse what `write_shapes` cannot draw.

    Raises:
        UserError: one of its arguments is out of range.
    """
    checks = (
        ("num_train", num_train, 0, None),
        ("num_val", num_val, 0, None),
        ("size", size, 64, 4096),
        ("seed", seed, 0, None),
        ("quality", quality, 1, 95),
    )
    for name, value, low, high in checks:
        if not isinstance(value, int | np.integer) or value < low or (high is not None and value > high):
            wanted = f"at least {low}" if high is None else f"from {low} to {high}"
            raise UserError(f"{name}: {value!r} is no whole number {wanted}")
