"""torchvision's detectors and backbones, run whole while hooks record their stages."""

import functools
import sys

import calibration
import numpy as np
import torch
import torchvision
import torchvision_heads
from PIL import Image
from torchvision.models import detection, feature_extraction
from torchvision.models.detection._utils import overwrite_eps
from torchvision.ops.misc import FrozenBatchNorm2d

LEVELS = {5: ("P2", "P3", "P4", "P5", "P6"), 3: ("P5", "P6", "P7")}
TAPS = {4: ("C2", "C3", "C4", "C5"), 2: ("C5", "C6")}
LOSSES = {
    "loss_objectness": "rpn_objectness_loss",
    "loss_rpn_box_reg": "rpn_box_loss",
    "loss_classifier": "roi_class_loss",
    "loss_box_reg": "roi_box_loss",
} | {head.loss: head.our_loss for head in torchvision_heads.HEADS}
VERSION = f"torchvision {torchvision.__version__}"


def _detector(name):
    """The detector as its published weights make it: frozen batch norm, mostly of epsilon 0, or live (v2)."""
    build = getattr(detection, name.removesuffix("_legacy"))
    if name.endswith("_v2"):
        return build(weights=None, weights_backbone=None)
    module = _with_frozen_norm(build)
    if name in ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"):
        overwrite_eps(module, 0.0)
    return module


def _with_frozen_norm(build):
    """Built without a download, yet with the frozen batch norm that torchvision takes for pretrained weights."""
    family = sys.modules[build.__module__]
    body = "resnet50" if "resnet50" in build.__name__ else "mobilenet_v3_large"
    plain, validate = getattr(family, body), family._validate_trainable_layers
    try:
        setattr(family, body, lambda **options: plain(**options | {"norm_layer": FrozenBatchNorm2d}))
        family._validate_trainable_layers = lambda _, layers, most, default: default
        return build(weights=None, weights_backbone=None)
    finally:
        setattr(family, body, plain)
        family._validate_trainable_layers = validate


