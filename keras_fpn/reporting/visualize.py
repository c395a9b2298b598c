"""Pictures of boxes and masks, drawn with Pillow: class names and scores that stay readable.

Small pictures are enlarged before drawing, colours are never near white, and a label moves (below its
box, to its side, further away with a thin leader) rather than leave the picture or cover another label.
"""

import colorsys
import functools
import math
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from keras_fpn.console.files import temporary_name, whole_or_not_at_all
from keras_fpn.console.picture_files import encoded
from keras_fpn.console.text import plain
from keras_fpn.ops import masks as segment_masks
from keras_fpn.parts import output_fields
from keras_fpn.parts.classes import Classes
from keras_fpn.parts.output_fields import OutputField
from keras_fpn.reporting.layers import LAYERS, Canvas, draw_mask
from keras_fpn.reporting.lettering import fitted, lettered

if TYPE_CHECKING:
    from keras_fpn.inference.images import ImageDetections

SMALLEST_LONG_SIDE = 512  # px; a picture below this is enlarged by a whole factor

_GROUND_TRUTH = ("boxes", "classes", "is_crowd")
_SAME_OBJECT = 0.3  # IoU of two segments from which a picture shows the better one alone
_MOST_SEGMENTS = 16  # proposals in a picture: with more of them nothing can be seen

Layer = Callable[[Canvas], None]

# Told apart by people with the common colour blindnesses in its first eight, all dark enough for white text.
_PALETTE = (
    (0, 114, 178), (196, 78, 0), (0, 128, 92), (176, 58, 132), (110, 84, 190), (168, 32, 38), (134, 104, 0),
    (64, 64, 64), (0, 134, 150), (120, 70, 40), (60, 120, 20), (220, 30, 100),
)  # fmt: skip


def class_color(index: int) -> tuple[int, ...]:
    """RGB of class `index`: a hand-picked one for the first, then hues that keep their distance."""
    if 0 <= index < len(_PALETTE):
        return _PALETTE[index]
    hue = (index * 0.618033988749895) % 1.0  # the golden ratio never repeats a hue nearby
    channels = np.array(colorsys.hls_to_rgb(hue, 0.42, 0.75))
    # Greens and yellows look lighter than blues: darken each to where white text is readable on it.
    while np.dot(channels**2.2, (0.2126, 0.7152, 0.0722)) > 0.17:
        channels *= 0.95
    return tuple(round(255 * channel) for channel in channels)


def draw_boxes(
    image: Image.Image | np.ndarray,
    boxes: Any,
    labels: Sequence[str],
    scores: np.ndarray | Sequence[float] | None = None,
    *,
    classes: np.ndarray | Sequence[int] | None = None,
    colors: Sequence[tuple[int, ...]] | None = None,
    ground_truth: bool = False,
    long_side: int = SMALLEST_LONG_SIDE,
    label_share: float | None = None,
    under: Sequence[Layer] = (),
    over: Sequence[Layer] = (),
) -> Image.Image:
    """A copy of the picture with boxes, names and scores.

    image: PIL image, or array [H, W, 3] or [H, W] of 0..255. boxes: [N, 4] xyxy in its pixels.
    labels: N names. scores: N numbers, shown with two digits. classes: N class indices that choose the
    colours; without them a name chooses its own. colors: N RGB colours in their place.
    ground_truth: draws thicker lines, as for ground truth.
    long_side: pictures smaller than this are enlarged by a whole factor (labels need the room).
    label_share: of the picture that labels cover; where all would cover more, the smallest objects have none.
    under, over: what is drawn below and above the boxes, functions of a `layers.Canvas`.
    Returns a PIL image, RGB. Non-finite boxes are skipped.
    """
    picture, factor = _enlarge(to_picture(image), long_side)
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * factor
    known = None if classes is None else [int(label) for label in classes]
    if classes is None:
        classes = [len(_PALETTE) + zlib.crc32(str(label).encode()) % 997 for label in labels]
    drawable = [index for index in range(len(boxes)) if np.isfinite(boxes[index]).all()]
    drawable.sort(key=lambda index: -np.prod(boxes[index, 2:] - boxes[index, :2]))  # small ones on top
    width = _line_width(picture) + int(ground_truth)
    colors = [class_color(int(label)) for label in classes] if colors is None else colors
    canvas = Canvas(picture, factor, drawable, colors, width, known)
    for layer in under:
        layer(canvas)
    draw = ImageDraw.Draw(picture)
    for index in drawable:
        _outline(draw, boxes[index], colors[index], width)
    for layer in over:
        layer(canvas)
    _draw_labels(picture, boxes, drawable, colors, labels, scores, width, label_share)
    return picture


