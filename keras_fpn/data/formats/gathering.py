"""Images and objects as formats of many files give them, brought together as the content of a COCO instances file.

A half that `keras-fpn data convert` wrote has a companion, a JSON file that holds what the format has no place for:
ids, order, and whatever else the source said of an image or an object. It counts where the annotations are as they
were written, told by a checksum of each file; an image whose file was edited since has what its file says.
"""

import json
import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from keras_fpn.console.errors import UserError
from keras_fpn.data.objects import short

log = logging.getLogger(__name__)

VERSION = 1
_MEND = "remove it, and ids are numbered 1, 2, 3 ..."


class ReadImage(NamedTuple):
    """An image of a half and its objects.

    Attributes:
        file_name: relative to the image folder, with slashes.
        width, height: pixels.
        objects: annotations with "bbox" and "category_id", without ids.
        check: `checksum` of the file that has the objects; of several images in one file, 0.
    """

    file_name: str
    width: int
    height: int
    objects: list[dict[str, Any]]
    check: int = 0


def checksum(content: bytes) -> int:
    """CRC-32 of a file of annotations."""
    return zlib.crc32(content)


def companion(root: Path, half: str) -> Path:
    """The file beside the annotations of a half that has what its format has no place for."""
    return root / f"keras-fpn.{half}.json"


def gather(images: Iterable[ReadImage], categories: Sequence[dict], kept: Path | None = None) -> dict[str, Any]:
    """The content of an instances file.

    Args:
        images: in their order.
        categories: entries with "id" and "name".
        kept: the `companion` of the half; one that is not there, or None, for ids 1, 2, 3 ... in the order given.

    Raises:
        UserError: the companion is damaged, or has other classes.
    """
    if kept is not None and kept.is_file():
        return _restored(list(images), categories, _read(kept), kept)
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": list(categories)}
    for number, image in enumerate(images, 1):
        content["images"].append(_entry(image, number))
        _add_objects(content["annotations"], image.objects, number)
    return content


def _entry(image: ReadImage, number: int) -> dict[str, Any]:
    return {"id": number, "file_name": image.file_name, "width": image.width, "height": image.height}


def _add_objects(annotations, objects, image_id, first_id=1):
    for each in objects:
        annotations.append({"id": first_id + len(annotations), "image_id": image_id, **each})


# --------------------------------------------------------------------------------------------------- companion


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != VERSION:
            raise UserError(f"{path}: version {content['version']} of this file, and {VERSION} is read here; {_MEND}")
        _check(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check it") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not what keras-fpn data convert wrote there ({error!r}); {_MEND}") from None
    return content


def _check(content):
    """Reach for all that is read later, so that a damaged file is told once."""
    content["order"], content["further"].items(), content["categories"]
    [[each["id"], each["name"]] for each in content["classes"]]
    for image in content["images"]:
        image["name"], image["entry"]["id"], image["check"]
        [each["id"] for each in [*image["objects"], *image["unwritten"]]]


def _restored(images, categories, content, path) -> dict[str, Any]:
    names = [category["name"] for category in categories]
    wanted = [each["name"] for each in content["classes"]]
    if names != wanted:
        raise UserError(
            f"{path}: has the classes {short(wanted)}, and the annotations have {short(names)}; correct the"
            f" annotations, or {_MEND}"
        )
    ids = {category["id"]: kept["id"] for category, kept in zip(categories, content["classes"], strict=True)}
    by_name = {image.file_name: image for image in images}
    known = [each for each in content["images"] if each["name"] in by_name]
    new = [image for image in images if image.file_name not in {each["name"] for each in known}]
    entries, annotations, edited = [], [], []
    for each in known:
        image = by_name[each["name"]]
        number = each["entry"]["id"]
        entries.append({**_entry(image, number), **each["entry"]})
        if image.check == each["check"] and len(image.objects) == len(each["objects"]):
            pairs = zip(image.objects, each["objects"], strict=True)
            annotations += [_as_it_was(found, kept, number, ids) for found, kept in pairs]
        else:
            edited.append((number, image))
        annotations += [{**kept, "image_id": number} for kept in each["unwritten"]]
    place = {number: index for index, number in enumerate(content["order"])}
    annotations.sort(key=lambda item: place.get(item["id"], len(place)))
    last = max((each["entry"]["id"] for each in content["images"]), default=0)
    for number, image in enumerate(new, last + 1):
        entries.append(_entry(image, number))
        edited.append((number, image))
    _add_edited(annotations, edited, ids, max(content["order"], default=0))
    if edited:
        log.warning(
            "%s: %d of %d images were annotated since it was written; their objects have new ids", path, len(edited),
            len(images),
        )  # fmt: skip
    further = content["further"]
    return {**further, "images": entries, "annotations": annotations, "categories": content["categories"]}


def _as_it_was(found, kept, image_id, ids) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": ids[found["category_id"]], "bbox": found["bbox"], **kept}


def _add_edited(annotations, edited, ids, last):
    for image_id, image in edited:
        for each in image.objects:
            last += 1
            annotations.append({"id": last, "image_id": image_id, **each, "category_id": ids[each["category_id"]]})
