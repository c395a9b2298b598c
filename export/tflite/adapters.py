"""The layers that LiteRT has another way for, or none."""

import functools

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.export.grouped_convolutions import by_operator
from keras_fpn.export.replacing import replace
from keras_fpn.export.tflite.leading_rows import compute
from keras_fpn.export.tflite.narrow_products import narrow_products
from keras_fpn.export.tflite.pixels import normalize
from keras_fpn.export.tflite.roi_align import crop
from keras_fpn.export.tflite.suppression import nms_mask
from keras_fpn.layers.dense_detections import DenseDetectionLayer
from keras_fpn.layers.dense_suppressions import SoftDenseDetections
from keras_fpn.layers.detections import DetectionLayer
from keras_fpn.layers.leading_rows import LeadingRows
from keras_fpn.layers.pixels import PixelNormalization
from keras_fpn.layers.proposals import ProposalLayer
from keras_fpn.layers.roi_align import RoIAlign
from keras_fpn.layers.roi_pool import RoIPool
from keras_fpn.layers.soft_detections import SoftDetections
from keras_fpn.ops import nms


def _static_pixels(layer, model):
    replace(layer, "call", PixelNormalization.call, functools.partial(normalize, layer))


def _static_suppression(layer, model):
    replace(layer, "suppression", nms.nms_mask, nms_mask)


def _some_rows_at_a_time(layer, model):
    replace(layer, "compute", LeadingRows.compute, compute)


def _crops_by_products(layer, model):
    replace(layer, "crop", RoIAlign.crop, functools.partial(crop, layer))


def _no_maxima(layer, model):
    raise UserError(
        'roi_pooling.method: "max" needs operations that LiteRT does not have built in; export a SavedModel, or'
        ' train with roi_pooling.method "align"'
    )


def _no_soft_suppression(layer, model):
    raise UserError(
        f'detections.suppression: "soft_{layer.decay}" needs a loop, which LiteRT files here do without; export a'
        " SavedModel, or a model with per_class or class_agnostic"
    )


ADAPTERS = {
    PixelNormalization: _static_pixels,
    ProposalLayer: _static_suppression,
    DenseDetectionLayer: _static_suppression,
    DetectionLayer: _static_suppression,
    SoftDenseDetections: _no_soft_suppression,
    SoftDetections: _no_soft_suppression,
    LeadingRows: _some_rows_at_a_time,
    RoIAlign: _crops_by_products,
    RoIPool: _no_maxima,
    keras.layers.Dense: narrow_products,
    keras.layers.Conv2D: by_operator,
}
