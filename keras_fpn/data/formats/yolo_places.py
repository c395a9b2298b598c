"""Where a YOLO data set has its pictures and the names of its classes: data.yaml, Darknet's obj.data, or classes.txt.

Paths in these files are of the machine that wrote them, or relative to one of several places: each is looked for at all
of them, and at last by its own end beside the file.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import class_lists, half_names
from keras_fpn.data.formats.picture_folders import PictureFolder, is_picture
from keras_fpn.data.formats.spelling import Spelling, files_ending
from keras_fpn.data.formats.yolo_keypoints import category_keys, shape_of
from keras_fpn.data.objects import is_whole, short

YAMLS, DARKNET = (".yaml", ".yml"), ".data"
_UP = 3  # folders above the labels in which names are looked for


@dataclass(frozen=True)
class Part:
    """A half of a data set.

    Attributes:
        source: the file that names the classes.
        names: of the classes, by number.
        places: folders of pictures, and lists of their files.
        labels: the folder of the label files where it is known, and not told by the places of the pictures.
        keypoints: how many an object has, and of how many numbers each; None if none has any.
        category_keys: `{number of a class: further keys of its category}`.
    """

    source: Path
    names: dict[int, str]
    places: tuple[Path, ...]
    labels: Path | None = None
    keypoints: tuple[int, int] | None = None
    category_keys: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def pictures(self, images: str) -> list[tuple[str, Path]]:
        """(name relative to the image folder, label file) of each picture, in order.

        Raises:
            UserError: a folder or list is not there, or has a picture outside the image folder.
        """
        spelling = Spelling()
        if self.labels is not None:
            names = PictureFolder(images).names
            return [(name, spelling.of((self.labels / name).with_suffix(".txt"))) for name in names]
        if len(self.places) == 1 and self.places[0].suffix.lower() != ".txt":
            return [(name, spelling.of(label_file(self.places[0] / name))) for name in PictureFolder(images).names]
        found = []
        for picture in self._listed():
            name = os.path.relpath(picture, images).replace(os.sep, "/")
            if name.startswith("../"):
                raise UserError(f"{self.source}: picture {picture} is not in the folder {images}; name one above both")
            found.append((name, spelling.of(label_file(picture))))
        return found

    def label_folder(self) -> Path | None:
        """The folder that has the label files of this half alone; None where lists of pictures make it."""
        if self.labels is not None or len(self.places) != 1 or not self.places[0].is_dir():
            return self.labels
        return label_file(self.places[0] / "a.jpg").parent

    def image_folder(self) -> Path:
        """The folder that has all pictures."""
        if len(self.places) == 1 and self.places[0].is_dir():
            return self.places[0]
        folders = {picture.parent for picture in self._listed()}
        return Path(os.path.commonpath(folders)) if folders else self.source.parent

    def _listed(self) -> Iterator[Path]:
        for place in self.places:
            if place.suffix.lower() == ".txt":
                yield from _pictures_of_list(place)
            else:
                yield from (place / name for name in PictureFolder(place).names)


def label_file(picture: Path) -> Path:
    """The label file of a picture: in the folder `labels` that lies where the last `images` of its path does."""
    return swapped(picture.with_suffix(".txt"), "images", "labels")


def swapped(path: Path, folder: str, other: str) -> Path:
    """A path with another name for the last folder of a name; as it is where it has none."""
    before, found, after = f"/{path.as_posix()}".rpartition(f"/{folder}/")
    return Path(f"{before}/{other}/{after}"[1:]) if found else path


def parts_of(source: Path) -> dict[str, Part]:
    """The halves that a data.yaml or obj.data names.

    Raises:
        UserError: it cannot be read, or has no names of classes.
    """
    content = _read_darknet(source) if source.suffix.lower() == DARKNET else read_yaml(source)
    if content is None:
        raise UserError(f"{source}: no description of a YOLO data set; it has names and train")
    names, keypoints = _names(source, content), shape_of(source, content)
    keys = category_keys(source, content, list(names))
    roots = _roots(source, content.get("path"))
    parts = {}
    for key, value in content.items():
        half = half_names.half_of(key) if isinstance(key, str) else None
        if half is not None and value:
            values = value if isinstance(value, list) else [value]
            places = tuple(_place(source, key, each, roots) for each in values)
            if None in places and half == "test":  # named by many files, and there in few
                continue
            missing = next((each for each, place in zip(values, places, strict=True) if place is None), None)
            if missing is not None:
                raise UserError(f"{source}: {key} is {short(missing)}, which is not there; correct it, or path")
            there = tuple(place for place in places if place is not None)
            parts[half] = Part(source, names, there, keypoints=keypoints, category_keys=keys)
    return {half: parts[half] for half in half_names.WORDS if half in parts}


def part_of_labels(labels: Path) -> Part:
    """A folder of label files as a half: the names are those of a data.yaml or classes.txt there or above.

    Raises:
        UserError: there are none.
    """
    folders = [labels, *labels.absolute().parents][: _UP + 1]
    for folder in folders:
        listed = class_lists.find_list([folder])
        if listed is not None:
            return Part(listed, dict(enumerate(class_lists.read_list(listed))), (), labels)
        for source in descriptions(folder):
            content = read_yaml(source) or {}
            names = _names(source, content)
            keys = category_keys(source, content, list(names))
            return Part(source, names, (), labels, shape_of(source, content), keys)
    raise UserError(
        f"{labels}: nothing names the classes; write classes.txt there, a name a line, or give the data.yaml"
    )


def part_of_list(listed: Path) -> Part:
    """A list of pictures as a half; the names are those of a classes.txt or obj.names beside it.

    Raises:
        UserError: there are none.
    """
    source = class_lists.find_list([listed.parent])
    if source is None:
        raise UserError(f"{listed}: nothing names the classes; write classes.txt beside it, a name a line")
    return Part(source, dict(enumerate(class_lists.read_list(source))), (listed,))


def descriptions(folder: Path) -> list[Path]:
    """The files in a folder that describe a YOLO data set; data.yaml alone where there is one."""
    files = sorted(file for ending in YAMLS for file in files_ending(folder, ending)) if folder.is_dir() else []
    found = [each for each in files if read_yaml(each) is not None]
    return [each for each in found if each.stem.lower() == "data"] or found


# ---------------------------------------------------------------------------------------------------- contents


def read_yaml(source: Path) -> dict[str, Any] | None:
    """The content of a file that describes a data set; None of another.

    Raises:
        UserError: it is called data.yaml, and is no whole YAML file; or it is not there.
    """
    text = class_lists.read_text(source)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if source.stem.lower() != "data":
            return None
        where = getattr(error, "problem_mark", None)
        place = f" (line {where.line + 1})" if where else ""
        raise UserError(f"{source}: no whole YAML file{place}; correct it") from None
    if not isinstance(content, dict) or not {"names", "nc"} & set(content):
        return None
    if isinstance(content.get("names"), list | dict):  # no and 007 are names, not False and 7
        nodes: Any = yaml.compose(text, yaml.SafeLoader).value  # type: ignore[union-attr]  # it has names
        content["names"] = _as_written(source, next(node for key, node in nodes if key.value == "names"))
    return content


def _as_written(source: Path, node: yaml.CollectionNode) -> list | dict:
    """Names of classes as texts, whatever YAML takes them for: a number, a date or a truth value."""
    if isinstance(node, yaml.SequenceNode):
        return [_text(name) for name in node.value]
    names: dict = {}
    for key, name in node.value:
        number = int(key.value) if str(key.value).isdecimal() else key.value
        if number in names:
            raise UserError(f"{source}: names has {short(number)} twice; give each class a number of its own")
        names[number] = _text(name)
    return names


def _text(node: yaml.Node) -> Any:
    return None if node.tag.endswith(":null") else node.value


def _read_darknet(source: Path) -> dict[str, Any]:
    pairs = (line.partition("=") for line in class_lists.read_text(source).splitlines())
    content: dict[str, Any] = {key.strip(): value.strip() for key, _, value in pairs if value.strip()}
    listed = _place(source, "names", content.get("names"), [source.parent])
    if listed is None:
        raise UserError(f"{source}: names a list of classes, {short(content.get('names'))}, that is not there; add it")
    content["names"] = class_lists.read_list(listed)
    content.pop("classes", None)
    return content


def _names(source: Path, content: dict) -> dict[int, str]:
    names, number = content.get("names"), content.get("nc")
    if names is None and is_whole(number):
        names = [f"class_{index}" for index in range(number)]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise UserError(f"{source}: names is {short(names)}; list the names of the classes")
    for index, name in names.items():
        if not is_whole(index) or index < 0 or isinstance(name, dict | list) or name is None:
            raise UserError(f"{source}: names has {short(index)}: {short(name)}; write 0: name, 1: name, and so on")
    names = {index: str(names[index]).strip() for index in sorted(names)}
    class_lists.check_twice(source, names.values())
    if is_whole(number) and number != len(names):
        raise UserError(f"{source}: nc is {number}, and names has {len(names)}; correct one")
    return names


# ------------------------------------------------------------------------------------------------------ places


def _roots(source: Path, path: Any) -> list[Path]:
    """The folders that relative paths may start from."""
    roots = [source.parent]
    if isinstance(path, str) and path:
        roots = [source.parent / path, Path(path), *roots]
    return roots


def _place(source: Path, key: str, value: Any, roots: Sequence[Path]) -> Path | None:
    if not isinstance(value, str):
        raise UserError(f"{source}: {key} is {short(value)}; write a folder of pictures, or a list of their files")
    spelling = Spelling()
    found = next((place for root in roots if (place := spelling.of(root / value)).exists()), None)
    return _by_its_end(value, source.parent, spelling) if found is None else Path(os.path.normpath(found))


def _by_its_end(value: str, folder: Path, spelling: Spelling) -> Path | None:
    """The place beside a file that a path of another machine means: by its longest end that is there."""
    parts = [part for part in value.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    ends = (parts[start:] for start in range(len(parts)))
    named = (spelling.of(folder.joinpath(*end)) for end in ends if len(end) > 1 or end[0] not in ("images", "labels"))
    return next((end for end in named if end.exists()), None)


def _pictures_of_list(listed: Path) -> Iterator[Path]:
    """The pictures of a list: where the first one is found tells where all are."""
    lines = [line.strip() for line in class_lists.read_text(listed).splitlines() if line.strip()]
    names = [line.replace("\\", "/") for line in lines if is_picture(line)]
    if not names:
        raise UserError(f"{listed}: lists no picture; write the path of one a line")
    first, spelling = names[0], Spelling()
    if first.startswith("/") and Path(first).is_file():
        yield from map(Path, names)
        return
    for skipped in range(first.count("/") + 1):
        end = first.split("/", skipped)[-1].lstrip("/")
        root = next((each for each in (listed.parent, listed.parent.parent) if spelling.of(each / end).is_file()), None)
        if root is not None:
            paths = (os.path.normpath(root / name.split("/", skipped)[-1].lstrip("/")) for name in names)
            yield from (spelling.of(Path(path)) for path in paths)
            return
    raise UserError(f"{listed}: picture {short(first)} is not there, nor by its end beside the list; correct the paths")
