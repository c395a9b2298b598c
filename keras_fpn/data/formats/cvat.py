"""CVAT's own XML, version 1.1: "CVAT for images", and "CVAT for video" whose pictures are the frames."""

import logging
import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from keras_fpn.console.errors import UserError
from keras_fpn.data.entry_values import as_whole
from keras_fpn.data.formats import half_names, outlines
from keras_fpn.data.formats.collected import Collected
from keras_fpn.data.formats.entries import reading, text
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.formats.half_files import find_files
from keras_fpn.data.formats.half_names import half_in
from keras_fpn.data.formats.outlines import Outline
from keras_fpn.data.formats.picture_folders import is_picture
from keras_fpn.data.formats.picture_places import image_folder, name_inside, places_beside, size_of
from keras_fpn.data.formats.xml_elements import elements, root_tag
from keras_fpn.data.listing import names_ending
from keras_fpn.data.objects import short

log = logging.getLogger(__name__)

_XML = (".xml",)
_FRAME = re.compile(r"frame_(\d+)\.\w+", re.IGNORECASE)
_WITHOUT_BOX = {
    "points": "points", "polyline": "polylines", "cuboid": "cuboids", "skeleton": "skeletons", "tag": "tags of images",
}  # fmt: skip
_SHAPES = ("box", "polygon", "ellipse", "mask")


class Cvat(AnnotationFormat):
    """CVAT's XML files. Polygons and masks of one group and label are one object, as in CVAT's COCO export.

    A project's file holds all subsets; FILE@SUBSET is one of them. Classes are in the order of the labels.
    """

    name, title = "cvat", "CVAT XML"
    layout = "CVAT's annotations.xml beside images/"

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        files = find_files(folder, _files_in, f"files of {self.title}")
        if files is None:
            return None
        if list(files) == ["all"]:
            by_half = _subsets_by_half(files["all"])
            if by_half:
                return {half: self._half(f"{files['all']}@{subset}") for half, subset in by_half.items()}
        return {half: self._half(str(file)) for half, file in files.items()}

    def recognises(self, annotations: str) -> bool:
        """See `AnnotationFormat`."""
        file, _ = half_names.split(annotations, _XML)
        return file.lower().endswith(_XML) and (not os.path.exists(file) or root_tag(file) == "annotations")

    def check_there(self, annotations: str) -> None:
        """See `AnnotationFormat`."""
        super().check_there(half_names.split(annotations, _XML)[0])

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        return self._half(annotations).images

    def files(self, annotations: str) -> list[Path]:
        """See `AnnotationFormat`."""
        return [Path(half_names.split(annotations, _XML)[0])]

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """See `AnnotationFormat`."""
        file, subset = half_names.split(annotations, _XML)
        reader = _Reader(file, subset, images)
        for element in elements(file):
            reader.take(element)
        return reader.content()

    def _half(self, annotations: str) -> Half:
        file, subset = half_names.split(annotations, _XML)
        named = [_named(each) for each in elements(file) if each.tag == "image"][:100]
        half = half_in(subset or Path(file).stem) or half_in(Path(file).parent.name)
        places = places_beside(Path(file), half)
        if not named:  # a video's file names no pictures
            return Half(annotations, str(next((each for each in places if _frames(each)), places[0])))
        return Half(annotations, str(image_folder(places, named)))


def _files_in(folder: Path) -> Iterable[Path]:
    names = names_ending(folder, *_XML)
    if len(names) > 50:  # one of each picture: another format's
        return []
    return [folder / name for name in names if root_tag(folder / name) == "annotations"]


def _subsets_by_half(file: Path) -> dict[str, str]:
    """The subsets of a project's file that are named as halves: `{"train": "Train", "val": "Validation"}`."""
    named = dict.fromkeys(each.get("subset") for each in elements(file) if each.tag in ("image", "track"))
    by_half = {half: subset for subset in named if subset and (half := half_in(subset))}
    return {half: by_half[half] for half in ("train", "val", "test") if half in by_half} if len(by_half) > 1 else {}


def _named(image: Element) -> str:
    subset, name = image.get("subset"), image.get("name", "")
    return f"{subset}/{name}" if subset else name


def _frames(folder: str | os.PathLike) -> dict[int, str]:
    """The frames of a video that lie in a folder, by their numbers: `frame_000012.PNG` is 12."""
    found = ((_FRAME.fullmatch(name), name) for name in sorted(os.listdir(folder)) if is_picture(name))
    return {int(match[1]): name for match, name in found if match}


