"""Pascal VOC: a folder of XML files, one a picture, and lists of names that divide them."""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import class_lists, half_names
from keras_fpn.data.formats.counted import counted
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.formats.gathering import ReadImage, companion, gather
from keras_fpn.data.formats.picture_folders import PictureFolder, has_pictures, is_picture, picture_size
from keras_fpn.data.formats.spelling import Spelling, files_ending
from keras_fpn.data.formats.voc_xml import CLASSES, VocFile, is_voc_file, names_in, read_file
from keras_fpn.data.listing import folders_in, names_ending
from keras_fpn.data.objects import short, shown

log = logging.getLogger(__name__)

_XML, _PICTURES = "annotations", ("jpegimages", "images")  # folders, in whatever letters
_UNDIVIDED = ("all", "default", "trainval")  # lists that are looked for where there is none of training images


class Voc(AnnotationFormat):
    """Pascal VOC XML, in the layouts of VOC itself, Roboflow and LabelImg.

    VOC's: `Annotations/*.xml` beside `JPEGImages/`, and `ImageSets/Main/train.txt` and `val.txt`, also within
    `VOCdevkit/VOC2012/`. Roboflow's: `train/*.xml` and `valid/*.xml`, pictures beside them. LabelImg's: a folder of
    both, which nothing divides. Annotations are named by the list, or by the folder of the XML files.
    """

    name, title = "voc", "Pascal VOC XML"
    layout = (
        "Annotations/*.xml beside JPEGImages/ with ImageSets/Main/train.txt and val.txt, or train/*.xml and"
        " valid/*.xml"
    )

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        root = _root_in(folder)
        if root is not None:
            return _listed(root) or {"all": _undivided(root)}
        halves = half_names.folders_of_halves(folder)
        parts = {half: _part(place) for half, place in halves.items()}
        found = {half: part for half, part in parts.items() if part is not None}
        if "train" in found:
            return found
        whole = _part(folder)
        return None if whole is None else {"all": whole}

    def recognises(self, annotations: str) -> bool:
        """See `AnnotationFormat`."""
        path = Path(annotations)
        return _is_list(path) or (path.is_dir() and _first_xml(path) is not None)

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        path = Path(annotations)
        folder = _xml_folder(path)
        beside = _folder_called(folder.parent, *_PICTURES)
        if _is_list(path) or folder.name.lower() == _XML:
            return None if beside is None else str(beside)
        return str(folder)

    def files(self, annotations: str) -> Iterable[Path]:
        """See `AnnotationFormat`."""
        path = Path(annotations)
        listed = class_lists.find_list(_places_of_lists(path))
        kept = _companion(path)
        own = [each for each in (path if path.is_file() else None, listed, kept) if each is not None and each.is_file()]
        return [*own, *_xml_files(path)]

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """See `AnnotationFormat`."""
        self.check_there(annotations)
        path, pictures = Path(annotations), PictureFolder(images)
        files = [read_file(each) for each in counted(_xml_files(path), self.name, "files")]
        names, listed = _names(path, files)
        _check_names(files, names, listed)
        ids = {name: number for number, name in enumerate(names, 1)}
        folder = _xml_folder(path)
        read = [_image(file, folder, pictures, ids) for file in files]
        _check_shared(files, read)
        if not path.is_file():
            _tell_of_others(path, images, len(read), len(pictures.names))
        categories = [{"id": number, "name": name} for name, number in ids.items()]
        return gather(read, categories, _companion(path))


# ------------------------------------------------------------------------------------------------------ places


class _Place(NamedTuple):
    """Folder of XML files and that of their pictures."""

    xml: Path
    images: Path


def _folder_called(place: Path, *names: str) -> Path | None:
    """The first folder of these names, in whatever letters."""
    if not place.is_dir():
        return None
    folders = {each.name.lower(): each for each in reversed(folders_in(place))}
    return next((folders[name] for name in names if name in folders), None)


def _root_in(folder: Path) -> Path | None:
    """The folder that has `Annotations/`: this one, or that of a VOCdevkit inside."""
    kit = folder / "VOCdevkit" if (folder / "VOCdevkit").is_dir() else folder
    years = [each for each in folders_in(kit) if each.name.upper().startswith("VOC")]
    roots = [each for each in (folder, *years) if _place_in(each) is not None]
    if len(roots) > 1:
        raise UserError(f"{folder}: has {' and '.join(each.name for each in roots)}; name one, such as {roots[-1]}")
    return roots[0] if roots else None


