"""The image pyramid at test time: a picture in several sizes and mirrored, the answers merged.

    picture --resize, mirror--> passes --detector--> boxes back in the picture --suppression per class--> the best
    these boxes in each pass --heads of detections--> what they add to each, its mean

The merging is that of detectron2's `GeneralizedRCNNWithTTA`: scores are kept as they are, and a box that several passes
found ends once. Detectors without proposals go the same way. Each picture is a batch by itself, with its mirror image.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import MAX_PIXELS
from keras_fpn.data import sizes, transforms
from keras_fpn.data.coco import CocoDataset
from keras_fpn.data.decode import decode_image
from keras_fpn.data.picture_contents import content_of
from keras_fpn.inference.images import ImageDetections, in_original_pixels
from keras_fpn.inference.reading import Unreadable, check_options, read_batches
from keras_fpn.inference.results import detections_to_results
from keras_fpn.ops import nms
from keras_fpn.parts.output_fields import further

if TYPE_CHECKING:
    from keras_fpn.models.detector import Detector

LEAST_SCORE = 1e-8
# Shorter sides as shares of the model's own: 400 to 1200 of 800, and the longest side in proportion.
SHARES = tuple(eighths / 8 for eighths in range(4, 13))
LONGEST = 3


class AugmentedDetector:
    """A detector that sees each picture several times.

    Args:
        model: a detector of classes that finds its boxes itself.
        min_sides: shorter sides in pixels; nine from half to one and a half times the model's own without.
        max_side: the longest side; three times the model's own without.
        flip: whether each size is seen mirrored, too.

    Raises:
        UserError: the model cannot, which is said.
    """

    def __init__(
        self,
        model: "Detector",
        min_sides: Sequence[int] | None = None,
        max_side: int | None = None,
        flip: bool = True,
    ):
        _check(model)
        rule = model.settings["resize"]
        self.model, self.flip = model, flip
        self.min_sides = tuple(min_sides or (round(share * rule["min_side"]) for share in SHARES))
        self.max_side = max_side or LONGEST * rule["max_side"]
        self._finders = [stage for stage in model.stages if not _completes(stage)]
        self._completers = [stage for stage in model.stages if _completes(stage)]
        specs, rows = model.input_specs(), [None, model.max_detections]
        told = [tf.TensorSpec([*rows, 4]), tf.TensorSpec(rows, tf.int32), tf.TensorSpec([], tf.int32)]
        self._find = tf.function(self._found, input_signature=[specs])
        self._complete = tf.function(self._completed, input_signature=[specs, *told])

    @property
    def passes(self) -> int:
        """How often a picture is seen."""
        return len(self.min_sides) * (1 + self.flip)

    def iterate(
        self,
        images: Iterable,
        threshold: float = 0.5,
        batch_size: int = 1,
        max_pixels: int = MAX_PIXELS,
        unreadable: Unreadable | None = None,
    ) -> Iterator[ImageDetections]:
        """`detecting.iterate` of the same arguments; `batch_size` images are read at a time, and seen one by one."""
        check_options(threshold, batch_size, max_pixels)
        for some in read_batches(images, 1, lambda *_: None, max_pixels, unreadable):
            for one in some:
                size = one.pixels.shape[:2]
                seen = in_original_pixels(
                    self.detect(one.pixels), one.pixels, one.file_name, size, threshold, self.model
                )
                yield dataclasses.replace(seen, index=one.index)

    def results(self, data_set: CocoDataset) -> Iterator[tuple[list[int], list[dict], list[dict]]]:
        """COCO results of a data set, as `results.predict_batches` yields them; of proposals there are none."""
        for record in data_set.records:
            size = np.array([[record.height, record.width]], np.int32)
            picture = decode_image(record.name, size[0], functools.partial(tf.constant, content_of(record)))
            found = {name: value[None] for name, value in self.detect(picture.numpy()).items()}
            fields = self.model.output_fields
            yield [record.image_id], detections_to_results(found, [record.image_id], size, size, self.model, fields), []

    def detect(self, picture: np.ndarray) -> dict[str, np.ndarray]:
        """Detections of a picture `[H, W, 3]` uint8, in its own pixels.

        Returns:
            `{field: [D, *shape]}` and `"num_detections"`, best first.
        """
        views = [self._view(picture, min_side) for min_side in self.min_sides]
        found = [answer for view in views for answer in self._boxes(view, picture.shape[:2])]
        merged = found[0] if len(found) == 1 else self._merged(found, picture.shape[:2])
        for field in further(self.model.output_fields) if self._completers else ():
            merged[field.name] = self._mean(field, views, merged, picture.shape[:2])
        return merged

    def _view(self, picture, min_side):
        """`{"images": [1 or 2, h, w, 3], "image_sizes"}` of a size; the second is mirrored."""
        rule = self.model.settings["resize"] | {"min_side": min_side, "max_side": self.max_side}
        height, width = sizes.resized_size(*picture.shape[:2], rule)
        seen = transforms.resize_image(picture, height, width, rule["interpolation"]).numpy()
        # Mirrored after the resize, whose rounding would otherwise fall on the other side.
        images = np.stack([seen, seen[:, ::-1]] if self.flip else [seen]).astype(np.float32)
        rows, columns = (sizes.padded_side(side, rule["size_divisor"]) - side for side in (height, width))
        images = np.pad(images, [(0, 0), (0, rows), (0, columns), (0, 0)])
        image_sizes = np.array([[height, width]] * len(images), np.int32)
        return {"images": tf.constant(images), "image_sizes": tf.constant(image_sizes)}

    def _boxes(self, view, size):
        """Yield the detections of each image of a view, boxes in pixels of the picture."""
        found = {name: value.numpy() for name, value in self._find(view).items()}
        for row, count in enumerate(found["num_detections"]):
            rows = {name: found[name][row, :count] for name in ("boxes", "scores", "classes")}
            rows["boxes"] = _from_view(rows["boxes"], view, size, is_mirrored=row == 1)
            yield rows | {"num_detections": np.int32(count)}

    def _merged(self, found, size):
        boxes, scores, classes = (
            np.concatenate([each[name] for each in found]) for name in ("boxes", "scores", "classes")
        )
        height, width = size
        boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
        settings = self.model.settings["detections"]
        kept = _suppressed(boxes, scores, classes, len(self.model.class_names), settings["nms_threshold"])
        # Of equal scores that of the earlier pass; as many as the model itself gives.
        order = kept[np.argsort(-scores[kept], kind="stable")][: self.model.max_detections]
        return {
            "boxes": boxes[order], "scores": scores[order], "classes": classes[order],
            "num_detections": np.int32(len(order)),
        }  # fmt: skip

    def _mean(self, field, views, merged, size):
        """Mean of a field over all passes, each told the merged boxes."""
        total, count = 0.0, merged["num_detections"]
        missing = self.model.max_detections - count
        for view in views:
            boxes = np.stack([_to_view(merged["boxes"], view, size, bool(row)) for row in range(len(view["images"]))])
            boxes = np.pad(boxes, [(0, 0), (0, missing), (0, 0)])
            classes = np.pad(merged["classes"], (0, missing))[None].repeat(len(boxes), axis=0)
            values = self._complete(view, boxes, classes, count)[field.name].numpy()[:, :count]
            total = total + values[0] + (field.mirrored(values[1]) if self.flip else 0.0)
        return total / self.passes

    def _found(self, inputs):
        features, state = self.model.features(inputs), {"inputs": inputs}
        for stage in self._finders:
            state = state | stage.infer(features, state)
        return {name: state["detections"][name] for name in ("boxes", "scores", "classes", "num_detections")}

    def _completed(self, inputs, boxes, classes, count):
        detections = {"boxes": boxes, "classes": classes, "num_detections": tf.fill([tf.shape(boxes)[0]], count)}
        features, state = self.model.features(inputs), {"inputs": inputs, "detections": detections}
        for stage in self._completers:
            state = state | stage.infer(features, state)
        return {field.name: state["detections"][field.name] for field in further(self.model.output_fields)}


def _check(model):
    if "proposals" in model.further_inputs:
        raise UserError(f"{model.title}: finds objects only among given proposals, of one size; leave --tta out")
    if "classes" not in {field.name for field in model.output_fields} or "detections" not in model.settings:
        raise UserError(f"{model.title}: its answers have no classes by which they could be merged; leave --tta out")
    for field in further(model.output_fields):
        if not hasattr(field, "mirrored"):
            raise UserError(f"{model.title}: {field.name} of several sizes have no mean; leave --tta out")


def _completes(stage):
    """Whether a stage adds to detections that are there."""
    return "detections" in stage.reads and "detections" in stage.gives


def _from_view(boxes, view, size, is_mirrored):
    """Boxes `[n, 4]` of what the detector saw in pixels of the picture."""
    height, width = view["image_sizes"].numpy()[0]
    if is_mirrored:
        boxes = _mirrored(boxes, width)
    ratio = np.array([size[1] / width, size[0] / height] * 2, np.float32)
    return (boxes * ratio).astype(np.float32)


def _to_view(boxes, view, size, is_mirrored):
    height, width = view["image_sizes"].numpy()[0]
    boxes = (boxes * np.array([width / size[1], height / size[0]] * 2, np.float32)).astype(np.float32)
    if is_mirrored:
        boxes = _mirrored(boxes, width)
    return boxes


def _mirrored(boxes, width):
    """Boxes `[n, 4]` of the mirror image of a picture so wide."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def _suppressed(boxes, scores, classes, num_classes, iou_threshold):
    """Rows that no better one of their class suppresses."""
    by_class = np.full((num_classes, len(scores)), -np.inf, np.float32)
    by_class[classes, np.arange(len(scores))] = scores
    if not len(scores):
        return np.zeros(0, np.int64)
    kept = nms.nms_mask(
        tf.constant(boxes)[None], tf.constant(by_class)[None], iou_threshold, len(scores), score_threshold=LEAST_SCORE
    )
    return np.flatnonzero(kept.numpy()[0].any(axis=0))
