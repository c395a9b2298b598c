"""A converted model held against what was recorded of its reference: differences by stage."""

import collections

import agreement
import drawn_checkpoints
import matching
import numpy as np
import tensorflow as tf
from recording import fingerprint

from keras_fpn.inference import detecting, images


class Comparison:
    """A model against what `recording.Recording` kept of its reference.

    Attributes:
        differences: `{stage: largest difference}`.
        matches: `{"proposals" or "detections": matching.Match}` over all images.
        agreements: `{"masks, given" or the like: agreement.Agreement}` over all images, see `instances`.
        compared: keys of the slices that `relative` and `exact` looked at.
        edges: `{(batch, image): pair}` of `matching.Ranked.edge` of our detections and of the reference's, in pixels of
            the network's input, where levels are cut before the suppression of detections.
        answers: `{(name, batch, image): instances.Answers}`, ours about the reference's boxes.
    """

    def __init__(self, kept, most, source):
        self.kept, self.most, self.source = kept, most, source
        self.differences = collections.defaultdict(float)
        self.matches = collections.defaultdict(matching.Match)
        self.agreements = collections.defaultdict(agreement.Agreement)
        self.answers = {}
        self.worst = {}
        self.compared = set()
        self.edges = {}
        self._graphs = {}

    def graph(self, function):
        """A function as a graph, which lets go what no later layer wants: 10 GB of three pictures in a ResNet-101."""
        if function not in self._graphs:
            self._graphs[function] = tf.function(function, reduce_retracing=True)
        return self._graphs[function]

    def relative(self, stage, key, tensor):
        """Compare a whole tensor of ours with the slice that was kept of theirs."""
        self.compared.add(key)
        tensor = np.asarray(tensor)
        same_shape = tuple(self.kept[f"{key}/shape"]) == tensor.shape
        ours = drawn_checkpoints.kept_slice(tensor, self.most) if same_shape else np.zeros(0)
        self.note(stage, key, drawn_checkpoints.relative_difference(ours, self.kept[key]))

    def left(self, batch):
        """Keys of the slices of a batch that were kept and not compared; what stands in pictures is not among them."""
        slices = {key.removesuffix("/shape") for key in self.kept if key.startswith(f"{batch}/")}
        slices = {key for key in slices if f"{key}/shape" in self.kept and not key.endswith("/values")}
        return sorted(slices - self.compared)

    def sorting(self, logits):
        """Scores that the source sorts proposals by: detectron2 logits, torchvision probabilities."""
        return logits if self.source == "detectron2" else 1 / (1 + np.exp(-logits.astype(np.float64)))

    def note(self, stage, key, difference):
        if difference >= self.differences[stage]:
            self.worst[stage] = key
        self.differences[stage] = max(self.differences[stage], difference)

    def exact(self, stage, key, array):
        """Compare every bit."""
        self.compared.add(key)
        same = fingerprint(np.asarray(array)) == str(self.kept[f"{key}/fingerprint"])
        if same:
            self.note(stage, key, 0.0)
        else:
            shape = tuple(self.kept[f"{key}/shape"])
            ours = drawn_checkpoints.kept_slice(array, self.most)
            same_shape = shape == np.asarray(array).shape
            self.note(stage, key, max(float(np.abs(ours - self.kept[key]).max()), 1e-9) if same_shape else np.inf)


def read(paths, resize):
    """The batch that `keras_fpn.detect` makes of picture files."""
    return detecting.batch([images.read_image(path)[0] for path in paths], resize)


def padded(rois):
    """`[B, R, 4]` of the boxes of each image."""
    most = max(map(len, rois))
    return tf.constant(np.stack([np.pad(boxes, [(0, most - len(boxes)), (0, 0)]) for boxes in rois]))


def of_all(rois, tensor):
    """Rows of all images after one another, of `[B, R, ...]` that `padded` boxes gave."""
    return np.concatenate([tensor.numpy()[image, : len(boxes)] for image, boxes in enumerate(rois)])
