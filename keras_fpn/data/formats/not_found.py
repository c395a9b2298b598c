"""The error where no format knows a folder: what it nearly is, or which data sets there are."""

from collections.abc import Iterable
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.format import AnnotationFormat
from keras_fpn.data.formats.picture_folders import has_pictures
from keras_fpn.data.listing import folders_in, names_ending
from keras_fpn.data.objects import shown

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_MOST = 20  # sub-folders that are looked into


def no_data_set(place: Path, formats: Iterable[AnnotationFormat]) -> UserError:
    """The error about a place in which none of the formats is."""
    if not place.is_dir():
        return UserError(f"{shown(str(place))}: {_of_no_folder(place)}")
    return UserError(f"{shown(str(place))}: {_nearly(place, list(formats))}")


def _of_no_folder(place: Path) -> str:
    if not place.is_file():
        return "there is no such folder; check the path"
    if place.suffix.lower() in _ARCHIVES:
        return "is an archive; unpack it and give the folder"
    return f"is a file, and a folder is wanted; {_NAMED_FILES}"


_NAMED_FILES = "name files by --set data.train.annotations=FILE data.train.images=DIR and the same for data.val"


def _nearly(folder: Path, formats: list[AnnotationFormat]) -> str:
    inside = [each for each in folders_in(folder)[:_MOST] if _is_known(each, formats)]
    if len(inside) == 1:
        return f"no known data set in it, but in a folder of it; did you mean {shown(str(inside[0]))}?"
    archives = names_ending(folder, *_ARCHIVES)
    if archives:
        return f"no known data set in it, but {shown(archives[0])}; unpack it and give the folder"
    what = "pictures and no annotations that are known" if has_pictures(folder) else "no known data set in it"
    titles = ", ".join(each.title for each in formats)
    return f"{what} ({titles}); docs/formats.md shows their folders; or {_NAMED_FILES}"


def _is_known(folder: Path, formats: list[AnnotationFormat]) -> bool:
    """Whether a format knows a folder, or finds something missing in it."""
    try:
        return any(each.find(folder) is not None for each in formats)
    except UserError:
        return True
    except OSError:  # a folder that must not be listed
        return False
