"""detectron2's zoo models, run whole while hooks record their stages."""

import contextlib
import pathlib

import calibration
import catalogue
import detectron2
import detectron2_augmented
import detectron2_cascade
import detectron2_dense
import detectron2_regions
import hooks
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
from torchvision.ops import boxes

# What follows the pyramid; another kind of it is another module with a class here.
KINDS = (detectron2_cascade.Cascade, detectron2_regions.Regions, detectron2_dense.Dense)
# Where an installed package has them, and where its source does.
ZOO = (
    pathlib.Path(detectron2.__file__).parent / "model_zoo" / "configs",
    pathlib.Path(detectron2.__file__).parents[1] / "configs",
)
FOLDERS = ("COCO-*", "Misc")
VERSION = f"detectron2 {detectron2.__version__}"


def _config(name):
    """The file of a model of the zoo."""
    found = [file for zoo in ZOO for folder in FOLDERS for file in zoo.glob(f"{folder}/{name}.yaml")]
    if not found:
        raise SystemExit(f"error: detectron2 {detectron2.__version__} has no {name}.yaml under {ZOO[0]} or {ZOO[1]}")
    return str(found[0])


class Detector:
    """One of detectron2's models with weights drawn by name.

    Args:
        name: see `catalogue.MODELS`.
        side: shorter side that pictures are resized to, or None for the model's own.
    """

    def __init__(self, name, side=None):
        # Not through detectron2.model_zoo, which wants a module that setuptools has dropped.
        config = get_cfg()
        config.merge_from_file(_config(name))
        config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", ""
        config.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = catalogue.model_named(name).rois
        self.name, self.config, self.module = name, config, build_model(config).eval()
        self.kind = next(kind(self.module) for kind in KINDS if kind.is_in(self.module))
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
        for head in self.kind.heads:
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
        seen, backbone = {}, self.module.backbone
        elements = [self.read(path) for path in paths]
        parts = (("taps", getattr(backbone, "bottom_up", backbone)), ("pyramid", backbone))
        with hooks.watched(seen, parts), self.kind.watched(seen), torch.inference_mode():
            found = self.module(elements)
        # The one tensor that no hook sees: made once more by the same lines.
        images = _normalised(self.module, elements)
        recording.keep(f"{batch}/image_sizes", np.array(images.image_sizes))
        recording.keep_maps(f"{batch}/pixels", {"all": images.tensor})
        for part in ("taps", "pyramid"):
            maps = {detectron2_regions.level(name): tensor for name, tensor in seen[part].items()}
            recording.keep_maps(f"{batch}/{part}", maps)
        self.kind.keep(recording, batch, seen, found)
        for image, result in enumerate(found):
            recording.keep_detections(batch, image, *self.kind.found(result))

    def record_augmented(self, path, recording):
        """The image pyramid at test time of a picture."""
        detectron2_augmented.record(self.config, self.module, path, recording)

    def train(self, paths, truth, gradients, recording):
        """Losses and gradients of one step, and what was sampled in it.

        A step more for each further rule by which a head may learn, without gradients. Those are of a step of their own
        in float64, "double": in float32 rounding decides which ReLUs of a deep random network open, and moves them by
        thousandths.
        """
        self.module.train()
        self._step("training", paths, truth, [], recording)
        for rule in (rule for head in self.kind.heads for rule in head.rules):
            self._step(rule, paths, truth, [], recording)
        self.module.double()
        self._double_step("double", paths, truth, gradients, recording)
        self.module.float()
        self.module.eval()

    def _double_step(self, step, paths, truth, gradients, recording):
        def kept(_, inputs):
            # From here on as they are kept: in float32.
            (pixels,) = inputs
            recording.keep(f"{step}/pixels", pixels.float().permute(0, 2, 3, 1))
            return (pixels.float().double(),)

        handle = self.module.backbone.register_forward_pre_hook(kept)
        batched_nms = boxes.batched_nms
        # Its boxes stay in float32, and torchvision wants the scores alike.
        boxes.batched_nms = lambda given, scores, *others: batched_nms(given, scores.float(), *others)
        self._step(step, paths, truth, gradients, recording)
        boxes.batched_nms = batched_nms
        handle.remove()

    def _step(self, step, paths, truth, gradients, recording):
        module = self.module
        torch.manual_seed(0)
        elements = [self.read(path, one, step) for path, one in zip(paths, truth, strict=True)]
        with contextlib.ExitStack() as watched:
            watched.enter_context(self.kind.sampled(step, recording))
            for head in self.kind.heads:
                watched.enter_context(head.learning(step, recording))
            with EventStorage():
                losses = module(elements)
        for name, value in losses.items():
            recording.keep(f"{step}/losses/{self.kind.losses[name]}", value.detach().numpy())
        if gradients:
            module.zero_grad()
            sum(losses.values()).backward()
            recording.keep_gradients(step, dict(module.named_parameters()), gradients)


def _normalised(module, elements):
    if hasattr(module, "preprocess_image"):
        return module.preprocess_image(elements)
    from detectron2.structures import ImageList

    images = [(element["image"] - module.pixel_mean) / module.pixel_std for element in elements]
    return ImageList.from_tensors(images, module.backbone.size_divisibility)
