"""The layers that LiteRT has another way for, or none."""

import functools

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.export.replacing import replace
from keras_fpn.export.tflite.narrow_products import narrow_products
from keras_fpn.export.tflite.pixels import normalize
from keras_fpn.export.tflite.roi_align import crop
from keras_fpn.export.tflite.suppression import nms_mask
from keras_fpn.layers.dense_detections import DenseDetectionLayer
from keras_fpn.layers.detections import DetectionLayer
from keras_fpn.layers.leading_rows import LeadingRows
from keras_fpn.layers.pixels import PixelNormalization
from keras_fpn.layers.proposals import ProposalLayer
from keras_fpn.layers.roi_align import RoIAlign
from keras_fpn.layers.roi_pool import RoIPool
from keras_fpn.ops import nms


def _static_pixels(layer, model):
    replace(layer, "call", PixelNormalization.call, functools.partial(normalize, layer))


def _static_suppression(layer, model):
    replace(layer, "suppression", nms.nms_mask, nms_mask)


def _all_rows(layer, model):
    replace(layer, "number", LeadingRows.number, lambda counts, rows: rows)


def _crops_by_products(layer, model):
    replace(layer, "crop", RoIAlign.crop, functools.partial(crop, layer))


def _no_maxima(layer, model):
    raise UserError(
        'roi_pooling.method: "max" needs operations that LiteRT does not have built in; export a SavedModel, or'
        ' train with roi_pooling.method "align"'
    )


ADAPTERS = {
    PixelNormalization: _static_pixels,
    ProposalLayer: _static_suppression,
    DenseDetectionLayer: _static_suppression,
    DetectionLayer: _static_suppression,
    LeadingRows: _all_rows,
    RoIAlign: _crops_by_products,
    RoIPool: _no_maxima,
    keras.layers.Dense: narrow_products,
}
