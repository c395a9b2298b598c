"""torchvision's detectors and backbones, run whole while hooks record their stages."""

import sys

import calibration
import hooks
import numpy as np
import torch
import torchvision
import torchvision_dense
import torchvision_regions
from PIL import Image
from torchvision.models import detection, feature_extraction
from torchvision.models.detection._utils import overwrite_eps
from torchvision.ops.misc import FrozenBatchNorm2d

# What follows the pyramid; another kind of it is another module with a class here.
KINDS = (torchvision_regions.Regions, torchvision_dense.Dense)
# Whose published weights run so.
ZERO_EPSILON = (
    "fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn", "retinanet_resnet50_fpn"
)  # fmt: skip
VERSION = f"torchvision {torchvision.__version__}"


def _detector(name):
    """The detector as its published weights make it: frozen batch norm, mostly of epsilon 0, or live (v2)."""
    build = getattr(detection, name.removesuffix("_legacy"))
    if name.endswith("_v2"):
        return build(weights=None, weights_backbone=None)
    module = _with_frozen_norm(build)
    if name in ZERO_EPSILON:
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
    """One of torchvision's detectors with weights drawn by name.

    Args:
        name: see `catalogue.MODELS`.
        side: shorter side that pictures are resized to, or None for the model's own.
    """

    def __init__(self, name, side=None):
        self.name, self.module = name, _detector(name).eval()
        self.kind = next(kind(self.module) for kind in KINDS if kind.is_in(self.module))
        if side is not None:
            self.module.transform.min_size = (side,)

    def draw(self, paths):
        return calibration.recipe(self.name, self.module, lambda: self.module([read(path) for path in paths]))

    def state_dict(self):
        return self.module.state_dict()

    def record(self, batch, paths, recording):
        """Detections and every stage of a batch."""
        seen, module = {}, self.module
        parts = (("images", module.transform), ("taps", module.backbone.body), ("pyramid", module.backbone))
        with hooks.watched(seen, parts), self.kind.watched(seen), torch.inference_mode():
            found = module([read(path) for path in paths])
        images = seen["images"][0]
        recording.keep(f"{batch}/image_sizes", np.array(images.image_sizes))
        recording.keep_maps(f"{batch}/pixels", {"all": images.tensors})
        taps, pyramid = list(seen["taps"].values()), list(seen["pyramid"].values())
        levels = self.kind.levels[len(pyramid)]
        recording.keep_maps(f"{batch}/taps", dict(zip(self.kind.taps[len(taps)], taps, strict=True)))
        recording.keep_maps(f"{batch}/pyramid", dict(zip(levels, pyramid, strict=True)))
        self.kind.keep(recording, batch, levels, seen, found)
        for image, detections in enumerate(found):
            recording.keep_detections(batch, image, *(detections[key] for key in ("boxes", "scores", "labels")))

    def train(self, paths, truth, gradients, recording):
        """Losses and gradients of one step, and what was sampled in it.

        Rounding decides which ReLUs of a deep random network open, and in float32 moves gradients by thousandths: they
        are of a step of their own in float64, "double". Live batch norm magnifies it more, and has two: "running", by
        the statistics of the file, and "live", by those of the batch.
        """
        module = self.module.train()
        live = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        self._step("training", paths, truth, [], recording)
        module.double()
        if live and self.kind.pools():
            for part in live:
                part.eval()
            self._double_step("running", paths, truth, gradients, recording)
            module.train()
            self._live_step("live", paths, truth, gradients, recording)
        else:
            self._double_step("double", paths, truth, gradients, recording)
        module.float()
        module.eval()

    def _double_step(self, step, paths, truth, gradients, recording):
        handle = self.module.transform.register_forward_hook(
            lambda _, inputs, outputs: recording.keep(f"{step}/pixels", _rounded(outputs[0]).permute(0, 2, 3, 1))
        )
        self._step(step, paths, truth, gradients, recording)
        handle.remove()

    def _live_step(self, step, paths, truth, gradients, recording):
        """A `_double_step` in which the losses of the heads of RoIs end at the pooled features.

        This package pools in float32 alone, and statistics of a batch magnify what that rounds.
        """
        handles = [
            pool.register_forward_pre_hook(
                lambda _, inputs: ({name: level.detach() for name, level in inputs[0].items()}, *inputs[1:])
            )
            for pool in self.kind.pools()
        ]
        self._double_step(step, paths, truth, gradients, recording)
        for handle in handles:
            handle.remove()

    def _step(self, step, paths, truth, gradients, recording):
        module = self.module
        torch.manual_seed(0)
        # Live statistics are learnt in the step, and the next one is to have the file's.
        state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        precision = next(module.parameters()).dtype
        pictures = [read(path).to(precision) for path in paths]
        with self.kind.sampled(step, recording):
            losses = module(pictures, [self._target(*each) for each in zip(pictures, truth, strict=True)])
        for name, value in losses.items():
            recording.keep(f"{step}/losses/{self.kind.losses[name]}", value.detach().numpy())
        if gradients:
            module.zero_grad()
            sum(losses.values()).backward()
            recording.keep_gradients(step, dict(module.named_parameters()), gradients)
        module.load_state_dict(state)

    def _target(self, picture, truth):
        boxes, classes = truth
        labels = torch.tensor(self.kind.rows)[list(classes)]
        target = {"boxes": torch.tensor(boxes, dtype=torch.float32), "labels": labels}
        return target | self.kind.truth(boxes, *picture.shape[1:])


def _rounded(images):
    """The pixels of a batch, from here on as they are kept: in float32."""
    kept = images.tensors.float()
    images.tensors = kept.double()
    return kept


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
