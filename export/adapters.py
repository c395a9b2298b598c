"""Replacements of a model's layers in each format.

A layer that a runtime does better otherwise, or not at all, has an adapter: `adapter(layer, model)` is called with each
such layer of a twin of the caller's model, wherever in it the layer is, and with the twin. It sets what the layer
computes by, or raises a UserError that says why the format cannot carry the layer. A layer without an adapter is traced
as it is.

What the layers of this package compute by, each an attribute that may be set on a layer:

    ProposalLayer, DetectionLayer   suppression   see `nms.nms_mask`
    RoIAlign                        crop          see `RoIAlign.crop`
    LeadingRows                     compute       see `LeadingRows.compute`
    any Keras layer                 call

Each format has a table by type: `tflite.adapters`, `onnx.adapters` and `saved_model.adapters`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.export import refusals
from keras_fpn.export.onnx.adapters import ADAPTERS as ONNX
from keras_fpn.export.saved_model.adapters import ADAPTERS as SAVED_MODEL
from keras_fpn.export.tflite.adapters import ADAPTERS as TFLITE
from keras_fpn.export.type_table import TypeTable

if TYPE_CHECKING:
    import keras

    from keras_fpn.models.detector import Detector

ADAPTERS = {
    "saved_model": TypeTable("saved_model adapter", SAVED_MODEL),
    "tflite": TypeTable("tflite adapter", TFLITE),
    "onnx": TypeTable("onnx adapter", ONNX),
}


def register_adapter(
    format: str,
    layer_type: "type[keras.layers.Layer]",
    adapter: "Callable[[keras.layers.Layer, Detector], None]",
) -> None:
    """Say what becomes of a layer in a format.

        def without_dropout(layer, model):
            layer.call = lambda inputs: inputs

        keras_fpn.export.register_adapter("tflite", MyDropout, without_dropout)

    Args:
        format: "saved_model", "tflite" or "onnx".
        layer_type: class of Keras layers; types derived from it have the adapter, too, unless they have their own.
        adapter: `adapter(layer, model)`; changes the layer, which belongs to a twin of the model that is exported, or
            raises a UserError.

    Raises:
        UserError: an unknown format, or the type has another adapter.
    """
    if format not in ADAPTERS:
        raise UserError(f"register_adapter: unknown format {format!r}{nearest(format, ADAPTERS)}")
    ADAPTERS[format].add(layer_type, adapter)


def adapted(model: "Detector", format: str, dtype: str | None = None) -> "Detector":
    """A twin of a model with its layers as a format carries them; the model itself stays as it is.

    Args:
        model: a `Detector`.
        format: "saved_model", "tflite" or "onnx".
        dtype: policy that the twin computes under, see `Detector.twin`.

    Raises:
        UserError: the model has a part that the format cannot carry.
    """
    refusals.check(model, format)
    twin = model.twin(dtype)
    for layer in twin._flatten_layers(include_self=False):
        adapter = ADAPTERS[format].of(layer)
        if adapter is not None:
            adapter(layer, twin)
    return twin
