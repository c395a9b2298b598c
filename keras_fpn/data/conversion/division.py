"""A half of a data set divided into two: by a hash of each picture's name, so that pictures may be added later."""

import dataclasses
import hashlib
import unicodedata
from collections.abc import Mapping

from keras_fpn.console.errors import UserError
from keras_fpn.data.conversion.sources import Source

_VERSION_OF = ".rf."  # Roboflow writes several versions of a picture as NAME.rf.HASH.jpg, which belong together


def divided(sources: Mapping[str, Source], share: float, seed: int) -> dict[str, Source]:
    """The sources with one of pictures to measure on, taken from those to learn from.

    Args:
        sources: "all", or "train" without "val"; others stay as they are.
        share: of the pictures to measure on, above 0 and below 1; the number is near it.
        seed: another one divides otherwise.

    Raises:
        UserError: there is such a half already, or one of the two would have no picture.
    """
    if "val" in sources:
        raise UserError("--val-share: the data set has a half to measure on already; leave --val-share out")
    name = "all" if "all" in sources else "train"
    whole = sources[name]
    is_val = [_place(entry["file_name"], seed) < share for entry in whole.entries]
    if all(is_val) or not any(is_val):
        half = "learn from" if all(is_val) else "measure on"
        raise UserError(
            f"--val-share {share:g}: of {len(is_val)} pictures of {whole.annotations} none is left to {half}; give"
            " another share, or another --seed"
        )
    others = {each: source for each, source in sources.items() if each != name}
    return {"train": _part(whole, [not each for each in is_val]), "val": _part(whole, is_val), **others}


def _place(file_name: str, seed: int) -> float:
    """A number from 0 to 1 that the name decides."""
    name = unicodedata.normalize("NFC", file_name).replace("\\", "/").partition(_VERSION_OF)[0]
    digest = hashlib.sha256(f"{seed}:{name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _part(whole: Source, chosen: list[bool]) -> Source:
    def of(values):
        return [value for value, is_chosen in zip(values, chosen, strict=True) if is_chosen]

    objects = of(whole.objects)
    ids = {item["id"] for items in objects for item in items}
    order = [number for number in whole.order if number in ids]
    return dataclasses.replace(whole, entries=of(whole.entries), files=of(whole.files), objects=objects, order=order,
                               left_out=0)  # fmt: skip
