"""Label files of YOLO: a line an object, its class and shares of the picture.

    class  center x  center y  width  height  [confidence]
    class  x y  x y  x y ...   [confidence]                   a polygon of three corners or more
    class  center x  center y  width  height  x y [v] ...     key points, where data.yaml has kpt_shape

A share times the size of the picture is a number of pixels only to the digits that the share has; what float64 adds
behind the tenth decimal is cut off, so that a box of up to ten decimals comes back as it was.
"""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.class_lists import read_text
from keras_fpn.data.formats.gathering import checksum
from keras_fpn.data.objects import short

DECIMALS = 10
_LEAST, _MOST = -0.5, 1.5  # of a share: boxes may reach over a border
_BOX = "class, center x, center y, width and height, the last four as shares 0..1 of the picture"


class Line(NamedTuple):
    """A line of a label file: its number, the class, and the numbers behind it."""

    number: int
    label: int
    values: list[float]


class LabelFile(NamedTuple):
    """Content of a label file, its checksum, and whether it is there; one that is not has no lines."""

    path: Path
    lines: list[Line]
    check: int
    is_there: bool = True


def read_labels(path: Path) -> LabelFile:
    """Read a label file.

    Raises:
        UserError: it cannot be read, or a line is not numbers; names the file and the line.
    """
    if not os.path.isfile(path):
        return LabelFile(path, [], checksum(b""), is_there=False)
    text = read_text(path)
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words:
            lines.append(_line(path, number, words))
    return LabelFile(path, lines, checksum(text.encode()))


def is_label_file(path: Path) -> bool:
    """Whether a file is called as a label file and has a line of one; an empty one counts for none."""
    if path.suffix.lower() != ".txt":
        return False
    try:
        return bool(read_labels(path).lines)
    except UserError:
        return False


def _line(path, number, words) -> Line:
    try:
        values = [float(word) for word in words]
    except ValueError:
        wrong = next(word for word in words if not _is_number(word))
        raise UserError(f"{path}: line {number}: {short(wrong)} is no number; write {_BOX}") from None
    if not math.isfinite(sum(values)):
        wrong = next((word for word in words if not math.isfinite(float(word))), words[-1])
        raise UserError(f"{path}: line {number}: {short(wrong)} is no share of the picture; write {_BOX}")
    if not values[0].is_integer() or values[0] < 0:
        raise UserError(f"{path}: line {number}: {words[0]} is no number of a class; write 0 for the first, and so on")
    if len(values) < 5:
        raise UserError(f"{path}: line {number}: {len(values)} numbers; write {_BOX}")
    return Line(number, int(values[0]), values[1:])


def _is_number(word) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def check_lines(files: list[LabelFile], names: dict[int, str], source: Path, keypoints: tuple[int, int] | None) -> None:
    """Refuse a class without a name, a wrong number of columns and what are no shares.

    Args:
        files: of a half.
        names: of the classes, by number.
        source: the file that has them.
        keypoints: how many an object has, and of how many numbers each; None if none has any.

    Raises:
        UserError: names the first file and its line.
    """
    outside, count = [], 0
    for file in files:
        for line in file.lines:
            if line.label not in names:
                raise UserError(
                    f"{file.path}: line {line.number}: class {line.label}, and {source} names {len(names)}, from"
                    f" {min(names)} to {max(names)}; correct it, or add its name there"
                )
            _check_columns(file, line, keypoints)
            count += 1
            if max(line.values) > _MOST or min(line.values) < _LEAST:
                if keypoints is None or max(line.values[:4]) > _MOST or min(line.values[:4]) < _LEAST:
                    outside.append((file, line))
            elif len(line.values) in (4, 5) and min(line.values[2:4]) < 0:
                raise UserError(f"{file.path}: line {line.number}: width or height is below 0; write {_BOX}")
    if outside:
        _refuse_outside(outside, count)


def _refuse_outside(outside, count):
    file, line = outside[0]
    value = next(value for value in line.values if not _LEAST <= value <= _MOST)
    where = f"{file.path}: line {line.number}: {value:g} is no share 0..1 of the picture"
    if len(outside) > count / 2:
        raise UserError(
            f"{where}, and {len(outside)} of {count} objects have such: they seem to be in pixels; divide x and widths"
            " by the width of the picture, y and heights by its height"
        )
    raise UserError(f"{where}; correct the line")


def _check_columns(file, line, keypoints):
    number = len(line.values)
    if keypoints is not None:
        wanted = 4 + keypoints[0] * keypoints[1]
        if number != wanted:
            raise UserError(
                f"{file.path}: line {line.number}: {number + 1} numbers, and kpt_shape {list(keypoints)} makes"
                f" {wanted + 1}; correct the line or kpt_shape"
            )
    # From six numbers on: any is a polygon, with a confidence behind it where they are odd.


def as_object(line: Line, width: int, height: int, keypoints: tuple[int, int] | None) -> dict[str, Any]:
    """The object of a line: "category_id", the number of its class; "bbox" in pixels, and what else the line has."""
    values = line.values
    if len(values) == 4:
        return {"category_id": line.label, "bbox": _box(values, width, height)}
    found: dict[str, Any] = {"category_id": line.label}
    if keypoints is not None:
        points = [values[start : start + keypoints[1]] for start in range(4, len(values), keypoints[1])]
        found["keypoints"] = [
            value for x, y, *seen in points for value in (_pixels(x, width), _pixels(y, height), _seen(x, y, *seen))
        ]
        values = values[:4]
    if len(values) % 2:
        found["confidence"], values = values[-1], values[:-1]
    if len(values) == 4:
        found["bbox"] = _box(values, width, height)
        return found
    xs, ys = [_pixels(x, width) for x in values[::2]], [_pixels(y, height) for y in values[1::2]]
    left, top = min(xs), min(ys)
    found["bbox"] = [left, top, round(max(xs) - left, DECIMALS), round(max(ys) - top, DECIMALS)]
    found["segmentation"] = [[side for point in zip(xs, ys, strict=True) for side in point]]
    return found


def _box(values, width, height) -> list[float]:
    x, y, across, down = values
    return [
        round((x - across / 2) * width, DECIMALS),
        round((y - down / 2) * height, DECIMALS),
        round(across * width, DECIMALS),
        round(down * height, DECIMALS),
    ]


def _pixels(share, side) -> float:
    return round(share * side, DECIMALS)


def _seen(x, y, seen=None) -> float:
    """Visibility; of points without one those with a number below 0 are not labelled, as in Ultralytics."""
    if seen is None:
        return 2 if min(x, y) >= 0 else 0
    return int(seen) if seen.is_integer() else seen
