"""The Keras side: a converted model run stage by stage on the reference's files, each compared with what it kept.

Every stage is fed with what our own stage before it gave, from the picture file on, unless its kind says otherwise.
Another kind of head is another module with a class in `KINDS`.
"""

import cascade
import dense
import instances
import matching
import numpy as np
import regions
from comparison import read
from PIL import Image

from keras_fpn.inference import detecting

# What follows the pyramid, in the order of the stages: `is_in` tells whether a model has it, `compare` compares it on a
# batch, and `suppression` gives overlap, count and least score that its boxes went through.
KINDS = (regions.Proposals(), regions.BoxHead(), cascade.FurtherHeads(), dense.Dense())


def kinds_of(model):
    """Those behind the pyramid of a model; the last gives the detections."""
    return [kind for kind in KINDS if kind.is_in(model)]


def compare_backbone(comparison, model, pixels, resize, batch, paths):
    inputs = read(paths, resize)
    normalised = pixels(inputs["images"], inputs["image_sizes"])
    comparison.relative("pixels", f"{batch}/pixels/all", normalised)
    for name, tensor in comparison.graph(model)(normalised, training=False).items():
        if f"{batch}/taps/{name}" in comparison.kept:
            comparison.relative("taps", f"{batch}/taps/{name}", tensor)


def compare_stages(comparison, model, batch, paths):
    """All stages of a detector in inference."""
    inputs = read(paths, model.settings["resize"])
    np.testing.assert_array_equal(inputs["image_sizes"], comparison.kept[f"{batch}/image_sizes"], "image sizes")
    compare_backbone(comparison, model.backbone, model.pixels, model.settings["resize"], batch, paths)
    features = comparison.graph(model.features)(inputs)
    for name, tensor in features.items():
        comparison.relative("pyramid", f"{batch}/pyramid/{name}", tensor)
    for kind in kinds_of(model):
        kind.compare(comparison, model, features, inputs, batch)
    instances.compare_given(comparison, model, features, inputs, batch, paths)
    left = comparison.left(batch)
    assert not left, f"recorded of the reference, and not compared: {', '.join(left)}"


def compare_detections(comparison, model, batch, paths):
    """Picture files in, detections in their own pixels out, through the public door."""
    found = detecting.detect_together(model, [str(path) for path in paths], threshold=0.0)

    def match_all():
        pictures = enumerate(zip(found, paths, strict=True))
        return [_match_detections(comparison, model, batch, image, *each) for image, each in pictures]

    matches = match_all()
    if any(match.unmatched for match, _ in matches) and hasattr(model, "rpn_head"):
        regions.note_ties(comparison, model, read(paths, model.settings["resize"]), batch)
        matches = match_all()
    for image, (ours, (match, sides)) in enumerate(zip(found, matches, strict=True)):
        comparison.matches["detections"] |= match
        instances.compare_found(comparison, model, batch, image, ours, matching.pairs(*sides))


def _match_detections(comparison, model, batch, image, ours, path):
    """The `matching.Match` of our detections of a picture, an `ImageDetections`, and both sides."""
    theirs = [comparison.kept[f"{batch}/detections/{image}/{part}"] for part in ("boxes", "scores", "labels")]
    labels = np.array(ours.category_ids) if comparison.source == "torchvision" else ours.classes
    lists = (ours.boxes, ours.scores, labels), theirs
    edges = _edges(comparison, batch, image, path)
    sides = [matching.Ranked(*each, edge=edge) for each, edge in zip(lists, edges, strict=True)]
    return matching.match(*sides, *kinds_of(model)[-1].suppression(model)), sides


def _edges(comparison, batch, image, path):
    """Of our detections and of the reference's, in pixels of the picture; see `Comparison.edges`."""
    with Image.open(path) as picture:
        width, height = picture.size
    inner_height, inner_width = comparison.kept[f"{batch}/image_sizes"][image]
    scale = np.array([width / inner_width, height / inner_height] * 2)
    return [edge * scale for edge in comparison.edges.get((batch, image), [np.zeros((0, 4))] * 2)]