def _place_in(folder: Path) -> _Place | None:
    """The folders of XML files and of pictures that lie in a folder."""
    xml = _folder_called(folder, _XML)
    if xml is None or _first_xml(xml) is None:
        return None
    images = _folder_called(folder, *_PICTURES)
    if images is None:
        if not has_pictures(xml):
            raise UserError(f"{folder}: has {xml.name}/ and no JPEGImages/; add the pictures, or name their folder")
        images = xml
    return _Place(xml, images)


def _part(folder: Path) -> Half | None:
    """A folder as a half: XML files and pictures in it, or in folders of it."""
    place = _place_in(folder)
    if place is not None:
        return Half(str(place.xml), str(place.images))
    return Half(str(folder), str(folder)) if _first_xml(folder) is not None else None


def _undivided(root: Path) -> Half:
    place = _place_in(root)
    assert place is not None
    lists = [root / "ImageSets" / "Main" / f"{name}.txt" for name in _UNDIVIDED]
    found = next((each for each in lists if each.is_file()), place.xml)
    return Half(str(found), str(place.images))


def _listed(root: Path) -> dict[str, Half]:
    """The halves by the lists of names; one whose first picture is not annotated, as VOC's test images, is left out."""
    place, lists = _place_in(root), root / "ImageSets" / "Main"
    assert place is not None
    found: dict[str, Half] = {}
    for file in files_ending(lists, ".txt") if lists.is_dir() else []:
        half = half_names.half_of(file.stem)
        if half in found:
            raise UserError(f"{lists}: has {Path(found[half].annotations).name} and {file.name}; remove one")
        if half is not None and (half != "test" or _is_annotated(file, place.xml)):
            found[half] = Half(str(file), str(place.images))
    return {half: found[half] for half in half_names.WORDS if half in found} if "train" in found else {}


def _is_annotated(file: Path, xml: Path) -> bool:
    lines = class_lists.read_text(file).split("\n")
    return bool(lines[0].strip()) and _xml_of(lines[0].strip(), xml, Spelling()) is not None


def _is_list(path: Path) -> bool:
    folders = [each.lower() for each in path.parts[-3:-1]]
    return path.suffix.lower() == ".txt" and "imagesets" in folders


def _xml_folder(path: Path) -> Path:
    """The folder of the XML files of annotations."""
    if not _is_list(path):
        return path
    root = path.parent if path.parent.name.lower() == "imagesets" else path.parent.parent
    return _folder_called(root.parent, _XML) or root.parent / "Annotations"


def _companion(path: Path) -> Path:
    return companion(_xml_folder(path).parent, path.stem)


def _walk(folder: Path, seen: set[str] | None = None) -> Iterator[Path]:
    """The XML files in a folder and its sub-folders, in order, as their pictures are listed: no folder twice."""
    seen = set() if seen is None else seen
    place = os.path.realpath(folder)
    if place not in seen:
        seen.add(place)
        yield from _in(folder)
        for each in folders_in(folder):
            if not each.name.startswith(".") and each.name != "__MACOSX":
                yield from _walk(each, seen)


def _first_xml(folder: Path) -> Path | None:
    """A VOC file in a folder, its sub-folders not counted; of a folder called Annotations they are."""
    files = _walk(folder) if folder.name.lower() == _XML else _in(folder)
    return next((file for file in files if is_voc_file(file)), None)


def _in(folder: Path) -> Iterator[Path]:
    """The XML files in a folder, its sub-folders not counted, in order."""
    return (folder / name for name in names_ending(folder, ".xml") if not name.startswith("."))


