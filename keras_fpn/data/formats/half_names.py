"""Words by which programs name the halves of a data set, and halves of one file: "data.yaml@train"."""

import os
import re
from collections.abc import Collection
from pathlib import Path

from keras_fpn.console.errors import UserError
from keras_fpn.data.listing import folders_in

WORDS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
_ANY = sorted((word for words in WORDS.values() for word in words), key=len, reverse=True)
_WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(_ANY)})(?![A-Za-z])", re.IGNORECASE)


def half_of(word: str) -> str | None:
    """The half that a word means, in whatever letters: "train", "val" or "test"; None of another word."""
    return next((half for half, words in WORDS.items() if word.lower() in words), None)


def half_in(name: str) -> str | None:
    """The half of which a word is in a name, such as "train_labels" or "val2017"; None if there is none."""
    found = _WORD.search(name)
    return None if found is None else half_of(found[1])


def folders_of_halves(root: Path) -> dict[str, Path]:
    """The folders of a folder that are called as a half is, by half.

    Raises:
        UserError: two are called as the same half.
    """
    found: dict[str, Path] = {}
    for folder in folders_in(root):
        half = half_of(folder.name)
        if half in found:
            raise UserError(f"{root}: has {found[half].name} and {folder.name}; name one in the config, or rename one")
        if half is not None:
            found[half] = folder
    return {half: found[half] for half in WORDS if half in found}


def split(name: str, endings: Collection[str]) -> tuple[str, str | None]:
    """`("data.yaml", "train")` of "data.yaml@train"; the half is None where a name has none.

    A half is no path: folders may have an @ in their names.

    Args:
        endings: of the files that have halves, such as ".yaml".
    """
    file, at, half = name.rpartition("@")
    if at and half and "/" not in half and os.path.splitext(file)[1].lower() in endings:
        return file, half
    return name, None


def beside(path: Path) -> list[Path]:
    """The path and those that differ from it by the word of a half, in its own or its folder's name, and are there."""
    found = {path}
    for number, part in ((0, path.name), (1, path.parent.name)):
        for match in _WORD.finditer(part):
            for word in _ANY:
                other = part[: match.start()] + _in_letters_of(match[0], word) + part[match.end() :]
                found.add(path.with_name(other) if number == 0 else path.parent.with_name(other) / path.name)
    return sorted(each for each in found if each == path or each.exists())


def _in_letters_of(model: str, word: str) -> str:
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word
