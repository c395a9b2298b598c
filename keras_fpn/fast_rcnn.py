"""Fast R-CNN on given proposals (paper, sections 4.2 and 5.2.1; table 2).

    images -> features, proposals -> classify -> detections          `call`, `predict`
    images -> features, proposals -> sample -> classify -> losses    `train_step`, `test_step`

B images, P proposals, K classes.
"""

import keras
import tensorflow as tf

from keras_fpn.batches import check_classes, check_proposals, check_targets, with_sizes
from keras_fpn.classifying import Classifying


@keras.saving.register_keras_serializable("keras_fpn")
class FastRCNN(Classifying):
    """The second stage of Faster R-CNN alone: proposals come with the images.

    Inputs are those of `Detector`, and `{"proposals": [B, P, 4] pixels of the images, "num_proposals": [B] int32}`,
    the valid ones first; `load_coco(..., proposals=...)` puts them there. Outputs are detections, see `DetectionLayer`;
    targets: see `Detector`. `fit` reports `roi_class_loss`, `roi_box_loss` and `roi_recall`, of object RoIs the share
    given the right class.

    Args:
        num_classes, class_names, category_ids: see `Classifying`.
        backbone, profile, seed: see `Detector`.
        pixels, resize, pyramid, roi_targets, roi_pooling, box_head, losses, detections: dicts of differences from the
            profile, group by group.

    Raises:
        UserError: for an unknown profile, setting or backbone, or names and ids that do not number K.
    """

    title = "Fast R-CNN on given proposals"
    needs_proposals = True

    def __init__(self, num_classes, backbone="resnet50", *, name="fast_rcnn", **kwargs):
        super().__init__(num_classes, backbone, name=name, **kwargs)

    def inference(self, inputs):
        """`{"detections": see DetectionLayer}` of a batch."""
        inputs, proposals = self._with_proposals(inputs)
        return {"detections": self.detect(self.features(inputs), proposals, inputs)}

    def stages(self, inputs):
        """See `Detector`."""
        inputs, proposals = self._with_proposals(inputs)
        yield from super().stages(inputs)
        yield from self.classifying_stages(inputs, self.features(inputs), proposals)

    def training_losses(self, inputs, targets, seed, training=True):
        """See `Detector`."""
        inputs, proposals = self._with_proposals(inputs)
        check_targets(targets)
        check_classes(targets["classes"], self.num_classes)
        features = self.features(inputs, training=training)
        return self.roi_losses(
            features, proposals, targets, tf.random.experimental.stateless_fold_in(seed, 1), training
        )

    def coco_metrics(self, evaluator, detections, proposals=None, image_ids=None):
        """See `Classifying`; of given proposals there is nothing to measure."""
        return super().coco_metrics(evaluator, detections, None, image_ids)

    def input_specs(self):
        """See `Detector`; proposals in any number."""
        return super().input_specs() | {
            "proposals": tf.TensorSpec([None, None, 4], tf.float32, name="proposals"),
            "num_proposals": tf.TensorSpec([None], tf.int32, name="num_proposals"),
        }

    def _with_proposals(self, inputs):
        """Inputs with sizes, and the proposals `{"boxes", "num_proposals"}` among them."""
        check_proposals(inputs)
        boxes = tf.cast(inputs["proposals"], tf.float32)
        return with_sizes(inputs), {"boxes": boxes, "num_proposals": tf.cast(inputs["num_proposals"], tf.int32)}
