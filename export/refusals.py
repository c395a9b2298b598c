"""Refusal of a format that a model says it cannot be carried by, before any work."""

from typing import TYPE_CHECKING

from keras_fpn.console.errors import UserError

if TYPE_CHECKING:
    from keras_fpn.models.detector import Detector

CARRIED_INPUTS = ("proposals", "num_proposals")  # besides images and their sizes: what `runtimes.inputs` checks


def check(model: "Detector", format: str) -> None:
    """Refuse a format that the model, or one of its stages, says it cannot be carried by.

    Either may have `refuses`, `{format: reason}`.

    Args:
        model: a `Detector`.
        format: "saved_model", "tflite" or "onnx".

    Raises:
        UserError: "format: title of the part: reason".
    """
    for part in (model, *model.stages):
        reason = getattr(part, "refuses", {}).get(format)
        if reason:
            raise UserError(f"{format}: {part.title or part.name}: {reason}")
    for name in model.further_inputs:
        if name not in CARRIED_INPUTS:
            carried = ", ".join(CARRIED_INPUTS)
            raise UserError(f"{format}: {model.title}: its input {name!r} cannot be exported yet, only {carried} can")
