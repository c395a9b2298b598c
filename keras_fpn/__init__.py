"""Feature Pyramid Networks for object detection in Keras 3 on TensorFlow (Lin et al., CVPR 2017).

The package in the order in which data flows through it:

    data/            image files and COCO annotations -> batches; data/fields: what is read of every object
    pixels           RGB 0..255 -> what the backbone was trained on
    backbones/       image -> {"C2".."C5"}
    pyramids/        {"C2".."C5"} -> {"P2".."P6"}: the FPN, and the ablations and neighbours of the paper's tables
    anchors          reference boxes of every level
    rpn, proposals   objectness and deltas -> the 1000 best boxes
    targets, losses  matching, sampling and the losses (training)
    segment_grid, segment_head, segment_targets
                     positions of the pyramid -> scores and masks; what they are trained towards
    levels, roi_align, roi_pool, box_head, conv5_head
                     crops of the pyramid -> class scores and boxes
    detections       the 100 best boxes of an image
    stages/          the steps of a detector: propose, given proposals, classify, segment; their settings beside them
    detector         the loop: features, then each stage; a `keras.Model` with its own losses
    proposal_network, fast_rcnn, faster_rcnn, segment_proposals
                     the models, each a list of stages: the RPN alone (table 1 of the paper); Fast R-CNN on given
                     proposals (table 2); the whole (tables 3, 5); segment proposals (table 6)
    architectures, model_settings, settings_page
                     which models a configuration can name, all settings of one, and the page of them
    model_files      models from files
    propose, proposal_files
                     what a model proposes in a data set, on disk: what Fast R-CNN is trained and measured on
    fields           what stands in the rows of detections: how it goes to the original image, results, pictures
    images, inference
                     image files -> detections in their own pixels; `images` without TensorFlow
    masks            masks of segments, pasted into images and run-length encoded
    results, evaluation, metrics/
                     detections -> COCO results -> what pycocotools measures, by family
    visualize, plots, report
                     pictures, curves and the page that shows them
    config, training, four_step
                     a configuration -> a run folder; in the four steps of table 5, or their first two (table 3)
    checkpoints/, conversion
                     published files, by the tables of names that stand beside the parts
    paper/           the tables of the paper: which row is which configuration, what it needs, the pages
    extensions       parts from outside the package, by a user's own word: docs/extending.md
    export           the detector for TF Serving, TFLite and ONNX (the folder export/ beside this one)
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "FasterRCNN": "keras_fpn.faster_rcnn",
    "RPN": "keras_fpn.proposal_network",
    "FastRCNN": "keras_fpn.fast_rcnn",
    "SegmentProposals": "keras_fpn.segment_proposals",
    "Detector": "keras_fpn.detector",
    "ClassDetector": "keras_fpn.detector",
    "Stage": "keras_fpn.stages.stage",
    "ProposeStage": "keras_fpn.stages.propose",
    "ClassifyStage": "keras_fpn.stages.classify",
    "GivenProposalsStage": "keras_fpn.stages.given",
    "SegmentStage": "keras_fpn.stages.segment",
    "RoIAlign": "keras_fpn.roi_align",
    "OutputField": "keras_fpn.fields",
    "register_output_field": "keras_fpn.fields",
    "Settings": "keras_fpn.settings",
    "Choice": "keras_fpn.choice",
    "BackboneSettings": "keras_fpn.backbones.settings",
    "NeckSettings": "keras_fpn.pyramids.settings",
    "PyramidSettings": "keras_fpn.pyramids.settings",
    "HeadSettings": "keras_fpn.stages.classify_settings",
    "register_model": "keras_fpn.architectures",
    "register_backbone": "keras_fpn.backbones.settings",
    "register_neck": "keras_fpn.pyramids.settings",
    "register_box_head": "keras_fpn.stages.classify_settings",
    "load_model": "keras_fpn.model_files",
    "load_config": "keras_fpn.config",
    "COCOEvaluation": "keras_fpn.callbacks",
    "ObjectField": "keras_fpn.data.fields",
    "register_object_field": "keras_fpn.data.fields",
    "MetricFamily": "keras_fpn.metrics",
    "register_metric_family": "keras_fpn.metrics",
    "UserError": "keras_fpn.errors",
}
_MODULES = (
    "checkpoint_names", "data", "evaluation", "export", "extensions", "fields", "images", "inference", "masks",
    "metrics", "optimizers", "visualize",
)  # fmt: skip
__all__ = [*_PUBLIC, *_MODULES, "__version__"]


def __getattr__(name):
    # Lazy (PEP 562), so that `keras-fpn --help` answers without importing TensorFlow.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"keras_fpn.{name}")
    raise AttributeError(f"module 'keras_fpn' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_PUBLIC, *_MODULES])
