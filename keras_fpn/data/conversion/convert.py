"""The whole road of a conversion: found, read, divided, written."""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import built_aside, check_empty, check_output
from keras_fpn.data import rewriting
from keras_fpn.data.class_choice import Classes
from keras_fpn.data.conversion.coco_files import write_coco
from keras_fpn.data.conversion.division import divided
from keras_fpn.data.conversion.pictures import Written
from keras_fpn.data.conversion.sources import Source, find_sources, read_sources
from keras_fpn.data.conversion.voc_files import write_voc
from keras_fpn.data.conversion.yolo_files import write_yolo
from keras_fpn.data.formats import Half

WRITERS: Mapping[str, Callable[[Mapping[str, Source], Path, Callable[[], None]], Written]] = {
    "coco": write_coco,
    "yolo": write_yolo,
    "voc": write_voc,
}


class Converted(NamedTuple):
    """Account of a conversion.

    Attributes:
        title: of the format that was read.
        halves: pictures and objects of each.
        left_out: objects that were left out as invalid.
        crowds: objects that are neither learnt nor measured.
        renamed: pictures that have other names than they had.
        rewritten: lines about pictures that are PNG now, since training does not read them as they were.
        companions: `{key: how many objects have it}` of what the format has no place for.
    """

    title: str
    halves: dict[str, tuple[int, int]]
    left_out: int
    crowds: int
    renamed: int
    rewritten: list[str]
    companions: Counter[str]


def convert(
    data: str,
    out: Path,
    to: str,
    *,
    from_format: str | None = None,
    images: str | None = None,
    val_share: float | None = None,
    seed: int = 0,
    boxes: str = "xywh",
    crowds: str = "ignore",
    invalid_boxes: str = "refuse",
    classes: Classes | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Converted:
    """Write a data set in another format, pictures and all.

    Args:
        data: folder of a known layout, or annotations.
        out: folder that is new or empty; written whole or not at all.
        to: one of `WRITERS`.
        from_format: one of `formats.FORMATS`; found out if None.
        images: folder of the pictures of annotations.
        val_share: share of the pictures to measure on where nothing divides them.
        seed: of that division.
        boxes, crowds, invalid_boxes, classes: see `read_coco`.
        progress: called as `progress(pictures written, pictures in all)`.

    Raises:
        UserError: something cannot be read, trusted or written; names the file.
    """
    check_output(out, folder=True)
    check_empty(out)
    known, halves = find_sources(data, images, from_format)
    _check_apart(out, halves)
    sources = read_sources(known, halves, boxes, crowds, invalid_boxes == "drop", classes)
    left_out = sum(source.left_out for source in sources.values())
    if val_share is not None:
        sources = divided(sources, val_share, seed)
    total, done = sum(len(source.entries) for source in sources.values()), 0

    def one_more():
        nonlocal done
        done += 1
        progress(done, total)

    with built_aside(out) as aside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # a picture that is odd, but can be read
        aside.mkdir()
        written = WRITERS[to](sources, aside, one_more)
    items = [item for source in sources.values() for items in source.objects for item in items]
    return Converted(
        title=known.title,
        halves={name: (len(each.entries), sum(map(len, each.objects))) for name, each in sources.items()},
        left_out=left_out,
        crowds=sum(bool(item.get("iscrowd")) for item in items),
        renamed=written.renamed,
        rewritten=rewriting.told(written.rewritten),
        companions=written.companions,
    )


def _check_apart(out: Path, halves: Mapping[str, Half]) -> None:
    """Refuse to write where the pictures or annotations of the source are looked for in sub-folders."""
    place = out.resolve()
    for half in halves.values():
        for folder in (half.images, half.annotations):
            if folder and place.is_relative_to(Path(folder).resolve()):
                raise UserError(
                    f"{out}: lies in {folder}, where what is written would be found as part of the source; choose an"
                    " OUT outside"
                )