def draw_segments(
    image: Image.Image | np.ndarray,
    boxes: Any,
    labels: Sequence[str],
    scores: np.ndarray | Sequence[float] | None = None,
    *,
    masks: Sequence[dict],
    classes: np.ndarray | Sequence[int] | None = None,
    colors: Sequence[tuple[int, ...]] | Mapping[int, tuple[int, ...]] | None = None,
    ground_truth: bool = False,
    long_side: int = SMALLEST_LONG_SIDE,
    label_share: float | None = None,
) -> Image.Image:
    """`draw_boxes` with masks in the place of the boxes, translucent with an outline.

    masks: N run-length encoded masks of the image (`keras_fpn.masks`), without colors each in one of its own; of those
    with scores, which are proposals, the 16 best that do not overlap much. classes: not read.
    """
    picture, factor = _enlarge(to_picture(image), long_side)
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4) * factor
    shown = list(range(len(masks))) if scores is None else _distinct(masks, scores)
    shown = [index for index in shown if (boxes[index, 2:] > boxes[index, :2]).all()]
    colors = dict(zip(shown, map(class_color, range(len(shown))), strict=True)) if colors is None else colors
    width = _line_width(picture) + int(ground_truth)
    shown.sort(key=lambda index: -np.prod(boxes[index, 2:] - boxes[index, :2]))  # small ones on top
    for index in shown:
        draw_mask(picture, segment_masks.decode(masks[index]), colors[index], width)
    _draw_labels(picture, boxes, shown, colors, labels, scores, width, label_share)
    return picture


def _distinct(masks, scores):
    """Numbers of the best segments that overlap no better one much, best first."""
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable").tolist()
    overlap = segment_masks.overlaps(masks, masks)
    kept = []
    for index in order:
        if not (overlap[index, kept] >= _SAME_OBJECT).any():
            kept.append(index)
    return kept[:_MOST_SEGMENTS]


def _line_width(picture):
    return max(2, round(max(picture.size) / 400))


def _draw_labels(picture, boxes, drawable, colors, labels, scores, width, share):
    """Names and scores of the boxes [N, 4] of which `drawable` are drawn, where they hide least."""
    draw = ImageDraw.Draw(picture)
    placer = _LabelPlacer(picture.size, boxes[drawable], gap=width + 1)
    tags, room = [], math.inf if share is None else share * math.prod(picture.size)
    first = drawable if share is not None else sorted(drawable, key=lambda i: i if scores is None else -scores[i])
    for index in first:
        name, score = str(labels[index]), "" if scores is None else f" {float(scores[index]):.2f}"
        if name + score and room > 0:
            tags.append(_place_label(boxes[index], (name, score), colors[index], placer))
            left, top, right, bottom = tags[-1][1]
            room -= (right - left) * (bottom - top)
    for box, place, color, _, _ in tags:  # all leaders below all labels
        if not placer.touches(place, box):
            draw.line(_leader(place, box), fill=color, width=1)
    for _, place, color, text, font in tags:
        draw.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=color)
        draw.text((place[0] + 3, place[1]), text, fill=(255, 255, 255), font=font)


DRAWINGS = {"segments": draw_segments}


def draw_found(
    image: Image.Image | np.ndarray,
    values: Mapping[str, Any],
    fields: Iterable[OutputField],
    labels: Sequence[str],
    scores: np.ndarray | Sequence[float] | None = None,
    **options: Any,
) -> Image.Image:
    """A copy of the picture with objects as their fields draw them.

    That is boxes, with what fields draw below and above them, unless a field has a drawing in their place.

    image: see `draw_boxes`. values: `{field: N values}` in the image itself, "boxes" among them. fields:
    `OutputField`s. options: of `draw_boxes`.
    """
    present = [field for field in fields if field.name in values]
    for field in present:
        if field.drawing is not None:
            draw = field.drawing if callable(field.drawing) else DRAWINGS[field.drawing]
            return draw(image, values["boxes"], labels, scores, **{field.name: values[field.name]}, **options)
    layers = {side: _layers(present, side, values) for side in ("under", "over")}
    return draw_boxes(image, values["boxes"], labels, scores, **options, **{k: v for k, v in layers.items() if v})


