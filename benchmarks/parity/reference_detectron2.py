"""detectron2's zoo models, run whole while hooks record their stages."""

import functools
import pathlib

import calibration
import detectron2
import detectron2_heads
import numpy as np
import torch
from detectron2.config import get_cfg
from detectron2.data.detection_utils import (
    annotations_to_instances,
    read_image,
    transform_instance_annotations,
)
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.modeling import build_model
from detectron2.structures import BoxMode
from detectron2.utils.events import EventStorage

LEVELS = ("P2", "P3", "P4", "P5", "P6")
ZOO = pathlib.Path(detectron2.__file__).parent / "model_zoo" / "configs"
VERSION = f"detectron2 {detectron2.__version__}"
LOSSES = {
    "loss_rpn_cls": "rpn_objectness_loss",
    "loss_rpn_loc": "rpn_box_loss",
    "loss_cls": "roi_class_loss",
    "loss_box_reg": "roi_box_loss",
} | {head.loss: head.our_loss for head in detectron2_heads.HEADS}


class Detector:
    """One of detectron2's models with weights drawn by name.

    Args:
        name: see `catalogue.MODELS`.
        side: shorter side that pictures are resized to, or None for the model's own.
    """

    def __init__(self, name, side=None):
        # Not through detectron2.model_zoo, which wants a module that setuptools has dropped.
        config = get_cfg()
        (file,) = ZOO.glob(f"COCO-*/{name}.yaml")
        config.merge_from_file(str(file))
        config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", ""
        self.name, self.module = name, build_model(config).eval()
        self.heads = detectron2_heads.of(self.module)
        self.format = config.INPUT.FORMAT
        self.resize = ResizeShortestEdge(side or config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST)

    def read(self, path, truth=None, step=None):
        """An element of detectron2's batch, as its DefaultPredictor makes it; with ground truth for training."""
        original = read_image(str(path), format=self.format)
        transform = self.resize.get_transform(original)
        image = transform.apply_image(original)
        element = {
            "image": torch.from_numpy(np.ascontiguousarray(image.astype("float32").transpose(2, 0, 1))),
            "height": original.shape[0],
            "width": original.shape[1],
        }
        if truth is not None:
            element["instances"] = self._instances(truth, step, transform, original.shape[:2], image.shape[:2])
        return element

    def _instances(self, truth, step, transform, old, new):
        """Ground truth as detectron2's DatasetMapper makes it."""
        annotations = [
            {"bbox": np.array(box, np.float32), "bbox_mode": BoxMode.XYXY_ABS, "category_id": label}
            for box, label in zip(*truth, strict=True)
        ]
        for head in self.heads:
            for annotation, more in zip(annotations, head.annotate(truth[0], old, step), strict=True):
                annotation |= more
        moved = [transform_instance_annotations(annotation, [transform], new) for annotation in annotations]
        return annotations_to_instances(moved, new, "bitmask" if step == "bitmask" else "polygon")

    def draw(self, paths):
        return calibration.recipe(self.name, self.module, lambda: self.module([self.read(path) for path in paths]))

    def state_dict(self):
        return self.module.state_dict()

    def record(self, batch, paths, recording):
        """Detections and every stage of a batch."""
        seen = {}
        hooks = [module.register_forward_hook(functools.partial(_see, seen, key)) for key, module in self._parts()]
        hooks += [hook for head in self.heads for hook in head.watch(self.module.roi_heads, seen)]
        generator = self.module.proposal_generator
        predict = generator.predict_proposals

        def predict_and_see(*inputs):
            # Copied, since postprocessing scales boxes where they are.
            proposals = predict(*inputs)
            seen["proposals"] = [(found.proposal_boxes.tensor.clone(), found.objectness_logits) for found in proposals]
            return proposals

        generator.predict_proposals = predict_and_see
        elements = [self.read(path) for path in paths]
        with torch.inference_mode():
            found = self.module(elements)
        del generator.predict_proposals
        for hook in hooks:
            hook.remove()
        self._keep(recording, batch, seen, elements)
        for image, result in enumerate(found):
            recording.keep_detections(batch, image, *_found(result))
        for head in self.heads:
            head.keep(recording, batch, seen, found)

    def _parts(self):
        module = self.module
        yield "taps", module.backbone.bottom_up
        yield "pyramid", module.backbone
        yield "rpn", module.proposal_generator.rpn_head
        yield "anchors", module.proposal_generator.anchor_generator
        if hasattr(module, "roi_heads"):
            yield "pooled", module.roi_heads.box_pooler
            yield "predicted", module.roi_heads.box_predictor

    def _keep(self, recording, batch, seen, elements):
        # The one tensor that no hook sees: made once more by the same lines.
        images = _normalised(self.module, elements)
        recording.keep(f"{batch}/image_sizes", np.array(images.image_sizes))
        recording.keep_maps(f"{batch}/pixels", {"all": images.tensor})
        recording.keep_maps(f"{batch}/taps", {f"C{name[-1]}": tensor for name, tensor in seen["taps"].items()})
        recording.keep_maps(f"{batch}/pyramid", {name.upper(): tensor for name, tensor in seen["pyramid"].items()})
        logits, deltas = seen["rpn"]
        recording.keep_rpn(batch, LEVELS, logits, deltas, [anchors.tensor for anchors in seen["anchors"]])
        recording.keep_proposals(batch, *zip(*seen["proposals"], strict=True))
        if "predicted" in seen:
            logits, deltas = seen["predicted"]
            recording.keep_heads(batch, seen["pooled"], logits, deltas.reshape(len(deltas), -1, 4))

    def train(self, paths, truth, gradients, recording):
        """Losses and gradients of one step, and which anchors and RoIs were sampled.

        A step more for each further rule by which a head may learn, without gradients.
        """
        self.module.train()
        self._step("training", paths, truth, gradients, recording)
        for rule in (rule for head in self.heads for rule in head.rules):
            self._step(rule, paths, truth, [], recording)
        self.module.eval()

    def _step(self, step, paths, truth, gradients, recording):
        module = self.module
        torch.manual_seed(0)
        samples, proposals = {"anchors": [], "rois": []}, []
        undo = self._watch_samples(samples, proposals)
        elements = [self.read(path, one, step) for path, one in zip(paths, truth, strict=True)]
        with EventStorage():
            losses = module(elements)
        undo()
        for name, value in losses.items():
            recording.keep(f"{step}/losses/{LOSSES[name]}", value.detach().numpy())
        recording.keep_samples(step, samples, proposals)
        if gradients:
            module.zero_grad()
            sum(losses.values()).backward()
            recording.keep_gradients(step, dict(module.named_parameters()), gradients)

    def _watch_samples(self, samples, proposals):
        """Have the network fill both; returns what ends it."""
        generator, heads = self.module.proposal_generator, getattr(self.module, "roi_heads", None)
        generator._subsample_labels = functools.partial(_anchors, generator._subsample_labels, samples["anchors"])
        hook = generator.register_forward_hook(
            lambda _, inputs, outputs: proposals.extend(found.proposal_boxes.tensor.clone() for found in outputs[0])
        )
        if heads is not None:
            sample = functools.partial(_rois, heads._sample_proposals, samples["rois"], heads.num_classes)
            heads._sample_proposals = sample

        def undo():
            hook.remove()
            del generator._subsample_labels
            if heads is not None:
                del heads._sample_proposals

        return undo


def _found(result):
    """Boxes, probabilities and classes; of a network that only proposes, one class."""
    if "instances" in result:
        instances = result["instances"]
        return instances.pred_boxes.tensor, instances.scores, instances.pred_classes
    instances = result["proposals"]
    scores = instances.objectness_logits.sigmoid()
    return instances.proposal_boxes.tensor, scores, torch.zeros(len(scores), dtype=torch.int64)


def _see(seen, key, _, inputs, output):
    seen.setdefault(key, output)


def _normalised(module, elements):
    if hasattr(module, "preprocess_image"):
        return module.preprocess_image(elements)
    from detectron2.structures import ImageList

    images = [(element["image"] - module.pixel_mean) / module.pixel_std for element in elements]
    return ImageList.from_tensors(images, module.backbone.size_divisibility)


def _anchors(subsample, samples, labels):
    labels = subsample(labels)
    samples.append([(labels == value).nonzero()[:, 0].numpy() for value in (1, 0)])
    return labels


def _rois(sample, samples, num_classes, *inputs):
    indices, classes = sample(*inputs)
    samples.append([indices[classes != num_classes].numpy(), indices[classes == num_classes].numpy()])
    return indices, classes
