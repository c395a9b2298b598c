"""Names of our classes for `keras.saving.load_model`, in a process that has imported `keras_fpn` and none of them.

Keras finds a custom class by a registered name, and registers it when its module is imported. The modules here are
imported when something in them is asked for, so until then a stand-in is registered in the place of each class.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from typing import Any

# {class: module} of what the package registers with Keras.
REGISTERED = {
    "FasterRCNN": "models.faster_rcnn", "FastRCNN": "models.fast_rcnn", "RPN": "models.rpn",
    "MaskRCNN": "models.mask_rcnn", "MaskHead": "heads.mask_head",
    "KeypointRCNN": "models.keypoint_rcnn", "KeypointHead": "heads.keypoint_head",
    "MaskKeypointRCNN": "models.mask_keypoint_rcnn",
    "CascadeRCNN": "models.cascade_rcnn", "CascadeMaskRCNN": "models.cascade_mask_rcnn",
    "SegmentProposals": "models.segment_proposals", "SGD": "models.optimizers", "WarmupMultiStep": "models.optimizers",
    "RetinaNet": "models.retinanet", "DenseHead": "heads.dense_head", "LossNormalizer": "layers.loss_normalizer",
    "FCOS": "models.fcos", "FCOSHead": "heads.fcos_head", "PointDetectionLayer": "layers.point_detections",
    "DenseDetectionLayer": "layers.dense_detections",
    "ClassAgnosticDenseDetections": "layers.dense_suppressions", "SoftDenseDetections": "layers.dense_suppressions",
    "ClassAgnosticPointDetections": "layers.dense_suppressions", "SoftPointDetections": "layers.dense_suppressions",
    "RPNHead": "heads.rpn", "BoxHead": "heads.box_head", "NormedBoxHead": "heads.normed_box_head",
    "Conv5Head": "heads.conv5_head",
    "SegmentHead": "heads.segment_head", "UpsampleLike": "necks.resampling", "PixelNormalization": "layers.pixels",
    "AnchorGenerator": "layers.anchors", "ProposalLayer": "layers.proposals", "DetectionLayer": "layers.detections",
    "ClassAgnosticDetections": "layers.class_agnostic_detections", "SoftDetections": "layers.soft_detections",
    "RoIAlign": "layers.roi_align", "AdaptiveRoIAlign": "layers.adaptive_roi_align", "RoIPool": "layers.roi_pool",
    "AdaptiveRoIVectors": "layers.adaptive_roi_vectors",
    "GroupedConv2D": "layers.grouped_convolution", "NormalizedDepthwiseConv2D": "layers.depthwise_convolution",
    "GroupNormalization": "layers.group_normalization",
    "FrozenBatchNormalization": "layers.normalization", "MaskedBatchNormalization": "layers.normalization",
    "BatchNormalization": "layers.normalization", "WeightedSum": "layers.weighted_sum",
    "WindowAttention": "layers.window_attention", "DecomposedAttention": "layers.decomposed_attention",
    "PositionEmbedding": "layers.position_embedding", "PatchMerging": "layers.patch_merging",
    "PointwiseGELU": "layers.pointwise_gelu",
    "LayerScale": "layers.layer_scale", "StochasticDepth": "layers.stochastic_depth",
    "AdamW": "models.optimizers",
}  # fmt: skip


class _Later:
    """Stands for a class until it is asked for."""

    def __init__(self, module: str, name: str):
        self._module, self._name = module, name

    def from_config(self, config: dict[str, Any]) -> Any:
        return getattr(importlib.import_module(self._module), self._name).from_config(config)


def _register() -> None:
    known = sys.modules["keras"].saving.get_custom_objects()
    for name, module in REGISTERED.items():
        known.setdefault(f"keras_fpn>{name}", _Later(f"keras_fpn.{module}", name))


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Registers once Keras has been imported, whoever imports it."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                _register()

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def register_later() -> None:
    """Register the stand-ins, now or when Keras is imported; imports nothing itself."""
    if sys.modules.get("keras") is not None:
        _register()
    else:
        sys.meta_path.insert(0, _AfterKeras())
