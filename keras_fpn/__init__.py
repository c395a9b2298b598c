"""Feature Pyramid Networks for object detection in Keras 3 on TensorFlow (Lin et al., CVPR 2017).

The rooms, from the ground up; each imports only from those before it. In bold strokes an image goes from `data` through
`backbones` and `necks` into the `stages` of one of the `models`, which are made of `layers` and `heads`:

    console      errors, files, progress: what a person sees of a program
    ops          functions on tensors: boxes, suppression, losses
    parts        what a part says of itself: settings, output fields; registries and extensions
    metrics      what detections are measured by, a file for each family
    data         image files and COCO annotations -> batches
    layers       Keras layers: pixels, anchors, proposals, RoIAlign, detections
    backbones    image -> {"C2".."C5"}
    necks        {"C2".."C5"} -> {"P2".."P6"}: the FPN, and the ablations and neighbours of the paper's tables
    heads        features -> raw predictions
    stages       the steps of a detector: propose, classify, segment, with their targets, losses and settings
    models       the loop, and the members of the family: lists of stages
    config       YAML -> settings
    checkpoints  published weights, in and out
    inference    image files -> detections in their own pixels
    evaluation   COCO results -> what pycocotools measures
    reporting    pictures, curves, pages
    training     a configuration -> a run folder
    paper        the tables of the paper: which row is which configuration, and the pages
    commands     `keras-fpn`, a file for each sub-command
    export       the detector for TF Serving, TFLite and ONNX (the folder export/ beside this one)
"""

import importlib

from keras_fpn.parts.lazy_registration import register_later

__version__ = "0.1.0"

_PUBLIC = {
    "FasterRCNN": "keras_fpn.models.faster_rcnn",
    "MaskRCNN": "keras_fpn.models.mask_rcnn",
    "CascadeRCNN": "keras_fpn.models.cascade_rcnn",
    "CascadeMaskRCNN": "keras_fpn.models.cascade_mask_rcnn",
    "KeypointRCNN": "keras_fpn.models.keypoint_rcnn",
    "MaskKeypointRCNN": "keras_fpn.models.mask_keypoint_rcnn",
    "RPN": "keras_fpn.models.rpn",
    "FastRCNN": "keras_fpn.models.fast_rcnn",
    "SegmentProposals": "keras_fpn.models.segment_proposals",
    "RetinaNet": "keras_fpn.models.retinanet",
    "FCOS": "keras_fpn.models.fcos",
    "Detector": "keras_fpn.models.detector",
    "ClassDetector": "keras_fpn.models.class_detector",
    "Stage": "keras_fpn.stages.stage",
    "ProposeStage": "keras_fpn.stages.propose",
    "ClassifyStage": "keras_fpn.stages.classify",
    "GivenProposalsStage": "keras_fpn.stages.given",
    "SegmentStage": "keras_fpn.stages.segment",
    "MaskStage": "keras_fpn.stages.mask",
    "KeypointStage": "keras_fpn.stages.keypoint",
    "DenseStage": "keras_fpn.stages.dense",
    "FCOSStage": "keras_fpn.stages.fcos",
    "RoIAlign": "keras_fpn.layers.roi_align",
    "OutputField": "keras_fpn.parts.output_fields",
    "register_output_field": "keras_fpn.parts.output_fields",
    "Settings": "keras_fpn.parts.settings",
    "Choice": "keras_fpn.parts.choice",
    "BackboneSettings": "keras_fpn.backbones.settings",
    "NeckSettings": "keras_fpn.necks.settings",
    "PyramidSettings": "keras_fpn.necks.settings",
    "HeadSettings": "keras_fpn.stages.classify_settings",
    "register_model": "keras_fpn.models.architectures",
    "register_backbone": "keras_fpn.backbones.settings",
    "register_neck": "keras_fpn.necks.settings",
    "register_box_head": "keras_fpn.stages.classify_settings",
    "load_model": "keras_fpn.models.files",
    "load_config": "keras_fpn.config.loading",
    "convert_checkpoint": "keras_fpn.checkpoints.conversion",
    "start_from": "keras_fpn.checkpoints.transfer",
    "load_coco": "keras_fpn.data",
    "SGD": "keras_fpn.models.optimizers",
    "WarmupMultiStep": "keras_fpn.models.optimizers",
    "COCOEvaluation": "keras_fpn.training.callbacks",
    "COCOEvaluator": "keras_fpn.evaluation.coco",
    "detect": "keras_fpn.inference.detecting",
    "AnnotationFormat": "keras_fpn.data.formats",
    "register_format": "keras_fpn.data.formats",
    "ObjectField": "keras_fpn.data.fields",
    "register_object_field": "keras_fpn.data.fields",
    "Augmentation": "keras_fpn.data.augmentations",
    "AugmentationSettings": "keras_fpn.data.augmentations",
    "PixelAugmentation": "keras_fpn.data.augmentations",
    "register_augmentation": "keras_fpn.data.augmentations",
    "MetricFamily": "keras_fpn.metrics",
    "register_metric_family": "keras_fpn.metrics",
    "UserError": "keras_fpn.console.errors",
}
_MODULES = {
    "data": "keras_fpn.data",
    "metrics": "keras_fpn.metrics",
    "export": "keras_fpn.export",
    "checkpoint_names": "keras_fpn.parts.checkpoint_names",
    "extensions": "keras_fpn.parts.extensions",
    "output_fields": "keras_fpn.parts.output_fields",
    "images": "keras_fpn.inference.images",
    "masks": "keras_fpn.ops.masks",
    "mask_pasting": "keras_fpn.ops.mask_pasting",
    "visualize": "keras_fpn.reporting.visualize",
}
register_later()
__all__ = [*_PUBLIC, *_MODULES, "__version__"]


def __getattr__(name):
    # Lazy (PEP 562), so that `keras-fpn --help` answers without importing TensorFlow.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'keras_fpn' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC, *_MODULES])
