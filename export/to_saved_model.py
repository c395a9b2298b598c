"""A detector as a SavedModel: for TF Serving, for TensorFlow without Keras, for programs in C.

    serving_default   images, image_sizes (optional)   -> detections in pixels of the images given
    serving_bytes     image_bytes, JPEG or PNG files   -> detections in pixels of the images as they are looked at
    raw               images, image_sizes (optional)   -> boxes and scores of every class before suppression
    proposals         images, image_sizes (optional)   -> what the region proposal network proposes

What takes images takes proposals and num_proposals, too, if the model finds nothing without (`FastRCNN`); encoded
images alone are then not enough, and there is no serving_bytes.

B images, D detections, R proposals, K classes.
"""

import tempfile
from pathlib import Path

import tensorflow as tf

from keras_fpn.errors import UserError
from keras_fpn.export import extras
from keras_fpn.export.description import DESCRIPTION_FILE, LABELS_FILE, PRECISIONS, describe
from keras_fpn.export.request import SIGNATURES
from keras_fpn.export.saved_model import encoded_images
from keras_fpn.export.saved_model.freezing import frozen_inference, quiet
from keras_fpn.export.serving import warmup

_WITHOUT = {"raw": "has no classes to suppress, hence no raw", "proposals": "makes no proposals"}
MAX_VERSION = 2**63 - 1  # TF Serving passes over a folder whose name does not fit into 64 bits

_IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
_IMAGE_SIZES = tf.TensorSpec([None, 2], tf.int32, name="image_sizes")
_PROPOSALS = tf.TensorSpec([None, None, 4], tf.float32, name="proposals")
_NUM_PROPOSALS = tf.TensorSpec([None], tf.int32, name="num_proposals")
_IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")


def write_saved_model(model, path, *, version=1, signatures=(), precision="float32"):
    """Write `path/<version>/`, and `path/batching_parameters.txt` beside it.

    Every signature takes a batch of any number and size of images. Where image_sizes is left out, or has no rows, the
    images are valid to their edges; TensorFlow's Python takes it as left out in `load(path).serve(images)`, and in a
    signature only as given.

    Args:
        model: a `FasterRCNN`, `RPN` ...
        path: folder, made if it is absent.
        version: whole number, the name of the folder inside; TF Serving serves the highest.
        signatures: further ones, of `request.SIGNATURES`.
        precision: "float32", or "bfloat16" for convolutions and matrix products in bfloat16 and half the size.

    Returns:
        The folder `path/<version>`.

    Raises:
        UserError: an unknown signature or precision, or the weights do not fit into one graph.
    """
    _check(model, version, signatures, precision)
    description = describe(model, precision=precision, input_type="uint8")
    module, functions = _module(model, signatures, precision)
    folder = Path(path) / str(version)
    with tempfile.TemporaryDirectory() as assets, quiet():
        module.assets = [
            _asset(Path(assets) / DESCRIPTION_FILE, description.to_json()),
            _asset(Path(assets) / LABELS_FILE, description.labels()),
        ]
        tf.saved_model.save(module, str(folder), signatures=functions)
    _write_for_serving(folder, description, list(functions))
    return folder


def _check(model, version, signatures, precision):
    kind, needed = type(model).__name__, {"raw": "detections", "proposals": "proposals"}
    for name in signatures:
        if name not in SIGNATURES:
            raise UserError(f"signature: unknown name {name!r}; valid are {', '.join(SIGNATURES)}")
        if not hasattr(model, needed[name]):
            raise UserError(f"signature: {kind} {_WITHOUT[name]}; leave it out")
    if precision not in PRECISIONS["saved_model"]:
        valid = ", ".join(PRECISIONS["saved_model"])
        raise UserError(f"precision: {precision!r} is none of a SavedModel's; valid are {valid}")
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= MAX_VERSION:
        raise UserError(f"version: {version!r} is no whole number from 0 up to {MAX_VERSION}, as TF Serving asks")


def _module(model, signatures, precision):
    """A `tf.Module` without variables, and the function of each signature by its name."""
    groups = _groups(model, signatures)
    inference = frozen_inference(model, groups, precision)
    on_images = _on_images_and_proposals if model.needs_proposals else _on_images
    functions = {"serving_default": on_images(inference, "detections")}
    if not model.needs_proposals:
        functions["serving_bytes"] = _on_bytes(inference, model)
    for name in signatures:
        group = name if name in groups else "detections"
        functions[name] = on_images(inference, group, _as_proposals if group == "detections" else dict)
    module = tf.Module()
    module.serve = functions["serving_default"]
    return module, functions


