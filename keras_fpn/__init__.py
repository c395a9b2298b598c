"""Feature Pyramid Networks for object detection in Keras 3 on TensorFlow (Lin et al., CVPR 2017).

The package in the order in which data flows through it:

    data/            image files and COCO annotations -> batches
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
    detector         what the models below are; each of them is a `keras.Model`
    proposing, classifying
                     the first and the second stage of a detector: what the models below share
    proposal_network, fast_rcnn, faster_rcnn, segment_proposals
                     the models: the RPN alone (table 1 of the paper); Fast R-CNN on given proposals (table 2); the
                     whole (tables 3, 5); segment proposals (table 6)
    propose, proposal_files
                     what a model proposes in a data set, on disk: what Fast R-CNN is trained and measured on
    images, inference
                     image files -> detections in their own pixels; `images` without TensorFlow
    masks            masks of segments, pasted into images and run-length encoded
    evaluation, visualize, plots, report
                     COCO metrics, pictures, curves and the page that shows them
    config, training, four_step
                     a configuration -> a run folder; in the four steps of table 5, or their first two (table 3)
    paper/           the tables of the paper: which row is which configuration, what it needs, the pages
    export           the detector for TF Serving, TFLite and ONNX (the folder export/ beside this one)
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "FasterRCNN": "keras_fpn.faster_rcnn",
    "RPN": "keras_fpn.proposal_network",
    "FastRCNN": "keras_fpn.fast_rcnn",
    "SegmentProposals": "keras_fpn.segment_proposals",
    "load_model": "keras_fpn.detector",
    "load_config": "keras_fpn.config",
    "COCOEvaluation": "keras_fpn.callbacks",
    "UserError": "keras_fpn.errors",
}
_MODULES = ("data", "evaluation", "export", "images", "inference", "masks", "optimizers", "visualize")
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
