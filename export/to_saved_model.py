"""A detector as a SavedModel: for TF Serving, for TensorFlow without Keras, for programs in C.

    serving_default   images, image_sizes (optional)   -> detections in pixels of the images given
    serving_bytes     image_bytes, files of pictures   -> detections in pixels of the images as they are looked at, and
                                                          of some fields, if asked for, the values in the image itself
    raw               images, image_sizes (optional)   -> boxes and scores of every class before suppression
    proposals         images, image_sizes (optional)   -> what the region proposal network proposes

`raw` and `proposals` are there for models that have such, if they are asked for; so is what else the stages of a model
may give, see `Stage.signatures`. What takes images takes the further inputs of a model, too, such as the proposals and
num_proposals of a `FastRCNN`; encoded images alone are then not enough, and there is no serving_bytes.

A file is a JPEG, PNG, BMP, GIF (its first picture) or WebP, as in training. B images, D detections, R proposals, K
classes.
"""

import inspect
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from keras_fpn.console import extras
from keras_fpn.console.errors import UserError
from keras_fpn.console.picture_files import MAX_PIXELS
from keras_fpn.export.description import DESCRIPTION_FILE, LABELS_FILE, PRECISIONS, describe
from keras_fpn.export.request import SIGNATURES
from keras_fpn.export.saved_model import encoded_images
from keras_fpn.export.saved_model.freezing import frozen_inference, quiet
from keras_fpn.export.serving import warmup

if TYPE_CHECKING:
    from keras_fpn.models.detector import Detector

MAX_VERSION = 2**63 - 1  # TF Serving passes over a folder whose name does not fit into 64 bits

_BY_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD
_IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
_IMAGE_SIZES = tf.TensorSpec([None, 2], tf.int32, name="image_sizes")
_IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")


def write_saved_model(
    model: "Detector",
    path: str | os.PathLike,
    *,
    version: int = 1,
    signatures: Sequence[str] = (),
    precision: str = "float32",
    max_pixels: int = MAX_PIXELS,
    placed: Sequence[str] = (),
) -> Path:
    """Write `path/<version>/`, and `path/batching_parameters.txt` beside it.

    Every signature takes a batch of any number and size of images. Where image_sizes is left out, or has no rows, the
    images are valid to their edges; TensorFlow's Python takes it as left out in `load(path).serve(images)`, and in a
    signature only as given.

    Args:
        model: a `FasterRCNN`, `RPN` ...
        path: folder, made if it is absent.
        version: whole number, the name of the folder inside; TF Serving serves the highest.
        signatures: names of further ones, of those that the model's stages give.
        precision: "float32", or "bfloat16" for convolutions and matrix products in bfloat16 and half the size.
        max_pixels: of an encoded image: one with more is refused by its header, before it takes memory.
        placed: names of the output fields that serving_bytes gives in the image itself, see `OutputField.placed`.

    Returns:
        The folder `path/<version>`.

    Raises:
        UserError: an unknown signature or precision, a part of the model that does not go into a SavedModel, or weights
            that do not fit into one graph.
    """
    _check(model, version, signatures, precision)
    description = describe(model, precision=precision, input_type="uint8", max_pixels=max_pixels, placed=placed)
    module, functions = _module(model, signatures, precision, max_pixels, placed)
    folder = Path(path) / str(version)
    with tempfile.TemporaryDirectory() as assets, quiet():
        module.assets = [
            _asset(Path(assets) / DESCRIPTION_FILE, description.to_json()),
            _asset(Path(assets) / LABELS_FILE, description.labels()),
        ]
        # Nobody trains what is frozen, and of a graph that was rewritten the gradients cannot be saved.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(folder), signatures=functions, options=options)
    _write_for_serving(folder, description, list(functions))
    return folder


def _check(model, version, signatures, precision):
    _check_signatures(model, signatures)
    if precision not in PRECISIONS["saved_model"]:
        valid = ", ".join(PRECISIONS["saved_model"])
        raise UserError(f"precision: {precision!r} is none of a SavedModel's; valid are {valid}")
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= MAX_VERSION:
        raise UserError(f"version: {version!r} is no whole number from 0 up to {MAX_VERSION}, as TF Serving asks")


def _check_signatures(model, signatures):
    given = {name for stage in model.stages for name in stage.signatures()}
    for name in signatures:
        if name not in given:
            if name not in SIGNATURES:
                valid = dict.fromkeys([*SIGNATURES.names(), *given])
                raise UserError(f"signature: unknown name {name!r}; valid are {', '.join(valid)}")
            raise UserError(f"signature: {type(model).__name__} {SIGNATURES[name]}; leave it out")


def _module(model, signatures, precision, max_pixels, placed):
    """A `tf.Module` without variables, and the function of each signature by its name."""
    inference = frozen_inference(model, signatures, precision)
    functions = {"serving_default": _on_images(inference, "detections", model)}
    if not model.further_inputs:
        functions["serving_bytes"] = _on_bytes(inference, model, max_pixels, placed)
    for name in signatures:
        functions[name] = _on_images(inference, name, model)
    module = tf.Module()
    module.serve = functions["serving_default"]
    return module, functions


def _no_sizes():
    """A default that the saver writes into the signature, so that a request may leave the input out."""
    return tf.zeros([0, 2], tf.int32)


def _on_images(inference, group, model):
    """The function of a signature: images, the further inputs of the model, and the sizes, which may be left out."""
    no_sizes, further = _no_sizes(), model.further_inputs

    def signature(images, *given):
        *given, image_sizes = given
        inputs = {"images": tf.cast(images, tf.float32), "image_sizes": _sizes_or_edges(images, image_sizes)}
        inputs |= _demanded(model, inputs | dict(zip(further, given, strict=True)), further)
        return inference(inputs)[group]

    parameters = [inspect.Parameter(name, _BY_NAME) for name in ("images", *further)]
    sizes = inspect.Parameter("image_sizes", _BY_NAME, default=no_sizes)
    signature.__signature__ = inspect.Signature([*parameters, sizes])  # of which TensorFlow makes the saved one
    return tf.function(signature, input_signature=[_IMAGES, *further.values(), _IMAGE_SIZES], autograph=False)


def _demanded(model, inputs, names):
    """Those of the inputs, after a check that they are what the stages of the model ask for."""
    demands = [demand for stage in model.stages for demand in stage.demands(inputs)]
    with tf.control_dependencies([tf.debugging.Assert(holds, [message]) for holds, message in demands]):
        return {name: tf.identity(inputs[name]) for name in names}


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
        edges, given = tf.repeat(shape[None, 1:3], shape[0], axis=0), tf.identity(image_sizes)
    return tf.ensure_shape(tf.cond(rows == 0, lambda: edges, lambda: given), [None, 2])


def _on_bytes(inference, model, max_pixels, placed):
    rule = model.settings["resize"]

    @tf.function(input_signature=[_IMAGE_BYTES], autograph=False)
    def signature(image_bytes):
        batch = encoded_images.decode_batch(image_bytes, rule, max_pixels)
        found = dict(inference(batch)["detections"])
        sizes = batch["image_sizes"], batch["original_sizes"]
        return found | {
            field.name: (encoded_images.placed if field.name in placed else encoded_images.to_original_pixels)(
                found, field, *sizes
            )
            for field in model.output_fields
        }

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
