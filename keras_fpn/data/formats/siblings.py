"""Classes of tools whose files list none: those of all halves of a folder, so that each half numbers them alike."""

from collections.abc import Callable
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.entries import reading
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.formats.half_names import half_in


def class_names(known: AnnotationFormat, annotations: str, names_of: Callable[[str], set[str]]) -> set[str]:
    """The names of the classes of annotations and of the other halves that lie beside them.

    Args:
        known: the format.
        annotations: path of one half.
        names_of: gives the names in the annotations of a path.

    Raises:
        UserError: the annotations of a half cannot be read.
    """
    path = Path(annotations).absolute()
    if not any(half_in(place.name) for place in (path, path.parent, path.parent.parent)):
        return names_of(annotations)  # no half of anything
    names: set[str] = set()
    for other in {half.annotations for half in halves_beside(known, annotations).values()} | {annotations}:
        with reading(other, "one of its objects"):
            names |= names_of(other)
    return names


def halves_beside(known: AnnotationFormat, annotations: str) -> dict[str, Half]:
    """The halves of the folder that annotations are one half of; none where their place does not tell.

    A folder `train` alone is a data set of one subset, and beside a folder `val` it is one half: the outer folder says
    more.
    """
    wanted = Path(annotations).absolute()
    found: dict[str, Half] = {}
    for folder in (wanted.parent.parent, wanted.parent):
        try:
            halves = known.find(folder) or {}
        except (UserError, OSError):  # nothing that was asked for
            continue
        paths = [Path(half.annotations).absolute() for half in halves.values()]
        if wanted in paths and len(halves) > len(found):
            found = halves
    return found
