"""The layers that ONNX has operators of its own for, or none."""

import functools

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.export.grouped_convolutions import by_operator
from keras_fpn.export.onnx.operators import crop_for, nms_mask
from keras_fpn.export.replacing import replace
from keras_fpn.layers.dense_detections import DenseDetectionLayer
from keras_fpn.layers.dense_suppressions import SoftDenseDetections
from keras_fpn.layers.detections import DetectionLayer
from keras_fpn.layers.proposals import ProposalLayer
from keras_fpn.layers.roi_align import RoIAlign
from keras_fpn.layers.roi_pool import RoIPool
from keras_fpn.layers.soft_detections import SoftDetections
from keras_fpn.ops import nms


def _native_suppression(layer, model):
    replace(layer, "suppression", nms.nms_mask, nms_mask)


def _native_crops(layer, model):
    crop = crop_for(layer, model.settings["resize"])
    replace(layer, "crop", RoIAlign.crop, functools.partial(crop, layer))


def _no_maxima(layer, model):
    raise UserError('roi_pooling.method: "max" has no operator in ONNX; only models with "align" can be written')


def _no_soft_suppression(layer, model):
    raise UserError(
        f'detections.suppression: "soft_{layer.decay}" has no operator in ONNX; export a SavedModel, or a model with'
        " per_class or class_agnostic"
    )


ADAPTERS = {
    ProposalLayer: _native_suppression,
    DenseDetectionLayer: _native_suppression,
    DetectionLayer: _native_suppression,
    SoftDenseDetections: _no_soft_suppression,
    SoftDetections: _no_soft_suppression,
    RoIAlign: _native_crops,
    RoIPool: _no_maxima,
    keras.layers.Conv2D: by_operator,
}