def draw_image_detections(found: "ImageDetections", **options: Any) -> Image.Image:
    """The picture of an image with its detections, which are in its own pixels.

    found: with its `image`. options: of `draw_boxes`.
    """
    captions = [plain(caption) for caption in found.captions()]
    values = {"boxes": found.boxes} | found.further
    return draw_found(found.image, values, found.fields, captions, found.scores, classes=found.classes, **options)


def _layers(fields, side, values):
    """Drawings of the fields on a side of the boxes, "under" or "over", with their values."""
    drawn = [(getattr(field, side), field) for field in fields]
    return [
        functools.partial(layer, values=values[field.name])
        if callable(layer)
        else functools.partial(LAYERS[layer], values=values[field.name], field=field)
        for layer, field in drawn
        if layer is not None
    ]


def ground_truth_keys(fields: Iterable[OutputField]) -> tuple[str, ...]:
    """Keys of a batch's targets that `draw_ground_truth` reads, those that the batch has."""
    return (*_GROUND_TRUTH, *output_fields.truth_keys(output_fields.further(fields)))


def draw_ground_truth(
    image: Image.Image | np.ndarray,
    ground_truth: Mapping[str, Any],
    class_names: Sequence[str],
    fields: Sequence[OutputField] = output_fields.STANDARD,
    ratio: Sequence[float] = (1, 1),
    offset: Sequence[float] = (0, 0),
    **options: Any,
) -> Image.Image:
    """The picture with its ground truth.

    ground_truth: {"boxes": [G, 4] xyxy px of the image, "classes": [G], rows with class -1 are padding, and
    "is_crowd": [G], optional: such regions are marked in their label, and [G, ...] of what further fields there are}.
    fields: of the model; what the ground truth has of them is drawn as of detections. ratio, offset: width and height
    of the picture over those of the image that the ground truth is of, and where that image begins in it, x and y
    pixels. options: of `draw_boxes`.
    """
    classes = np.asarray(ground_truth["classes"])
    crowd = np.asarray(ground_truth["is_crowd"]) if "is_crowd" in ground_truth else np.zeros_like(classes)
    rows = np.flatnonzero(classes >= 0)
    labels = [class_names[classes[row]] + (" (crowd)" if crowd[row] else "") for row in rows]
    boxes = np.asarray(ground_truth["boxes"], np.float64).reshape(-1, 4)[rows]
    boxes = output_fields.rescaled(boxes, output_fields.BOXES.axes, np.array(ratio, np.float64), offset)
    width, height = to_picture(image).size
    place = output_fields.Place((height, width), np.array(ratio, np.float64), boxes, (offset[0], offset[1]))
    further = output_fields.further(fields)
    values = {"boxes": boxes} | output_fields.of_truth(ground_truth, rows, further, place)
    return draw_found(image, values, further, labels, classes=classes[rows], ground_truth=True, **options)


def draw_detections(
    image: Image.Image | np.ndarray,
    detections: Mapping[str, Any],
    class_names: Sequence[str],
    threshold: float = 0.5,
    fields: Sequence[OutputField] = output_fields.STANDARD,
    category_ids: Sequence[int] | None = None,
    **options: Any,
) -> Image.Image:
    """The picture with the detections that score at least `threshold`.

    detections: those of one image, `{field: [D, *shape]}` in px of the image and "num_detections". fields: of the
    model. options: of `draw_boxes`.
    """
    count = int(detections["num_detections"])
    scores = np.asarray(detections["scores"])[:count]
    rows = np.flatnonzero(scores >= threshold)
    classes = output_fields.labels_of(detections)[rows]
    known = Classes(tuple(class_names), tuple(category_ids or range(len(class_names))))
    further = output_fields.further(fields)
    values = {"boxes": np.asarray(detections["boxes"])[rows]}
    if further:
        values |= _in_picture(image, detections, rows, fields)
    labels = [
        " ".join(filter(None, [known.class_names[label], *(f.caption(values[f.name][row], known) for f in further)]))
        for row, label in enumerate(classes)
    ]
    return draw_found(image, values, further, labels, scores[rows], classes=classes, **options)


