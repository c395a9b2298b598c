"""Average precision and recall of the masks of detections."""

from keras_fpn.metrics.detections import DetectionFamily
from keras_fpn.metrics.registered import register_metric_family


class InstanceMaskFamily(DetectionFamily):
    """COCO's figures by the IoU of masks (pycocotools' "segm"): `mask/AP` and so on; results need "segmentation".

    Sizes are the pixels of masks, of objects and of what is found, though the results have boxes, too: pycocotools by
    itself would take the area of a result's "bbox", and detectron2 takes the boxes away before it measures.
    """

    name = "mask"
    kind = "segm"
    prefix = "mask/"
    one, many = "mask", "masks"
    heading = "Masks"
    class_heading = "Masks of the classes"
    note = (
        "By the IoU of masks (iouType = segm). Small: masks below 32×32 px of the original image; medium: up to 96×96;"
        " large: above. A dash: no such object in the annotations."
    )

    def __init__(self):
        super().__init__()
        self.beside = self.epoch_line = self.metrics[:1]


INSTANCE_MASKS = register_metric_family(InstanceMaskFamily())
