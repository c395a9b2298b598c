"""All that a data set is read from: `CONTENT` of `data_sets` in each format and layout, as one table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from keras_fpn.commands.main import main
from tests.data.data_sets import CONTENT, LAYOUTS, NAMES, WITHOUT_EMPTY
from tests.data.tfds_stores import coco_copy, quiet
from tests.data.tool_data_sets import EXPORTS, TOOLS, exported, frame_of


class Reader(NamedTuple):
    """A way for `CONTENT` to be read.

    Attributes:
        format: its name in `FORMATS`.
        write: writes `CONTENT` below a folder, and returns what `--data` names of it, or None: the folder.
        has_crowds: crowds are told from other objects.
        has_outlines: objects have the polygons of `OUTLINES`.
        has_empty: pictures without an object are there.
        names: names of pictures where they have others.
        precision: of boxes, pixels: 0 where their float32 corners are the same to the last bit.
    """

    format: str
    write: Callable[[Path], str | list[str] | None]
    has_crowds: bool = False
    has_outlines: bool = False
    has_empty: bool = True
    names: Mapping[str, str] = {}
    precision: float = 0


def _shards(root):
    LAYOUTS["coco"](root / "folder")
    assert main(["data", "to-shards", str(root / "folder"), str(root / "shards"), "--shards", "2"]) == 0
    return str(root / "shards")


def _tfds(root):
    LAYOUTS["coco"](root / "folder")
    with quiet():
        return coco_copy(root, root / "folder", NAMES)


def _tfds_in_place(root):
    return f"tfds:{_tfds(root)}"


def _from_tfds(root):
    assert main(["data", "from-tfds", str(_tfds(root)), str(root / "out")]) == 0
    return str(root / "out")


def _two_sources(root):
    """A part of the pictures as YOLO has them, the others as VOC; the second names one class alone."""
    LAYOUTS["yolo"](root / "one")
    LAYOUTS["voc_roboflow"](root / "two")
    first = ("a", "b é 2", "d")
    for half in CONTENT.values():
        for name in half:
            stem = Path(name).stem
            for file in list((root / ("two" if stem in first else "one")).rglob(f"{stem}.*")):
                file.unlink()
    return [str(root / "one"), str(root / "two")]


def _layout(name, write):
    known = name.partition("_")[0]
    return Reader(
        known,
        write,
        has_crowds=known in ("coco", "voc") or name == "csv_open_images",
        has_outlines=known == "coco",
        has_empty=name not in WITHOUT_EMPTY,
    )


def _tool(name, known, write):
    return Reader(
        known,
        write,
        has_crowds=known in ("datumaro", "cvat"),
        has_outlines=True,
        names={each: frame_of(each) for half in CONTENT.values() for each in half} if name == "CVAT video" else {},
    )


_TFDS_PRECISION = 1e-5  # shares of the picture in float32
READERS = (
    {name: _layout(name, write) for name, write in LAYOUTS.items()}
    | {name: _tool(name, *tool) for name, tool in TOOLS.items()}
    | {f"COCO of {name}": Reader("coco", exported(*export), has_crowds=True, has_outlines=True)
       for name, export in EXPORTS.items() if len(export[0]) > 1}
    | {
        "shards": Reader("shards", _shards, has_crowds=True, has_outlines=True),
        "TFDS": Reader("tfds", _tfds_in_place, has_crowds=True, precision=_TFDS_PRECISION),
        "folder of TFDS": Reader("coco", _from_tfds, has_crowds=True, precision=_TFDS_PRECISION),
        "YOLO and VOC": Reader("yolo", _two_sources),
    }
)  # fmt: skip
OF_ONE_SOURCE = [name for name in READERS if name != "YOLO and VOC"]
OF_TFDS = [name for name in READERS if "TFDS" in name]  # seconds each, to write them
