"""Average precision and recall of keypoints: the ten figures of COCO, and AP of each class."""

from keras_fpn.metrics.detections import DetectionFamily
from keras_fpn.metrics.registered import register_metric_family

_ALL_OKS = "0.50:0.95"


class KeypointFamily(DetectionFamily):
    """By object keypoint similarity (pycocotools' "keypoints"); results have "keypoints"."""

    name, kind, prefix, heading = "keypoints", "keypoints", "keypoints/", "Keypoints"
    figures = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")  # in the order of pycocotools
    headline = figures[:5]
    watched = ("AP", "AP50", "APm")
    report_head = ("", "OKS", "all", "medium", "large")
    rows = (
        (("average precision (AP)", _ALL_OKS), ("AP", "APm", "APl")),
        (("AP50", "0.50"), ("AP50", None, None)),
        (("AP75", "0.75"), ("AP75", None, None)),
        (("average recall, 20 objects an image (AR)", _ALL_OKS), ("AR", "ARm", "ARl")),
        (("AR50", "0.50"), ("AR50", None, None)),
        (("AR75", "0.75"), ("AR75", None, None)),
    )
    class_heading = "Keypoints of each class"
    note = (
        "COCO metrics of keypoints by pycocotools: object keypoint similarity (OKS) in the place of IoU. Medium: 32×32"
        " to 96×96 px of the annotated area; large: above. Objects without a labelled keypoint are ignored. A dash: no"
        " such object in the annotations."
    )

    def __init__(self):
        super().__init__()
        self.beside = self.epoch_line = self.metrics[:1]


KEYPOINTS = register_metric_family(KeypointFamily())
