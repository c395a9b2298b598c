"""A data set as Pascal VOC: `Annotations/`, `JPEGImages/`, `ImageSets/Main/` and, for the order of the classes,
`labels.txt`. Boxes have all their digits, and pixels are counted from 1, as VOC counts them."""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from xml.sax.saxutils import escape

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import write_text
from keras_fpn.data.conversion.companions import Companion
from keras_fpn.data.conversion.pictures import Written, arriving, as_told, bring, name_of
from keras_fpn.data.conversion.sources import Source
from keras_fpn.data.conversion.target_names import TargetNames
from keras_fpn.data.formats.gathering import checksum
from keras_fpn.data.formats.voc_xml import DATABASE, EXACT, SIDES
from keras_fpn.data.objects import short

_HELD = ("iscrowd", "difficult", "truncated", "occluded", "pose")
_NO_XML = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def write_voc(sources: Mapping[str, Source], out: Path, progress: Callable[[], None]) -> Written:
    """Write it.

    Args:
        sources: by half.
        out: folder.
        progress: called after each picture.

    Raises:
        UserError: a picture or a name cannot be written.
    """
    names = _names(sources)
    lost, rewritten = Counter[str](), []
    for half, source in sources.items():
        kept, stems = Companion(source, _HELD), []
        for entry, items, file in zip(source.entries, source.objects, source.files, strict=True):
            picture = arriving(source, entry, file)
            name = names[half].take(picture.name, picture.size.format)
            stem = os.path.splitext(name)[0]
            bring(picture, out / "JPEGImages" / name)
            rewritten += as_told(picture)
            content = _xml(source, entry, name, items).encode()
            target = out / "Annotations" / f"{stem}.xml"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            size = int(entry["width"]), int(entry["height"])
            kept.add(name, entry, size, checksum(content), [(item, _read_back(item["bbox"])) for item in items])
            stems.append(stem)
            progress()
        write_text(out / "ImageSets" / "Main" / f"{half}.txt", "".join(f"{stem}\n" for stem in stems))
        kept.write(out, half)
        lost += kept.lost()
    first = next(iter(sources.values()))
    classes = first.class_names.values()  # the same of all
    broken = next((name for name in classes if len(name.splitlines()) != 1), None)
    if broken is not None:
        raise UserError(
            f"{first.annotations}: class {short(broken)} has a line break, which lists of names cannot have; rename it"
        )
    write_text(out / "labels.txt", "".join(f"{name}\n" for name in classes))
    return Written(sum({id(each): each.changed for each in names.values()}.values()), lost, rewritten)


def _names(sources: Mapping[str, Source]) -> dict[str, TargetNames]:
    """Names in one folder, or, where pictures of two halves would meet, in a folder for each half."""
    stems = [
        {os.path.splitext(name_of(each, *image))[0] for image in zip(each.entries, each.files, strict=True)}
        for each in sources.values()
    ]
    if sum(map(len, stems)) == len(set().union(*stems)):
        together = TargetNames(by_stem=True)
        return dict.fromkeys(sources, together)
    return {half: TargetNames(by_stem=True, inside=half) for half in sources}


def _xml(source, entry, name, items) -> str:
    folder, _, file = name.rpartition("/")
    lines = [
        "<annotation>",
        f"  <folder>{_text(source, folder or 'JPEGImages')}</folder>",
        f"  <filename>{_text(source, file)}</filename>",
        f"  <source><database>{DATABASE}</database></source>",
        f"  <size><width>{int(entry['width'])}</width><height>{int(entry['height'])}</height><depth>3</depth></size>",
        "  <segmented>0</segmented>",
    ]
    for item in items:
        sides = zip(SIDES, _corners(item["bbox"]), strict=True)
        lines += [
            "  <object>",
            f"    <name>{_text(source, source.class_names[item['category_id']])}</name>",
            f"    <pose>{_text(source, str(item.get('pose', 'Unspecified')))}</pose>",
            f"    <truncated>{int(item.get('truncated') == 1)}</truncated>",
            f"    <occluded>{int(item.get('occluded') == 1)}</occluded>",
            f"    <difficult>{int(bool(item.get('iscrowd')))}</difficult>",
            f"    <bndbox>{''.join(f'<{side}>{value}</{side}>' for side, value in sides)}</bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _text(source, text) -> str:
    if _NO_XML.search(text):
        raise UserError(f"{source.annotations}: {short(text)} has a character that XML cannot hold; rename it")
    return escape(text)


def _corners(box) -> list[str]:
    """xmin, ymin, xmax, ymax: sums that lose no digit, from 1 as VOC counts."""
    x, y, across, down = (Decimal(repr(value)) for value in box)
    corners = EXACT.add(x, 1), EXACT.add(y, 1), EXACT.add(x, across), EXACT.add(y, down)
    return [format(corner.to_integral_value() if corner == corner.to_integral_value() else corner, "f")
            for corner in corners]  # fmt: skip


def _read_back(box) -> Sequence[float]:
    return [float(value) for value in box]