class _Reader:
    """Elements of a file as they are read, one at a time; of one subset, or of all."""

    def __init__(self, file: str, subset: str | None, images: str):
        self._file, self._subset, self._folder = file, subset, images
        self._labels: list[tuple[None, str]] = []
        self._frame_size: tuple[int, int] | None = None
        self._images: list[Element] = []
        self._tracks: list[Element] = []
        self._known = {"meta": self._take_meta, "image": self._images.append, "track": self._tracks.append}

    def take(self, element: Element) -> None:
        """Take what is right below the root: the description of the task, an image or a track."""
        known: Callable[[Element], None] | None = self._known.get(element.tag)
        if known is not None and self._subset in (None, element.get("subset", self._subset)):
            known(element)

    def content(self) -> dict[str, Any]:
        """Content of a COCO instances file."""
        collected = Collected(self._file, self._labels)
        for element in self._images:
            with reading(self._file, f"image {short(element.get('name'))}"):
                self._add_image(collected, element)
        if self._tracks:
            self._add_video(collected)
        return collected.content()

    def _take_meta(self, meta: Element) -> None:
        for label in meta.iter("label"):
            if label.find("parent") is None:  # a part of a skeleton has one
                with reading(self._file, "a label of the task"):
                    self._labels.append((None, text(label.findtext("name"), "its name")))
        size = meta.find(".//original_size")
        if size is not None:
            with reading(self._file, '"original_size"'):
                self._frame_size = int(size.findtext("height", "")), int(size.findtext("width", ""))

    def _add_image(self, collected: Collected, element: Element) -> None:
        named = _named(element)
        name = name_inside(self._folder, named)
        size = int(element.attrib["height"]), int(element.attrib["width"])
        image = collected.add_image(name, size, element.get("id"), named)
        _add_shapes(collected, image, [(shape, shape.attrib.get("label"), {}) for shape in element])

    def _add_video(self, collected: Collected) -> None:
        """All frames that are in the folder, and on each the objects whose tracks pass through it."""
        frames = _frames(self._folder)
        if not frames or self._images:
            raise UserError(
                f"{self._file}: has tracks, of frames of a video, and {self._folder} has no frame_000000.PNG and so on;"
                ' export it with its images, or pictures that are no video as "CVAT for images 1.1"'
            )
        by_frame = self._by_frame(frames)
        missing = sorted(set(by_frame) - set(frames))
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UserError(
                f"{self._file}: frame {missing[0]} is not in {self._folder}{more}; export the annotations with all"
                " images"
            )
        for number, name in sorted(frames.items()):
            size = self._frame_size or size_of(self._file, self._folder, name)
            image = collected.add_image(name, size, number)
            with reading(self._file, f"frame {number}"):
                _add_shapes(collected, image, by_frame.get(number, []))


    def _by_frame(self, frames: Mapping[int, str]) -> dict[int, list[tuple[Element, str | None, dict]]]:
        """The shapes of all tracks by the frames that they are on, each with its label and what its track says."""
        by_frame: dict[int, list[tuple[Element, str | None, dict]]] = {}
        numbers, unsaid = sorted(frames), 0
        for track in self._tracks:
            further = {"track_id": as_whole(track.get("id")), "group_id": track.get("group_id")}
            last = None  # frame on which the object was seen last, if it is still there
            for shape in track:
                with reading(self._file, f"track {track.get('id')}"):
                    number = int(shape.attrib["frame"])
                if last is not None:
                    unsaid += max(0, bisect_left(numbers, number) - bisect_right(numbers, last))
                last = None if shape.get("outside") == "1" else number
                if last is not None:
                    by_frame.setdefault(number, []).append((shape, track.get("label"), further))
        if unsaid:
            log.warning(
                "%s: %d times an object is between two key frames and has no box on the frame; CVAT itself writes one"
                " for each frame: export the annotations again",
                self._file, unsaid,
            )  # fmt: skip
        return by_frame


# ------------------------------------------------------------------------------------------------ one image


def _add_shapes(collected: Collected, image: int, shapes: list[tuple[Element, str | None, dict]]) -> None:
    height, width = collected.size(image)
    groups: dict[Any, list[tuple[Outline, dict]]] = {}
    for index, (shape, label, further) in enumerate(shapes):
        outline = _outline(collected, shape, height, width)
        if outline is None:
            continue
        group = shape.get("group_id") or further.get("group_id")
        is_part = group not in (None, "0") and outline.segmentation is not None
        said = _said(shape) | {key: value for key, value in further.items() if key != "group_id"}
        if group not in (None, "0"):
            said["group_id"] = as_whole(group)
        name = text(label, "its label")
        groups.setdefault((name, group) if is_part else (name, index, "alone"), []).append((outline, said))
    for (name, *_), parts in groups.items():
        outline = outlines.joined([each for each, _ in parts], height, width)
        collected.add_object(image, name, outline, **parts[0][1])


def _said(shape: Element) -> dict[str, Any]:
    """Facts of an object besides its place, by the keys that they stay under."""
    attributes = {each.get("name", ""): each.text or "" for each in shape.iter("attribute")}
    said: dict[str, Any] = {"occluded": shape.get("occluded") == "1", "attributes": attributes}
    if attributes.get("is_crowd") == "true":
        said["iscrowd"] = 1
    return said


def _outline(collected: Collected, shape: Element, height: int, width: int) -> Outline | None:
    kind = shape.tag
    if kind not in _SHAPES:
        collected.leave_out(_WITHOUT_BOX.get(kind, f"shapes of the unknown type {kind!r}"))
        return None
    if kind == "polygon":
        points = [[float(number) for number in pair.split(",")] for pair in shape.attrib["points"].split(";")]
        if len(points) >= 3:
            return outlines.polygon(points)
        collected.leave_out("polygons of fewer than three points")
        return None
    if kind == "mask":
        left, top, columns, rows = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
        runs = [int(number) for number in shape.attrib["rle"].split(",")]
        found = outlines.mask(outlines.from_runs(runs, rows, columns), left, top, height, width)
        if found is None:
            collected.leave_out("empty masks")
        return found
    turn = float(shape.get("rotation", 0))
    if kind == "ellipse":
        x, y, across, down = (float(shape.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
        return outlines.ellipse((x, y), (across, down), turn)
    x1, y1, x2, y2 = (float(shape.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
    return outlines.turned_rectangle((x1, y1, x2, y2), ((x1 + x2) / 2, (y1 + y2) / 2), turn)