def _xml_files(path: Path) -> list[Path]:
    """The XML files of annotations, in the order of their list, or of their names."""
    folder = _xml_folder(path)
    if not path.is_file():
        if folder.name.lower() == _XML:
            return list(_walk(folder))
        return list(_in(folder))
    files, seen, spelling = [], set(), Spelling()
    for number, line in enumerate(class_lists.read_text(path).splitlines(), 1):
        if line.strip():
            file = _xml_of(line, folder, spelling)
            if file is None:
                raise UserError(
                    f"{path}: line {number}: {short(line.strip())} has no XML file in {folder}; add it, or remove the"
                    " line"
                )
            if file in seen:
                raise UserError(f"{path}: line {number}: {short(line.strip())} is there twice; remove one")
            seen.add(file)
            files.append(file)
    if not files:
        raise UserError(f"{path}: lists no picture; write the name of one a line")
    return files


def _xml_of(line: str, folder: Path, spelling: Spelling) -> Path | None:
    """The file of a line: a name that may have spaces, with 1, 0 or -1 behind it in the list of a class."""
    names = [line, line.strip()]
    if line.split()[-1] in ("1", "0", "-1"):
        names.append(line.rpartition(" ")[0].strip())
    if is_picture(line):
        names.append(os.path.splitext(line)[0])
    return next((file for name in names if (file := spelling.of(folder / f"{name}.xml")).is_file()), None)


# ----------------------------------------------------------------------------------------------------- reading


def _places_of_lists(path: Path) -> list[Path]:
    """The folders in which a list of the classes may lie: that of the XML files, and those above in their layout."""
    folder = _xml_folder(path)
    places = [folder]
    if folder.name.lower() == _XML:
        places.append(folder.parent)
    if half_names.half_of(places[-1].name):
        places.append(places[-1].parent)
    return places


def _names(path: Path, files: list[VocFile]) -> tuple[list[str], Path | None]:
    """The classes in their order, the same for all halves, and the file that lists them, if one does."""
    listed = class_lists.find_list(_places_of_lists(path))
    if listed is not None:
        return class_lists.read_list(listed), listed
    names = {each["name"] for file in files for each in file.objects}
    if any(file.is_voc for file in files) and names <= set(CLASSES):
        return list(CLASSES), None
    known = {file.path for file in files}
    for folder in half_names.beside(_xml_folder(path)):
        others = [file for file in _xml_files(folder) if file not in known]
        for file in counted(others, f"classes of {folder.name}", "files"):
            names |= names_in(file)
    return sorted(names), None


def _check_names(files, names, listed):
    known = set(names)
    for file in files:
        for number, each in enumerate(file.objects, 1):
            if each["name"] not in known:
                raise UserError(
                    f"{file.path}: object {number} is called {short(each['name'])}, which {listed} does not list;"
                    " correct it, or add the name there"
                )


def _image(file: VocFile, folder: Path, pictures: PictureFolder, ids: dict[str, int]) -> ReadImage:
    name, is_there = _picture_of(file, folder, pictures)
    width, height = file.width, file.height
    if not width or not height:
        if not is_there:
            raise UserError(
                f"{file.path}: has no size, and its picture {shown(name)} is not in {pictures.folder}; add it"
            )
        width, height = picture_size(os.path.join(pictures.folder, name))[:2]
    objects = [{**each, "category_id": ids[each["name"]]} for each in file.objects]
    for each in objects:
        del each["name"]
    return ReadImage(name, width, height, objects, file.check)


def _picture_of(file: VocFile, folder: Path, pictures: PictureFolder) -> tuple[str, bool]:
    """The name of the picture of a file, and whether it is there: the one of the file's name, as VOC pairs them."""
    stem = file.path.relative_to(folder).with_suffix("").as_posix()
    inside = stem.rpartition("/")[0]
    said = f"{inside}/{file.filename}".lstrip("/")
    matching = pictures.of_stem(stem)
    if len(matching) == 1 or (matching and said not in matching):
        return matching[0], True
    found = pictures.find(said) if file.filename else None
    return (said if file.filename else f"{stem}.jpg", False) if found is None else (found, True)


def _check_shared(files, read):
    first = {}
    for file, image in zip(files, read, strict=True):
        other = first.setdefault(image.file_name, file.path)
        if other != file.path:
            raise UserError(
                f"{file.path}: is of the picture {shown(image.file_name)}, as {other.name} is; remove one of the two"
            )


def _tell_of_others(path, images, number, pictures):
    if pictures > number:
        log.warning(
            "%s: %d of the %d pictures in %s have no XML file and are left out; annotate those without objects, too",
            path, pictures - number, pictures, images,
        )  # fmt: skip
