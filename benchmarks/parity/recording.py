"""Record of a reference run: the stages of a batch, cut down to slices, under one set of names.

Tensors come as torch gives them, channels second, and are stored as this package has them, channels last.
"""

import hashlib
import math

import drawn_checkpoints
import numpy as np

KEPT = 20000


def fingerprint(array):
    """Of every bit of a float32 array; 0 and -0 count as one."""
    return hashlib.sha256(np.ascontiguousarray(array + np.float32(0)).tobytes()).hexdigest()


def values(arrays, key):
    """The array that `Recording.keep_values` kept."""
    array, shape = arrays[key], tuple(arrays[f"{key}/shape"])
    if array.dtype != np.uint8:
        return array
    return np.unpackbits(array, count=math.prod(shape)).astype(bool).reshape(shape)


class Recording:
    """Arrays of one model, collected by `batch/stage[/part]`.

    Args:
        most: numbers kept of a large tensor.
    """

    def __init__(self, most=KEPT):
        self.arrays, self.most = {}, most

    def keep(self, key, array):
        self.arrays[key] = np.asarray(array)

    def keep_slice(self, key, tensor):
        self.keep(f"{key}/shape", np.array(tensor.shape))
        self.keep(key, drawn_checkpoints.kept_slice(tensor, self.most))

    def keep_maps(self, key, maps):
        """`{name: [B, C, h, w]}` of a batch."""
        for name, tensor in maps.items():
            self.keep_slice(f"{key}/{name}", tensor.detach().permute(0, 2, 3, 1).numpy())

    def keep_rpn(self, batch, levels, logits, deltas, anchors):
        """Lists over levels: `[B, A, h, w]`, `[B, 4 A, h, w]`, `[h w A, 4]`."""
        for level, objectness, offsets, boxes in zip(levels, logits, deltas, anchors, strict=True):
            count = len(objectness)
            flat = [tensor.detach().permute(0, 2, 3, 1).reshape(count, -1).numpy() for tensor in (objectness, offsets)]
            self.keep_slice(f"{batch}/objectness/{level}", flat[0])
            self.keep_slice(f"{batch}/rpn_deltas/{level}", flat[1].reshape(count, -1, 4))
            self.keep_anchors(batch, level, boxes)

    def keep_anchors(self, batch, level, boxes):
        """`[h w A, 4]` of a level, and a fingerprint of all of them."""
        self.keep_slice(f"{batch}/anchors/{level}", boxes.numpy())
        self.keep(f"{batch}/anchors/{level}/fingerprint", fingerprint(boxes.numpy()))

    def keep_proposals(self, batch, boxes, scores):
        """Lists over images: boxes and logits."""
        for image, (image_boxes, image_scores) in enumerate(zip(boxes, scores, strict=True)):
            self.keep(f"{batch}/proposals/{image}/boxes", image_boxes.numpy())
            self.keep(f"{batch}/proposals/{image}/scores", image_scores.numpy())

    def keep_detections(self, batch, image, boxes, scores, labels):
        self.keep(f"{batch}/detections/{image}/boxes", boxes.numpy())
        self.keep(f"{batch}/detections/{image}/scores", scores.numpy())
        self.keep(f"{batch}/detections/{image}/labels", labels.numpy())

    def keep_heads(self, batch, pooled, logits, deltas):
        """`[R, C, 7, 7]`, `[R, K + 1 or more]` and `[R, 4 K]` of all images' RoIs, our order of the classes."""
        self.keep_slice(f"{batch}/pooled", pooled.permute(0, 2, 3, 1).numpy())
        self.keep_slice(f"{batch}/class_logits", logits.numpy())
        self.keep_slice(f"{batch}/box_deltas", deltas.numpy())

    def keep_instances(self, batch, name, boxes, logits, values):
        """Answers of a head about each detection; lists over images.

        Args:
            name: of what it gives, "masks" or another.
            boxes: `[N, 4]` of the detections as the head got them, pixels of the network's input.
            logits: `[M, C, m, m]` of the detections of all images.
            values: `[N, ...]` in the picture: `[N, H, W]` bool, whether a pixel is part of the object, or numbers.
        """
        self.keep_slice(f"{batch}/{name}/logits", logits.permute(0, 2, 3, 1).numpy())
        for image, (image_boxes, image_values) in enumerate(zip(boxes, values, strict=True)):
            self.keep(f"{batch}/{name}/{image}/boxes", image_boxes.numpy())
            self.keep_values(f"{batch}/{name}/{image}/values", image_values.numpy())

    def keep_values(self, key, array):
        """An array whole, eight bools to a byte."""
        self.keep(f"{key}/shape", np.array(array.shape))
        self.keep(key, np.packbits(array) if array.dtype == bool else array)

    def keep_gradients(self, step, parameters, names):
        for name in names:
            self.keep_slice(f"{step}/gradients/{name}", parameters[name].grad.numpy())

    def keep_samples(self, step, samples, proposals):
        """Sampled indices of both stages, `{"anchors" or "rois": [(positive, negative) of an image]}`.

        RoIs are numbered among an image's proposals, which are kept too, followed by its ground truth.
        """
        for stage, images in samples.items():
            for image, (positive, negative) in enumerate(images):
                self.keep(f"{step}/{stage}/{image}/positive", positive)
                self.keep(f"{step}/{stage}/{image}/negative", negative)
        for image, boxes in enumerate(proposals):
            self.keep(f"{step}/proposals/{image}", boxes.detach().float().numpy())

    def write(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez_compressed(partial, **self.arrays)
        partial.replace(path)