def read(path):
    """`[3, H, W]` RGB in 0..1."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


class Detector:
    """One of torchvision's Faster R-CNN models with weights drawn by name.

    Args:
        name: see `catalogue.MODELS`.
        side: shorter side that pictures are resized to, or None for the model's own.
    """

    def __init__(self, name, side=None):
        self.name, self.module = name, _detector(name).eval()
        self.heads = torchvision_heads.of(self.module.roi_heads)
        if side is not None:
            self.module.transform.min_size = (side,)

    def draw(self, paths):
        return calibration.recipe(self.name, self.module, lambda: self.module([read(path) for path in paths]))

    def state_dict(self):
        return self.module.state_dict()

    def record(self, batch, paths, recording):
        """Detections and every stage of a batch."""
        seen = {}
        hooks = [module.register_forward_hook(functools.partial(_see, seen, key)) for key, module in self._parts()]
        hooks += [hook for head in self.heads for hook in head.watch(self.module.roi_heads, seen)]
        filter_proposals = self.module.rpn.filter_proposals
        self.module.rpn.filter_proposals = lambda *inputs: seen.setdefault("proposals", filter_proposals(*inputs))
        with torch.inference_mode():
            found = self.module([read(path) for path in paths])
        del self.module.rpn.filter_proposals
        for hook in hooks:
            hook.remove()
        _keep(recording, batch, seen)
        for head in self.heads:
            head.keep(recording, batch, seen, found)
        for image, detections in enumerate(found):
            recording.keep_detections(batch, image, *(detections[key] for key in ("boxes", "scores", "labels")))

    def _parts(self):
        module = self.module
        yield "images", module.transform
        yield "taps", module.backbone.body
        yield "pyramid", module.backbone
        yield "rpn", module.rpn.head
        yield "anchors", module.rpn.anchor_generator
        yield "pooled", module.roi_heads.box_roi_pool
        yield "predicted", module.roi_heads.box_predictor

    def train(self, paths, truth, gradients, recording):
        """Losses and gradients of one step, and which anchors and RoIs were sampled.

        Live batch norm magnifies rounding in a deep random network: its own float32 and float64 gradients differ by
        a hundredth. So there are three steps: "training" in float32, of which the losses alone are kept; "running",
        whose gradients are by the statistics of the file; and "live" in float64, by those of the batch.
        """
        module = self.module.train()
        live = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        self._step("training", paths, truth, [] if live else gradients, recording)
        if live:
            for part in live:
                part.eval()
            self._step("running", paths, truth, gradients, recording)
            module.double().train()
            self._live_step(paths, truth, gradients, recording)
            module.float()
        module.eval()

    def _live_step(self, paths, truth, gradients, recording):
        """The losses of the heads of RoIs end at the pooled features, since this package pools in float32 alone."""
        hooks = [
            self.module.transform.register_forward_hook(
                lambda _, inputs, outputs: recording.keep("live/pixels", _rounded(outputs[0]).permute(0, 2, 3, 1))
            ),
            *(
                pool.register_forward_pre_hook(
                    lambda _, inputs: ({name: level.detach() for name, level in inputs[0].items()}, *inputs[1:])
                )
                for pool in (self.module.roi_heads.box_roi_pool, *self._pools())
            ),
        ]
        self._step("live", paths, truth, gradients, recording)
        for hook in hooks:
            hook.remove()

    def _pools(self):
        return [getattr(self.module.roi_heads, head.pool) for head in self.heads]

    def _step(self, step, paths, truth, gradients, recording):
        module = self.module
        torch.manual_seed(0)
        samples, proposals = [], []
        samplers = [part.fg_bg_sampler for part in (module.rpn, module.roi_heads)]
        for part, sampler in zip((module.rpn, module.roi_heads), samplers, strict=True):
            part.fg_bg_sampler = functools.partial(_sample, sampler, samples)
        hook = module.rpn.register_forward_hook(lambda _, inputs, outputs: proposals.extend(outputs[0]))
        # Live statistics are learnt in the step, and the next one is to have the file's.
        state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        precision = next(module.parameters()).dtype
        pictures = [read(path).to(precision) for path in paths]
        losses = module(pictures, [self._target(*each) for each in zip(pictures, truth, strict=True)])
        hook.remove()
        for part, sampler in zip((module.rpn, module.roi_heads), samplers, strict=True):
            part.fg_bg_sampler = sampler
        for name, value in losses.items():
            recording.keep(f"{step}/losses/{LOSSES[name]}", value.detach().numpy())
        recording.keep_samples(step, dict(zip(("anchors", "rois"), samples, strict=True)), proposals)
        if gradients:
            module.zero_grad()
            sum(losses.values()).backward()
            recording.keep_gradients(step, dict(module.named_parameters()), gradients)
        module.load_state_dict(state)


    def _target(self, picture, truth):
        boxes, classes = truth
        ids = torchvision_heads.rows(self.module.roi_heads.box_predictor)
        target = {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor(ids)[list(classes)]}
        return target | {head.name: head.truth(boxes, *picture.shape[1:]) for head in self.heads}


def _rounded(images):
    """The pixels of a batch, from here on as they are kept: in float32."""
    kept = images.tensors.float()
    images.tensors = kept.double()
    return kept


def _see(seen, key, _, inputs, output):
    seen.setdefault(key, output)


def _keep(recording, batch, seen):
    images = seen["images"][0]
    recording.keep(f"{batch}/image_sizes", np.array(images.image_sizes))
    recording.keep_maps(f"{batch}/pixels", {"all": images.tensors})
    taps, pyramid = list(seen["taps"].values()), list(seen["pyramid"].values())
    levels = LEVELS[len(pyramid)]
    recording.keep_maps(f"{batch}/taps", dict(zip(TAPS[len(taps)], taps, strict=True)))
    recording.keep_maps(f"{batch}/pyramid", dict(zip(levels, pyramid, strict=True)))
    logits, deltas = seen["rpn"]
    anchors = seen["anchors"][0].split([level[0].numel() for level in logits])
    recording.keep_rpn(batch, levels, logits, deltas, anchors)
    boxes, probabilities = seen["proposals"]
    recording.keep_proposals(batch, boxes, [scores.double().logit() for scores in probabilities])
    class_logits, box_deltas = seen["predicted"]
    rows = torchvision_heads.ROWS[class_logits.shape[1]]
    classes = rows[: rows.index(0)]
    class_logits, box_deltas = class_logits[:, rows], box_deltas.reshape(len(box_deltas), -1, 4)[:, classes]
    recording.keep_heads(batch, seen["pooled"], class_logits, box_deltas)
    unused = class_logits.softmax(-1)[:, len(classes) + 1 :]
    if unused.shape[1]:
        recording.keep(f"{batch}/unused_probability", np.array([unused.sum(-1).mean(), unused.max()]))


def _sample(sampler, samples, labels):
    positive, negative = sampler(labels)
    chosen = zip(positive, negative, strict=True)
    samples.append([tuple(mask.nonzero()[:, 0].numpy() for mask in masks) for masks in chosen])
    return positive, negative


class Backbone:
    """One of torchvision's ImageNet classifiers; only the maps that a pyramid reads are recorded."""

    RESNET = {"layer1": "C2", "layer2": "C3", "layer3": "C4", "layer4": "C5"}
    MOBILENET = {"features.2": "C2", "features.4": "C3", "features.7": "C4", "features.13": "C5", "features.16": "C6"}

    def __init__(self, name, side=None):
        self.name, self.module = name, torchvision.models.get_model(name, weights=None).eval()
        taps = self.RESNET if name.startswith("resnet") else self.MOBILENET
        self.taps = feature_extraction.create_feature_extractor(self.module, taps).eval()
        self.transform = detection.transform.GeneralizedRCNNTransform(
            side or 224, 1333, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        ).eval()

    def draw(self, paths):
        images, _ = self.transform([read(path) for path in paths])
        return calibration.recipe(self.name, self.module, lambda: self.module(images.tensors))

    def state_dict(self):
        return self.module.state_dict()

    def record(self, batch, paths, recording):
        with torch.inference_mode():
            images, _ = self.transform([read(path) for path in paths])
            recording.keep(f"{batch}/image_sizes", np.array(images.image_sizes))
            recording.keep_maps(f"{batch}/pixels", {"all": images.tensors})
            recording.keep_maps(f"{batch}/taps", self.taps(images.tensors))
