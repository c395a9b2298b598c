"""Files that TF Serving reads beside the graph: requests to warm up with, and the parameters of its own batching.

TF Serving replays `assets.extra/tf_serving_warmup_requests` before it calls a version ready, so that the first user
does not wait for what TensorFlow does on a first run. A request that fails there keeps the version from loading:
every request written here is made of what the folder itself says of its signatures.
"""

import io
import os
from collections.abc import Iterable
from pathlib import Path

from keras_fpn.console import extras
from keras_fpn.data import sizes
from keras_fpn.export import regular_proposals
from keras_fpn.export.description import Description

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
BATCHING_FILE = "batching_parameters.txt"

_PICTURE_SIZE = 480, 640  # height, width of the picture that the requests stand for
_GREY = 127


def write(version_folder: str | os.PathLike, description: Description, signature_names: Iterable[str]) -> Path:
    """Write one warm-up request, of one picture, for each signature.

    Where inputs have defaults of one row there is a second request without these. A default of another number of rows
    is not tried: a server with `--enable_batching` refuses requests whose inputs differ in that, and would then refuse
    the version. Nothing is lost, for the server fills in defaults before it runs the graph.

    `model_spec.name` of a request stays empty: TF Serving runs it on the version that it is loading, under whatever
    name that is served.

    Args:
        version_folder: SavedModel, `PATH/<version>`.
        description: its `Description`; pixel inputs get the size that its resize rule gives a 640 x 480 picture.
        signature_names: signatures of the folder; their inputs are among images, image_sizes, proposals, num_proposals
            and image_bytes.

    Returns:
        The path of the file, a TFRecord of `PredictionLog`.

    Raises:
        UserError: tensorflow-serving-api is not installed.
    """
    logs = extras.require("tensorflow_serving.apis.prediction_log_pb2", extra="serving")
    import tensorflow as tf

    path = Path(version_folder) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    signatures = _signatures(version_folder)
    tensors = _tensors(description.resize)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name in signature_names:
            for request in _requests(name, signatures[name], tensors):
                log = logs.PredictionLog(predict_log=logs.PredictLog(request=request))
                writer.write(log.SerializeToString())
    return path


def _signatures(version_folder):
    """`{name: SignatureDef}` of a folder, without loading its graph."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((Path(version_folder) / "saved_model.pb").read_bytes())
    return saved_model.meta_graphs[0].signature_def


def _requests(name, signature, tensors):
    from tensorflow_serving.apis import model_pb2, predict_pb2

    shapes = {key: default.tensor_shape for key, default in signature.defaults.items()}
    optional = {key for key, shape in shapes.items() if shape.dim and shape.dim[0].size == 1}
    for left_out in (set(), optional) if optional else (set(),):
        inputs = {key: tensors[key] for key in signature.inputs if key not in left_out}
        yield predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(signature_name=name), inputs=inputs)


def _tensors(rule):
    """TensorProtos of one picture, by the name of the input."""
    import tensorflow as tf

    size, canvas = sizes.resized_size(*_PICTURE_SIZE, rule), sizes.padded_size(*_PICTURE_SIZE, rule)
    proposals = regular_proposals.for_images([size])
    return {
        "images": _constant([1, *canvas, 3]),
        "image_sizes": tf.make_tensor_proto([size], tf.int32),
        "proposals": tf.make_tensor_proto(proposals["proposals"], tf.float32),
        "num_proposals": tf.make_tensor_proto(proposals["num_proposals"], tf.int32),
        "image_bytes": tf.make_tensor_proto([_jpeg()], tf.string),
    }


def _constant(shape):
    """A uint8 TensorProto of one value in 20 bytes: TensorFlow repeats the last value up to the shape."""
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    shape = tf.TensorShape(shape).as_proto()
    return tensor_pb2.TensorProto(dtype=tf.uint8.as_datatype_enum, tensor_shape=shape, int_val=[_GREY])


def _jpeg():
    from PIL import Image

    encoded = io.BytesIO()
    picture = Image.radial_gradient("L").resize(_PICTURE_SIZE[::-1])
    picture.convert("RGB").save(encoded, "JPEG")
    return encoded.getvalue()


def write_batching_parameters(path: str | os.PathLike) -> Path:
    """Write the file for `--enable_batching --batching_parameters_file`, each value with what it is.

    TF Serving takes only children of the model's folder whose name is a number for versions, so the file may lie in
    there, beside them: `PATH/batching_parameters.txt`.

    Returns the path.
    """
    path = Path(path)
    path.write_text(_BATCHING_PARAMETERS, encoding="utf-8")
    return path


_BATCHING_PARAMETERS = """\
# TF Serving: --enable_batching --batching_parameters_file=THIS_FILE
# The server then runs requests that arrive together as one. A start to tune from: measure with your own traffic.
#
# serving_bytes is best served WITHOUT this file: a batch fails as a whole, so one image that cannot be decoded
# fails the requests of everybody in its batch. Clients that want batches send several images in one request.
# serving_default is safe, if every request gives image_sizes: that input tells the image from the padding below.
# A batch is made of requests to the same signature.

# Images run at once, counted over all the requests in a batch. More of them take more memory.
max_batch_size { value: 4 }

# How long a request waits for others while its batch is not full, in microseconds. On a CPU 0 may be best.
batch_timeout_micros { value: 5000 }

# Batches run at the same time; each of them uses all the cores that TensorFlow was given.
num_batch_threads { value: 2 }

# Batches that may wait; when there are more, requests are refused (UNAVAILABLE) instead of waiting for long.
max_enqueued_batches { value: 16 }

# A request of more than max_batch_size images is run in parts; it would be refused otherwise.
enable_large_batch_splitting { value: true }

# Images of different sizes are padded, at the bottom and at the right, to the largest in their batch; requests of
# different sizes would fail otherwise. The server pads with the first value of the tensor and not with 0, which is
# why image_sizes has to be given: the model sets what is outside of it to 0.
pad_variable_length_inputs: true
"""