def _groups(model, signatures):
    """What the frozen function has to give; the proposals of a detector without classes are its detections."""
    has_classes = hasattr(model, "detections")
    return ("detections", *(name for name in SIGNATURES if name in signatures and has_classes))


def _no_sizes():
    """A default that the saver writes into the signature, so that a request may leave the input out."""
    return tf.zeros([0, 2], tf.int32)


def _on_images(inference, group, renamed=dict):
    no_sizes = _no_sizes()

    @tf.function(input_signature=[_IMAGES, _IMAGE_SIZES], autograph=False)
    def signature(images, image_sizes=no_sizes):
        inputs = {"images": tf.cast(images, tf.float32), "image_sizes": _sizes_or_edges(images, image_sizes)}
        return renamed(inference(inputs)[group])

    return signature


def _on_images_and_proposals(inference, group, renamed=dict):
    no_sizes = _no_sizes()

    @tf.function(input_signature=[_IMAGES, _PROPOSALS, _NUM_PROPOSALS, _IMAGE_SIZES], autograph=False)
    def signature(images, proposals, num_proposals, image_sizes=no_sizes):
        inputs = {"images": tf.cast(images, tf.float32), "image_sizes": _sizes_or_edges(images, image_sizes)}
        with tf.control_dependencies(_demand_proposals(images, proposals, num_proposals)):
            inputs |= {"proposals": tf.identity(proposals), "num_proposals": tf.identity(num_proposals)}
        return renamed(inference(inputs)[group])

    return signature


def _demand_proposals(images, proposals, num_proposals):
    batch, rows = tf.shape(images)[0], tf.shape(proposals)[1]
    demands = [
        (
            (tf.shape(proposals)[0] == batch) & (tf.shape(num_proposals)[0] == batch),
            "proposals, num_proposals: give boxes and their number for each of the images",
        ),
        (
            tf.reduce_all((num_proposals >= 0) & (num_proposals <= rows)),
            "num_proposals: from 0 to the rows of proposals",
        ),
        (tf.reduce_all(tf.math.is_finite(proposals)), "proposals: hold NaN or infinite coordinates"),
    ]
    return [tf.debugging.Assert(holds, [message]) for holds, message in demands]


def _sizes_or_edges(images, image_sizes):
    shape, rows = tf.shape(images), tf.shape(image_sizes)[0]
    is_inside = tf.reduce_all((image_sizes >= 1) & (image_sizes <= shape[None, 1:3]))
    demands = [
        (tf.size(images) > 0, "images: no image in the request, or none with pixels; send one or more"),
        (
            (rows == 0) | (rows == shape[0]),
            "image_sizes: give one height, width for each of the images, or leave it out",
        ),
        (is_inside, "image_sizes: height and width of a valid part are from 1 to those of images"),
    ]
    with tf.control_dependencies([tf.debugging.Assert(holds, [message]) for holds, message in demands]):
        edges = tf.repeat(shape[None, 1:3], shape[0], axis=0)
    return tf.ensure_shape(tf.cond(rows == 0, lambda: edges, lambda: image_sizes), [None, 2])


def _as_proposals(detections):
    found = dict(detections)
    return found | {"num_proposals": found.pop("num_detections")}


def _on_bytes(inference, model):
    rule = model.settings["resize"]
    # The windows of segments reach beyond their image, and so they do in its own pixels.
    in_pixels = encoded_images.scaled if "segments" in model.settings else encoded_images.to_original_pixels

    @tf.function(input_signature=[_IMAGE_BYTES], autograph=False)
    def signature(image_bytes):
        batch = encoded_images.decode_batch(image_bytes, rule)
        found = dict(inference(batch)["detections"])
        return found | {"boxes": in_pixels(found["boxes"], batch["image_sizes"], batch["original_sizes"])}

    return signature


def _asset(file, text):
    file.write_text(text, encoding="utf-8")
    return tf.saved_model.Asset(str(file))


def _write_for_serving(folder, description, signatures):
    warmup.write_batching_parameters(folder.parent / warmup.BATCHING_FILE)
    try:
        extras.check("tensorflow_serving", extra="serving")
    except UserError as error:
        print(f"no warm-up requests for TF Serving in {folder}: {error}", flush=True)
        return
    warmup.write(folder, description, signatures)
