"""Names in detectron2's files of the heads of a cascade: those of a box head, and the number of each in its row."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_fpn.parts.checkpoint_names import Named

if TYPE_CHECKING:
    import keras

_PARTS = r"^roi_heads\.(box_head|box_predictor)\."


def in_row(name: str, number: int) -> str:
    """The name in the head of that number, from 0, of what has a name in a box head.

    "roi_heads.box_head.fc1" is "roi_heads.box_head.0.fc1" in the first.
    """
    return re.sub(_PARTS, rf"roi_heads.\g<1>.{number}.", name)


def name_in_row(head: "keras.layers.Layer", number: int) -> None:
    """Have a box head named as the one of that number, from 0; only detectron2 has cascades."""
    usual = getattr(head, "checkpoint_names", {}).get("detectron2")
    if usual is None:
        return

    def names(head: Any, model: Any) -> dict[str, str | Named]:
        table: Mapping[str, str | Named] = usual(head, model) if callable(usual) else usual
        return {pattern: _moved(theirs, number) for pattern, theirs in table.items()}

    # Past Keras' tracking, which would put a dict of its own in the place of this one.
    object.__setattr__(head, "checkpoint_names", {"detectron2": names})


def _moved(theirs, number):
    if isinstance(theirs, Named):
        return theirs._replace(name=in_row(theirs.name, number))
    return in_row(theirs, number)
