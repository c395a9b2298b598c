"""One file of Pascal VOC annotations: read to the last digit that it has.

VOC counts pixels from 1, and the pixel that xmax names belongs to the object: columns 1..500 are the whole width of a
picture of 500 pixels, which is 0..500 here. So 1 is taken from xmin and ymin, and xmax and ymax stay. Most other
programs that write such files count from 0, and nothing in a file says which it is but its <database>: VOC's own files
name a VOC database, those of `keras-fpn data convert` have `DATABASE`. All others are taken as they are.
"""

import math
import re
from decimal import Context, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.gathering import checksum
from keras_fpn.data.objects import short

DATABASE = "keras-fpn, counted from 1 as VOC does"
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
SIDES = ("xmin", "ymin", "xmax", "ymax")
# A sum of two float64 written out has at most 650 digits, so that none is lost.
EXACT = Context(prec=700)
_VOC = re.compile(r"\s*(the )?(pascal )?voc ?20\d\d", re.IGNORECASE)
_ROOT = re.compile(rb"<annotation[\s/>]")
_DECLARED = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]+)")
_FLAGS = ("difficult", "truncated", "occluded")


class VocFile(NamedTuple):
    """Content of a file.

    Attributes:
        path: the file.
        filename: of the picture; "" where it says none.
        width, height: of the picture, pixels; 0 where it does not say.
        is_voc: whether it is from a VOC database.
        objects: of each "name", "bbox" x, y, width, height in pixels, "iscrowd", which is VOC's "difficult", and
            "difficult", "truncated", "occluded" (0 or 1) and "pose" where they are there.
        check: checksum of the file.
    """

    path: Path
    filename: str
    width: int
    height: int
    is_voc: bool
    objects: list[dict[str, Any]]
    check: int


def is_voc_file(path: Path) -> bool:
    """Whether a file begins as one of Pascal VOC; CVAT's own XML has another root."""
    try:
        with open(path, "rb") as file:
            return _ROOT.search(file.read(2048).replace(b"\0", b"")) is not None
    except OSError:
        return False


def read_file(path: Path) -> VocFile:
    """Read a file.

    Raises:
        UserError: it cannot be read, or an object has no name or box; names the file and the object.
    """
    root, content = _parse(path)
    database = root.findtext("source/database", "")
    start = 1 if database == DATABASE or _VOC.match(database) else 0
    objects = [_object(path, number, each, start) for number, each in enumerate(root.findall("object"), 1)]
    return VocFile(
        path=path,
        filename=(root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2],
        width=_side(root.findtext("size/width")),
        height=_side(root.findtext("size/height")),
        is_voc=_VOC.match(database) is not None,
        objects=objects,
        check=checksum(content),
    )


def names_in(path: Path) -> set[str]:
    """The names of the classes in a file.

    Raises:
        UserError: it cannot be read, or an object has no name.
    """
    objects = _parse(path)[0].findall("object")
    return {_name(path, number, each) for number, each in enumerate(objects, 1)}


def _parse(path: Path) -> tuple[ElementTree.Element, bytes]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check it") from None
    try:
        text = content.decode(_encoding(content))
        if "<!DOCTYPE" in text:  # with which a few bytes can stand for gigabytes, or for other files; VOC has none
            raise UserError(f"{path}: declares a document type, which annotations do not need; remove <!DOCTYPE ...>")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: no whole XML file ({error}); write it again or remove it") from None
    if root.tag != "annotation":
        raise UserError(f"{path}: begins with <{short(root.tag)[1:-1]}>, a VOC file with <annotation>; remove it")
    return root, content


def _encoding(content: bytes) -> str:
    """The encoding of a file by its first bytes: Expat itself knows few, and Chinese ones are common."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    declared = _DECLARED.match(content)
    return "utf-8-sig" if declared is None else declared[1].decode()


def _object(path, number, element, start) -> dict[str, Any]:
    name = _name(path, number, element)
    parts = {each.tag: each for each in element}
    found: dict[str, Any] = {"name": name, "bbox": _box(path, number, name, parts.get("bndbox"), start)}
    for key in _FLAGS:
        if key in parts:
            found[key] = int((parts[key].text or "").strip().lower() in ("1", "true", "yes"))
    if "pose" in parts:
        found["pose"] = (parts["pose"].text or "").strip()
    found["iscrowd"] = found.get("difficult", 0)
    return found


def _name(path, number, element) -> str:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{path}: object {number} has no <name>; write the name of its class")
    return name


def _box(path, number, name, element, start) -> list[float]:
    said = {} if element is None else {each.tag: each.text for each in element}
    texts = [said.get(side) for side in SIDES]
    try:
        left, top, right, bottom = (Decimal(text or "none") for text in texts)
        left, top = EXACT.subtract(left, start), EXACT.subtract(top, start)
        box = [float(left), float(top), float(EXACT.subtract(right, left)), float(EXACT.subtract(bottom, top))]
    except (InvalidOperation, ValueError, OverflowError):
        box = [math.nan]
    if not all(map(math.isfinite, box)):
        what = "no <bndbox>" if element is None else f"<bndbox> {short(texts)}"
        raise UserError(
            f"{path}: object {number} ({short(name)}) has {what}; write numbers as <xmin>, <ymin>, <xmax>, <ymax>"
        )
    return box


def _side(text) -> int:
    """Width or height; 0 where there is no such number, as some programs write it."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return 0
    return int(value) if math.isfinite(value) and value >= 1 else 0