def _in_picture(image, found, rows, fields):
    """Values of some rows in a picture that is the image that the detector saw."""
    width, height = to_picture(image).size
    return output_fields.in_original(found, rows, fields, (height, width), np.ones(2)) if fields else {}


def ground_truth_and_detections(
    inputs: Mapping[str, Any],
    targets: Mapping[str, Any],
    detections: Mapping[str, Any],
    class_names: Sequence[str],
    threshold: float = 0.5,
    fields: Sequence[OutputField] = output_fields.STANDARD,
) -> list[tuple[Image.Image, Image.Image]]:
    """For every image of a batch the pair (ground truth picture, detections picture), padding cut off.

    inputs, targets, detections: a batch of the package's data contract, as arrays or tensors. Beside detections without
    classes the ground truth has none either. fields: of the model.
    """
    pairs, keys = [], ground_truth_keys(fields)
    for index, (height, width) in enumerate(np.asarray(inputs["image_sizes"])):
        image = np.asarray(inputs["images"][index])[:height, :width]
        ground_truth = {key: np.asarray(targets[key][index]) for key in keys if key in targets}
        found = {key: np.asarray(value[index]) for key, value in detections.items()}
        if len(class_names) == 1:
            ground_truth["classes"] = np.minimum(ground_truth["classes"], 0)
        objects = draw_ground_truth(image, ground_truth, class_names, fields)
        pairs.append((objects, draw_detections(image, found, class_names, threshold, fields)))
    return pairs


def gallery(
    model: Any, dataset: Iterable, count: int = 8, threshold: float = 0.5
) -> list[tuple[Image.Image, Image.Image]]:
    """Pairs (ground truth, detections) of the first `count` images of a `load_coco` dataset."""
    pairs = []
    for inputs, targets in dataset:
        detections = model.inference(inputs)["detections"]
        pairs += ground_truth_and_detections(
            inputs, targets, detections, model.class_names, threshold, model.output_fields
        )
        if len(pairs) >= count:
            break
    return pairs[:count]


def contact_sheet(
    pictures: Sequence, columns: int = 4, titles: Sequence[str] | None = None, gap: int = 8
) -> Image.Image:
    """Pictures in a grid, row by row, on white; each cell as large as the largest picture.

    titles: one line above each picture; the space is only taken where there are any.
    """
    pictures = [to_picture(picture) for picture in pictures]
    if not pictures:
        raise ValueError("contact_sheet needs at least one picture")
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    width = max(picture.width for picture in pictures)
    height = max(picture.height for picture in pictures)
    size = max(14, round(width / 36))
    head = 0 if titles is None else size + 10
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + head + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        left = gap + (index % columns) * (width + gap)
        top = gap + (index // columns) * (height + head + gap)
        if titles is not None:
            text, font = lettered(str(titles[index]), size)
            draw.text((left, top + 2), fitted(text, font, width), fill=(40, 40, 40), font=font)
        sheet.paste(picture, (left, top + head))
    return sheet


def save_picture(picture: Image.Image, path: str | os.PathLike) -> None:
    """Write a picture whole or not at all: to a temporary name, then renamed."""
    temporary = temporary_name(path)
    with whole_or_not_at_all(path, temporary):
        temporary.write_bytes(encoded(picture, temporary.suffix, quality=90))


def to_picture(image: Image.Image | np.ndarray) -> Image.Image:
    """An RGB PIL image of a PIL image or an array of 0..255 ([H, W], [H, W, 1], [H, W, 3])."""
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.dtype != np.uint8:
        array = np.clip(np.rint(array), 0, 255).astype(np.uint8)
    return Image.fromarray(array).convert("RGB")


def _enlarge(picture, long_side):
    factor = max(1, math.ceil(long_side / max(picture.size)))
    if factor == 1:
        return picture.copy(), 1
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.BICUBIC), factor


def _outline(draw, box, color, width):
    """A rectangle whose line lies outside the box, so that small objects stay visible, on a light rim."""
    x1, y1, x2, y2 = (round(value) for value in box)
    outer = (x1 - width, y1 - width, max(x2, x1 + 1) + width - 1, max(y2, y1 + 1) + width - 1)
    rim = (outer[0] - 1, outer[1] - 1, outer[2] + 1, outer[3] + 1)
    # A line that leaves the picture is drawn on its border instead.
    limits = np.array((*draw.im.size, *draw.im.size)) - 1
    outer, rim = (tuple(np.clip(line, 0, limits).tolist()) for line in (outer, rim))
    draw.rectangle(rim, outline=(255, 255, 255), width=1)
    draw.rectangle(outer, outline=color, width=width)


