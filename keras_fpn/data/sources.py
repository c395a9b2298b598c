"""The parts that a data set is put together from: each annotations of some format and their image folder."""

import os
from collections.abc import Sequence

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats import Half, format_of
from keras_fpn.data.image_files import check_folder

Names = str | os.PathLike | Sequence[str | os.PathLike]


def as_halves(annotations: Names, images: Names | None = None) -> list[Half]:
    """The parts by name: one, or several where both arguments are lists.

    Args:
        annotations: path or name of each, see `formats`.
        images: folder of each; None where the annotations themselves say where their images are.

    Raises:
        UserError: more or fewer folders than annotations, nothing tells where the images are, or one is there twice.
    """
    names = [os.fspath(name) for name in _as_list(annotations)]
    folders: list = [None] * len(names) if images is None else [os.fspath(name) for name in _as_list(images)]
    if not names or len(names) != len(folders):
        raise UserError(
            f"{len(names)} annotations and {len(folders)} image folders: give a folder for each of the annotations"
        )
    pairs = zip(names, folders, strict=True)
    halves = [Half(name, _images_of(name) if folder is None else folder) for name, folder in pairs]
    for each in halves:
        if halves.count(each) > 1:
            raise UserError(f"{each.annotations}: is given twice; give a data set once")
    return halves


def as_settings(halves: Sequence[Half]) -> dict[str, str | list[str]]:
    """The parts as a configuration names them: texts of one, lists of several."""
    if len(halves) == 1:
        return halves[0]._asdict()
    return {"annotations": [half.annotations for half in halves], "images": [half.images for half in halves]}


def absolute(half: Half) -> Half:
    """The names by which a part is found from any folder."""
    images = os.path.abspath(half.images) if half.images else ""
    return Half(format_of(half.annotations).absolute(half.annotations), images)


def check_there(half: Half) -> None:
    """Refuse annotations or an image folder that are not there, before anything is read.

    Raises:
        UserError: there are none.
    """
    format_of(half.annotations).check_there(half.annotations)
    if half.images:
        check_folder(half.images, half.annotations)


def _as_list(names: Names) -> list:
    return [names] if isinstance(names, str | os.PathLike) else list(names)


def _images_of(name: str) -> str:
    known = format_of(name)
    folder = known.images_of(name)
    if folder is None:
        raise UserError(f"{name}: nothing tells where its images are; give the image folder, too")
    return folder
