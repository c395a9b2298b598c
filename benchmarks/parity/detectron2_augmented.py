"""The image pyramid at test time by detectron2's GeneralizedRCNNWithTTA, of one picture."""

import catalogue
import torch
from detectron2.data.detection_utils import read_image
from detectron2.modeling import GeneralizedRCNNWithTTA


def record(config, module, path, recording):
    """Keep the merged boxes, and of a model with masks what the passes give each on average."""
    config = config.clone()
    config.defrost()
    config.TEST.AUG.MIN_SIZES, config.TEST.AUG.MAX_SIZE = catalogue.AUGMENTED_SIDES, catalogue.AUGMENTED_MOST
    augmented = GeneralizedRCNNWithTTA(config, module, batch_size=1)
    if config.MODEL.MASK_ON:
        mean = augmented._reduce_pred_masks

        def seen(outputs, transforms):
            found = mean(outputs, transforms)
            recording.keep("augmented/masks", found[:, 0].numpy())
            return found

        augmented._reduce_pred_masks = seen
    original = read_image(str(path), format=config.INPUT.FORMAT)
    height, width = original.shape[:2]
    element = {"image": torch.from_numpy(original.transpose(2, 0, 1).copy()), "height": height, "width": width}
    with torch.inference_mode():
        (found,) = augmented([element])
    instances = found["instances"]
    recording.keep("augmented/boxes", instances.pred_boxes.tensor.numpy())
    recording.keep("augmented/scores", instances.scores.numpy())
    recording.keep("augmented/labels", instances.pred_classes.numpy())
