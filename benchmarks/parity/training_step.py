"""One training step of a converted model on the anchors and RoIs that the reference had sampled."""

import drawn_checkpoints
import mask_targets
import numpy as np
import samples
import tensorflow as tf
from comparison import read

from keras_fpn.data import fields, transforms
from keras_fpn.inference import images
from keras_fpn.layers.roi_pooling import RoIPooling

# Further steps, by the settings of the model that learns in them.
RULES = {"bitmask": "model.mask_targets.rule=bitmask"}
# Steps in float64, see the `train` of the references.
DOUBLE = ("running", "live", "double")


def compare_training(comparison, convert, paths, truth, gradients):
    """Losses and gradients of each step that the reference recorded, see its `train`.

    Args:
        convert: function of overrides of the configuration that gives the model.
        truth: boxes and classes of each picture, see `catalogue.Model.truth`.
    """
    model, kept = convert(), comparison.kept
    unseen = set(gradients)
    for step in ("training", *DOUBLE):
        if not _is_recorded(kept, step):
            continue
        own = _doubled(model, kept[f"{step}/pixels"]) if step in DOUBLE else model
        if step == "live":
            _end_at_pooled(own)
        recorded = {name: place for name, place in gradients.items() if f"{step}/gradients/{name}" in kept}
        unseen -= set(recorded)
        _compare_step(comparison, own, paths, truth, recorded, step, training=step != "running")
    assert not unseen, f"no gradients recorded of {', '.join(sorted(unseen))}"
    for step, override in RULES.items():
        if _is_recorded(comparison.kept, step):
            _compare_step(comparison, convert(override), paths, truth, {}, step, training=True)


def _is_recorded(kept, step):
    return any(key.startswith(f"{step}/losses/") for key in kept)


def _doubled(model, pixels):
    """The model in float64, from the reference's pixels on."""
    double = model.twin("float64")
    object.__setattr__(double.pixels, "call", lambda *_: tf.constant(pixels, tf.float64))
    return double


def _end_at_pooled(model):
    """Let the losses of the heads of RoIs end at the pooled features, as in the reference's "live" step."""
    for layer in (layer for stage in model.stages for layer in stage.layers().values()):
        if isinstance(layer, RoIPooling):
            object.__setattr__(layer, "call", _without_gradient(layer.call))


def _without_gradient(pool):
    return lambda maps, *given, **options: pool(tf.nest.map_structure(tf.stop_gradient, maps), *given, **options)


def _compare_step(comparison, model, paths, truth, gradients, step, training):
    inputs = read(paths, model.settings["resize"])
    state = [variable.numpy() for variable in model.non_trainable_variables]
    variables = {name: _variable(model, place) for name, place in gradients.items()}
    wanted = _targets(inputs, paths, truth)
    known = fields.choose(model.object_fields)
    for field in (known[name] for name in fields.names_of(model.object_fields)):
        wanted[field.name] = _rows(field, inputs, paths, truth)
    try:
        with (
            samples.repeated(comparison.kept, step, model, len(truth)),
            mask_targets.repeated(comparison, step, model, len(truth)),
            tf.GradientTape() as tape,
        ):
            losses, _ = model.training_losses(inputs, wanted, tf.zeros([2], tf.int64), training=training)
            loss = tf.add_n(list(losses.values()))
        found = dict(zip(variables, tape.gradient(loss, list(variables.values())), strict=True))
    finally:
        for variable, value in zip(model.non_trainable_variables, state, strict=True):
            variable.assign(value)  # what live batch norm learnt in the step
    assert len(losses) == sum(key.startswith(f"{step}/losses/") for key in comparison.kept), "other losses"
    for name, value in losses.items():
        theirs = float(comparison.kept[f"{step}/losses/{name}"])
        comparison.note("losses", f"{step}/{name}", abs(float(value) - theirs) / max(abs(theirs), 1e-12))
    for name, gradient in found.items():
        ours = drawn_checkpoints.kept_slice(_as_theirs(np.asarray(gradient)), comparison.most).astype(np.float64)
        theirs = comparison.kept[f"{step}/gradients/{name}"]
        difference = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
        comparison.note("gradients" if step != "live" else "live gradients", name, difference)


def _as_theirs(kernel):
    return kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T


def _variable(model, place):
    part, layer, variable = place
    part = getattr(model, part)
    if isinstance(part, tf.keras.Model) and hasattr(part, "get_layer"):
        layer = part.get_layer(layer)
    else:
        layer = next(found for found in part._flatten_layers() if found.name == layer)
    return getattr(layer, variable)


def _targets(inputs, paths, truth):
    """Ground truth in pixels of the resized pictures, padded."""
    most = max(len(boxes) for boxes, _ in truth)
    boxes = np.zeros((len(truth), most, 4), np.float32)
    classes = np.full((len(truth), most), -1, np.int32)
    for image, (path, (image_boxes, image_classes)) in enumerate(zip(paths, truth, strict=True)):
        old_size = images.read_image(path)[0].shape[:2]
        scaled = transforms.scale_boxes(
            tf.constant(image_boxes, tf.float32), old_size, inputs["image_sizes"][image]
        )
        boxes[image, : len(image_boxes)], classes[image, : len(image_boxes)] = scaled, image_classes
    return {"boxes": boxes, "classes": classes}


# Of boxes in a picture, by the name of the field: the rows that both sides draw.
DRAWN = {
    "bitmaps": lambda field, boxes, size: drawn_checkpoints.masks(boxes, *size),
    "polygons": lambda field, boxes, size: drawn_checkpoints.polygons(boxes),
    "keypoints": lambda field, boxes, size: _moved(drawn_checkpoints.keypoints(boxes, *size), field.offset),
}


def _rows(field, inputs, paths, truth):
    """Targets of a stage beside boxes and classes, resized by the field itself, padded."""
    rows = []
    for image, (path, (boxes, _)) in enumerate(zip(paths, truth, strict=True)):
        size = images.read_image(path)[0].shape[:2]
        drawn = tf.constant(DRAWN[field.name](field, boxes, size))
        rows.append(field.scale(drawn, size, inputs["image_sizes"][image]).numpy())
    shape = np.max([each.shape for each in rows], axis=0)
    return np.stack([_padded(each, shape, field.padding) for each in rows])


def _padded(rows, shape, value):
    missing = [(0, side - own) for side, own in zip(shape, rows.shape, strict=True)]
    return np.pad(rows, missing, constant_values=value)


def _moved(keypoints, offset):
    """Keypoints as a field reads them: the offset added, what is not labelled 0."""
    keypoints[..., :2] += offset
    return np.where(keypoints[..., 2:] > 0, keypoints, 0).astype(np.float32)
