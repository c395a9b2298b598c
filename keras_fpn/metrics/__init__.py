"""Families of metrics of detections and proposals: a file for each family of metrics. Without TensorFlow.

    family          what a family says of itself: its names, how they are computed, how they are shown
    registered      the families there are; whose a name of a metric is
    detections      AP and AR of what has classes
    instance_masks  the same by the masks of detections
    recalls, proposals, segments
                    average recall of what is proposed without classes: boxes, masks
    keypoints       AP and AR of the places of keypoints
    more_detections
                    AP and AR of more than COCO's 100 detections of an image
    measurement     the families of a model, measured batch by batch
    table           metrics as lines of text

`evaluation.coco.COCOEvaluator` has the annotations and pycocotools; a family asks it.
"""

import importlib
import pkgutil

from keras_fpn.metrics.detections import DETECTIONS, DetectionFamily
from keras_fpn.metrics.family import MetricFamily
from keras_fpn.metrics.instance_masks import INSTANCE_MASKS
from keras_fpn.metrics.measurement import Measurement, all_families, prepare
from keras_fpn.metrics.more_detections import COCO_LIMIT, MoreDetectionsFamily
from keras_fpn.metrics.proposals import PROPOSALS
from keras_fpn.metrics.recalls import AREAS, PROPOSAL_LIMITS, RecallFamily
from keras_fpn.metrics.registered import METRIC_FAMILIES, families_in, family_of, register_metric_family, without_family
from keras_fpn.metrics.segments import SEGMENTS

__all__ = [
    "AREAS",
    "COCO_LIMIT",
    "DETECTIONS",
    "INSTANCE_MASKS",
    "METRIC_FAMILIES",
    "PROPOSALS",
    "PROPOSAL_LIMITS",
    "SEGMENTS",
    "DetectionFamily",
    "Measurement",
    "MetricFamily",
    "MoreDetectionsFamily",
    "RecallFamily",
    "all_families",
    "families_in",
    "family_of",
    "prepare",
    "register_metric_family",
    "without_family",
]

# A family is a file: each registers its own, and metrics.json is readable without the model that was measured.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