def _place_label(box, name_and_score, color, placer):
    """(box, place of its label, color, text, font): the name shrinks, then loses its end; the score stays."""
    room = placer.size[0] - 6
    font_size = min(28, max(12, round(max(placer.size) / 42)))
    name, score = name_and_score
    name, font = lettered(name, font_size)
    while font_size > 10 and font.getlength(name + score) > room:
        font_size -= 1
        name, font = lettered(name, font_size)
    text = fitted(name, font, room - font.getlength(score)) + score
    ascent, descent = font.getmetrics()
    place = placer.place(box, (math.ceil(font.getlength(text)) + 6, ascent + descent + 1))
    return box, place, color, text, font


class _LabelPlacer:
    """Finds a free place for each label, near its box, inside the picture."""

    def __init__(self, size, boxes, gap):
        self.size, self.gap = size, gap  # gap: px between a box and its label, for the box's line
        self.boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        self.taken = np.zeros((0, 4))

    def place(self, box, label_size):
        """xyxy of the label. Covering another label costs most, then small objects, then distance."""
        candidates = self._candidates(box, label_size)
        area = label_size[0] * label_size[1]
        covered = _overlaps(candidates, self.taken).sum(axis=1) / area
        sides = np.maximum(self.boxes[:, 2:] - self.boxes[:, :2], 1.0)
        # Covering a small object hides it, a large one bears a label: weigh by the hidden share.
        hidden = (_overlaps(candidates, self.boxes) / sides.prod(axis=1)).sum(axis=1)
        way = np.maximum(candidates[:, :2] - box[2:], box[:2] - candidates[:, 2:]).max(axis=1)
        preference = np.arange(len(candidates)) * 1e-3
        way = np.maximum(way - self.gap, 0) / label_size[1]
        cost = 20 * covered + 3 * hidden + 0.4 * way + preference
        best = candidates[int(cost.argmin())]
        self.taken = np.concatenate([self.taken, best[None]])
        return tuple(int(value) for value in best)

    def _candidates(self, box, label_size):
        width, height = label_size
        x1, y1, x2, y2 = (round(value) for value in box)
        gap = self.gap
        corners = [(x1 - gap, y1 - height - gap), (x1 - gap, y2 + gap), (x2 + gap - width, y1 - height - gap)]
        corners += [(x2 + gap - width, y2 + gap), (x2 + gap, y1), (x1 - gap - width, y1)]
        corners += [(x1 + gap, y1 + gap), (x1 + gap, y2 - height - gap), (x2 - gap - width, y1 + gap)]
        middle = ((x1 + x2 - width) / 2, (y1 + y2 - height) / 2)
        for ring in range(1, 9):
            reach_x = ring * (height + 2) + (x2 - x1 + width) / 2
            reach_y = ring * (height + 2) + (y2 - y1 + height) / 2
            for angle in np.arange(16) * math.pi / 8:
                corners.append((middle[0] + reach_x * math.cos(angle), middle[1] + reach_y * math.sin(angle)))
        corners = np.round(np.array(corners, dtype=np.float64))
        corners = np.clip(corners, 0, np.maximum(np.array(self.size) - label_size, 0))
        return np.concatenate([corners, corners + label_size], axis=1)

    @staticmethod
    def touches(place, box, slack=6):
        return (
            place[0] <= box[2] + slack
            and place[2] >= box[0] - slack
            and place[1] <= box[3] + slack
            and place[3] >= box[1] - slack
        )


def _leader(place, box):
    """The line from the label's nearest point to the box's nearest point."""
    ends = []
    for axis in (0, 1):
        near = min(max((box[axis] + box[axis + 2]) / 2, place[axis]), place[axis + 2] - 1)
        ends.append((near, min(max(near, box[axis]), box[axis + 2])))
    return [(ends[0][0], ends[1][0]), (ends[0][1], ends[1][1])]


def _overlaps(a, b):
    """Areas of the intersections, [len(a), len(b)]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)
