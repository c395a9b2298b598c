"""The layers that have another way in a SavedModel, which runs on whatever machine it is copied to."""

import functools

from keras_fpn.export.replacing import replace
from keras_fpn.layers.roi_align import RoIAlign


def _crops_by_operator(layer, model):
    """CropAndResize is on every device and in every build of TF Serving; nobody trains here."""
    if layer.implementation == "auto":
        replace(layer, "crop", RoIAlign.crop, functools.partial(RoIAlign.crop_by_operator, layer))


ADAPTERS = {RoIAlign: _crops_by_operator}
