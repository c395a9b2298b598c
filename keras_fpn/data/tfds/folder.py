"""A TFDS data set as a COCO-format folder: pictures byte for byte, and an instances file for each half."""

import json
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import write_text
from keras_fpn.data.instances import Instances
from keras_fpn.data.objects import shown
from keras_fpn.data.tfds.content import Content
from keras_fpn.data.tfds.keys import Keys
from keras_fpn.data.tfds.original import joined
from keras_fpn.data.tfds.prepared import Prepared
from keras_fpn.data.tfds.reading import check_labelled, counted, open_split

HALVES = ("train", "val", "test")
_FOUND = Keys()  # all by themselves
_OTHER_NAMES = "name another feature by --file-name-key, or number the pictures: --file-name-key ''"


class Written(NamedTuple):
    """Of a half: how many images and objects."""

    images: int
    objects: int


def choose_halves(prepared: Prepared, given: Mapping[str, str], val_share: float | None) -> dict[str, str]:
    """The split that each half is made of: those given, or the data set's own train and validation splits.

    Args:
        given: `{half: split}`, or none.
        val_share: share of the split train, its end, that is kept to measure on.

    Raises:
        UserError: there is no split to learn from or to measure on; one has no labels; COCO's metric would be wrong.
    """
    own = prepared.halves()
    if given:
        halves = dict(given)
    elif val_share is not None:
        end = prepared.splits.get("train", 0) - round(val_share * prepared.splits.get("train", 0))
        halves = {"train": f"train[:{end}]", "val": f"train[{end}:]"}
    else:
        halves = {half: own[half] for half in ("train", "val") if half in own}
        if len(halves) < 2:
            raise UserError(
                f"{prepared.name}: has the splits {', '.join(prepared.splits)}, and training needs two, to learn from"
                " and to measure on; divide the split train by --val-share 0.1, or name splits by"
                " --split train=train[:90%],val=train[90%:]"
            )
    if "val" in halves and prepared.known.refused:
        raise UserError(
            f"{prepared.name}: {prepared.known.refused}; write what can be learnt from alone: --split train=train"
        )
    for half, split in halves.items():
        if half != "test":
            check_labelled(prepared, split)
    return halves


def write_folder(
    prepared: Prepared,
    out: Path,
    halves: Mapping[str, str],
    keys: Keys = _FOUND,
    originals: Sequence[Instances] = (),
) -> dict[str, Written]:
    """Write `out/HALF/` and `out/annotations/instances_HALF.json` for each half.

    Args:
        out: folder, made if absent.
        halves: `{half: split}`.
        keys: features that are named by hand.
        originals: COCO's own instances files, joined by the ids of their images; each half is in one of them.

    Returns:
        how much was written of each half.

    Raises:
        UserError: something cannot be read, see `open_split`; a name of a file leads out of the folder or is there
            twice; an original is of another data set.
    """
    written = {}
    for half, name in halves.items():
        split, schema = open_split(prepared, name, keys)
        content = Content(schema, f"{prepared.folder}@{name}")
        files = _Files(out / half)
        for example in counted(split.examples(whole_pictures=True), f"write {half}", len(split)):
            files.write(content.add(example)["file_name"], example.picture)
        document = content.as_coco()
        if originals:
            document = joined(document, _original_of(document, originals))
        document = {"info": {"description": f"{prepared.title} {name}"}, **document}
        write_text(
            out / "annotations" / f"instances_{half}.json", json.dumps(document, separators=(",", ":")) + "\n"
        )
        written[half] = Written(len(document["images"]), len(document["annotations"]))
    return written


def _original_of(document, originals) -> Instances:
    """The original that has the first image; `joined` finds out whether it has the others."""
    first = next((image["id"] for image in document["images"]), None)
    having = (each for each in originals if any(image["id"] == first for image in each.images))
    return next(having, originals[0])


class _Files:
    """Writes the pictures of a half, in its folder and those below it."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._made: set[Path] = set()
        self._names: set[str] = set()

    def write(self, name: str, picture: bytes) -> None:
        plain = posixpath.normpath(name)
        if plain != name or plain.startswith(("/", "../")) or plain in (".", ".."):
            raise UserError(f"{shown(name)}: a name of a picture that leads out of the folder; {_OTHER_NAMES}")
        if name in self._names:
            raise UserError(f"{shown(name)}: the name of two pictures of {self._folder.name}; {_OTHER_NAMES}")
        self._names.add(name)
        path = self._folder / name
        if path.parent not in self._made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        path.write_bytes(picture)
