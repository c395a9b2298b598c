"""The kinds of results that a `COCOEvaluator` can measure, by name: a file and a line for each."""

from keras_fpn.evaluation.keypoint_kind import KeypointKind
from keras_fpn.evaluation.kind import Kind, SegmentKind

KINDS = {kind.name: kind for kind in (Kind(), SegmentKind(), KeypointKind())}
