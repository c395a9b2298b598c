"""A data set as YOLO: `images/train/`, `labels/train/` and so on, and data.yaml.

YOLO has objects and nothing else: a crowd, which nobody is to learn, is left out of the label files, and a box that
reaches over the border is cut there, as the programs that read such files want it. Both are whole in the companion.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from keras_fpn.console.files import write_text
from keras_fpn.data.conversion.companions import Companion
from keras_fpn.data.conversion.pictures import Arriving, Written, arriving, as_told, bring
from keras_fpn.data.conversion.sources import Source
from keras_fpn.data.conversion.target_names import TargetNames
from keras_fpn.data.formats.gathering import checksum
from keras_fpn.data.formats.yolo_labels import Line, as_object
from keras_fpn.data.formats.yolo_places import label_file

_DIGITS = (6, 8, 10, 12, 14)  # decimals that are tried before all of a float64
_HELD = ("iscrowd",)


def write_yolo(sources: Mapping[str, Source], out: Path, progress: Callable[[], None]) -> Written:
    """Write it; see `voc_files.write_voc`."""
    classes = next(iter(sources.values())).class_names  # the same of all
    changed, lost, rewritten = 0, Counter[str](), []
    halves = {"train" if half == "all" else half: source for half, source in sources.items()}
    for half, source in halves.items():
        names, kept = TargetNames(by_stem=True), Companion(source, _HELD)
        numbers = {category: number for number, category in enumerate(classes)}
        (out / "images" / half).mkdir(parents=True, exist_ok=True)
        (out / "labels" / half).mkdir(parents=True, exist_ok=True)
        for entry, items, file in zip(source.entries, source.objects, source.files, strict=True):
            picture = arriving(source, entry, file)
            name = names.take(picture.name, picture.size.format)
            bring(picture, out / "images" / half / name)
            rewritten += as_told(picture)
            objects = [item for item in items if not item.get("iscrowd")]
            written = [_line(item, numbers[item["category_id"]], entry, picture) for item in objects]
            content = "".join(f"{text}\n" for text, _ in written).encode()
            label = out / label_file(Path("images", half, name))
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_bytes(content)
            boxes = [(item, box) for item, (_, box) in zip(objects, written, strict=True)]
            crowds = [item for item in items if item.get("iscrowd")]
            kept.add(name, entry, (picture.size.width, picture.size.height), checksum(content), boxes, crowds)
            progress()
        kept.write(out, half)
        changed += names.changed
        lost += kept.lost()
    write_text(out / "data.yaml", _yaml(list(classes.values()), halves))
    return Written(changed, lost, rewritten)


def _yaml(classes: Sequence[str], halves: Mapping[str, Source]) -> str:
    content: dict[str, Any] = {half: f"images/{half}" for half in halves}
    content |= {"nc": len(classes), "names": dict(enumerate(classes))}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _line(item: Mapping[str, Any], number: int, entry: Mapping[str, Any], picture: Arriving) -> tuple[str, list[float]]:
    """The line of an object, and the box that a reader makes of it."""
    wanted = _looked_at(_cut(item["bbox"], entry), entry, picture)
    width, height = picture.size.width, picture.size.height
    x, y, across, down = wanted
    shares = (x + across / 2) / width, (y + down / 2) / height, across / width, down / height
    for digits in _DIGITS:
        few = [round(share, digits) for share in shares]
        found = as_object(Line(1, number, few), width, height, None)["bbox"]
        if found == wanted:
            break
    else:
        few = list(shares)
        found = as_object(Line(1, number, few), width, height, None)["bbox"]
    return " ".join([str(number), *map(_decimal, few)]), found


def _decimal(value: float) -> str:
    """A number without an exponent, which some readers do not know."""
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def _cut(box: Sequence[float], entry: Mapping[str, Any]) -> list[float]:
    """A box cut at the border of its picture."""
    x, y, across, down = box
    width, height = entry["width"], entry["height"]
    left, top = max(x, 0), max(y, 0)
    right, bottom = x + across, y + down
    if left == x and right <= width:
        new_across = across
    else:
        new_across = min(right, width) - left
    if top == y and bottom <= height:
        new_down = down
    else:
        new_down = min(bottom, height) - top
    return [float(left), float(top), float(new_across), float(new_down)]


def _looked_at(box: Sequence[float], entry: Mapping[str, Any], picture: Arriving) -> list[float]:
    """A box in the picture as it is looked at, where it was drawn on the pixels as they are stored (EXIF)."""
    width, height = entry["width"], entry["height"]
    if (width, height) == (picture.size.width, picture.size.height):
        return list(box)
    x, y, across, down = box
    if picture.size.orientation in (6, 7):  # the upper border is on the right
        y = height - y - down
    if picture.size.orientation in (7, 8):  # the left border is at the bottom
        x = width - x - across
    return [y, x, down, across]
