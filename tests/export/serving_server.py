"""A server that answers as TF Serving does, from an exported folder, on loopback: gRPC and REST.

The folder is loaded as TF Serving loads it: into a session, with nothing of Python's Keras; a request runs the tensors
that its SignatureDef names. Which inputs are required, which errors come with which status, and the forms of the JSON
follow tensorflow_serving 2.20: servables/tensorflow/predict_util.cc, util/json_tensor.cc, model_servers/http_server.cc.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import re
import threading

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

_HTTP_STATUS = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429}
_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(?::(predict)|/(metadata))?")


class Status(Exception):
    """A status of TensorFlow: (name of the code, message)."""


class Version:
    """One version of a model, in a session of its own."""

    def __init__(self, folder):
        self._graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=self._graph)
        with self._graph.as_default():
            self.meta_graph = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))

    def predict(self, request):
        """Answer a `PredictRequest`."""
        name = request.model_spec.signature_name or "serving_default"
        if name not in self.meta_graph.signature_def:
            raise Status("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        signature = self.meta_graph.signature_def[name]
        feeds = {signature.inputs[key].name: value for key, value in _input_values(signature, request).items()}
        fetches = {key: info.name for key, info in signature.outputs.items()}
        try:
            outputs = self._session.run(fetches, feeds)
        except tf.errors.OpError as error:
            # Python appends where the operation was made; the C++ session, which TF Serving has, does not.
            message = getattr(error.__context__, "message", error.message)
            raise Status(_code_name(error), message) from None
        except (ValueError, TypeError) as error:  # a shape that does not fit, said by Python before the session
            raise Status("INVALID_ARGUMENT", str(error)) from None
        response = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response


def _input_values(signature, request):
    """The inputs of the request, and the defaults of those left out (TF Serving does so since 2.14)."""
    given, known = set(request.inputs), set(signature.inputs)
    if len(given) > len(known) or (len(given) < len(known) and not signature.defaults):
        missing = ",".join(sorted(known - given))
        raise Status(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(given)}!={len(known)}. Missing but required: {{{missing}}}.",
        )
    if not given <= known:
        raise Status("INVALID_ARGUMENT", f"Signature does not have an input named {sorted(given - known)}")
    if not known - given <= set(signature.defaults):
        raise Status("INVALID_ARGUMENT", f"Missing inputs without a default: {sorted(known - given)}")
    tensors = dict(signature.defaults) | dict(request.inputs)
    return {key: tf.make_ndarray(value) for key, value in tensors.items()}


def _code_name(error):
    return next(code.name for code in grpc.StatusCode if code.value[0] == error.error_code)


class Server:
    """Models by name, each `{version: Version}`."""

    def __init__(self, models):
        self._models = models

    def version(self, name, number=None):
        """(number, Version); the highest of None."""
        versions = self._models.get(name, {})
        if not versions or (number is not None and number not in versions):
            kind = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise Status("NOT_FOUND", f"Servable not found for request: {kind}")
        number = max(versions) if number is None else number
        return number, versions[number]

    def predict(self, request):
        """Answer a `PredictRequest`, with the `model_spec` of who answered."""
        spec = request.model_spec
        number, version = self.version(spec.name, spec.version.value if spec.HasField("version") else None)
        response = version.predict(request)
        response.model_spec.name, response.model_spec.version.value = spec.name, number
        response.model_spec.signature_name = spec.signature_name or "serving_default"
        return response

    def metadata(self, name, number=None):
        """`GetModelMetadataResponse`; since 2.20 without the defaults of the signatures."""
        number, version = self.version(name, number)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = name, number
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for key, signature in version.meta_graph.signature_def.items():
            signatures.signature_def[key].CopyFrom(signature)
            signatures.signature_def[key].defaults.clear()
        response.metadata["signature_def"].Pack(signatures)
        return response

    def status(self, name, number=None):
        """`GetModelStatusResponse`: all versions, or one."""
        self.version(name, number)
        response = get_model_status_pb2.GetModelStatusResponse()
        for one in sorted(self._models[name] if number is None else [number], reverse=True):
            response.model_version_status.add(version=one, state="AVAILABLE")
        return response


# gRPC ---------------------------------------------------------------------------------------------------------


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server):
        self._server = server

    def Predict(self, request, context):  # noqa: N802
        return _answered(context, self._server.predict, request)

    def GetModelMetadata(self, request, context):  # noqa: N802
        return _answered(context, self._server.metadata, *_named(request.model_spec))


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server):
        self._server = server

    def GetModelStatus(self, request, context):  # noqa: N802
        return _answered(context, self._server.status, *_named(request.model_spec))


def _named(spec):
    return spec.name, spec.version.value if spec.HasField("version") else None


def _answered(context, function, *arguments):
    try:
        return function(*arguments)
    except Status as status:
        context.abort(grpc.StatusCode[status.args[0]], status.args[1])


@contextlib.contextmanager
def grpc_port(server):
    """Serve gRPC within this context; yields the port."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        service = grpc.server(threads, options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(server), service)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(server), service)
        port = service.add_insecure_port("127.0.0.1:0")
        service.start()
        try:
            yield port
        finally:
            service.stop(None).wait()


# REST ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def rest_port(server):
    """Serve REST within this context; yields the port."""
    handler = type("Handler", (RestHandler,), {"served": server})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield service.server_port
        finally:
            service.shutdown()
            thread.join()


class RestHandler(http.server.BaseHTTPRequestHandler):
    served = None

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(lambda name, version: predict_json(self.served, name, version, body), "predict")

    def do_GET(self):  # noqa: N802
        def look(name, version):
            kind = self.served.metadata if self.path.endswith("/metadata") else self.served.status
            return json_format.MessageToDict(kind(name, version), preserving_proto_field_name=True)

        self._answer(look, None)

    def _answer(self, function, verb):
        match = _PATH.fullmatch(self.path)
        try:
            if not match or match[3] != verb:
                raise Status("INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path}")
            status, answer = 200, function(match[1], match[2] and int(match[2]))
        except Status as error:
            status, answer = _HTTP_STATUS.get(error.args[0], 500), {"error": error.args[1]}
        content = json.dumps(answer, indent=4).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def predict_json(server, name, version, body):
    """Answer the body of a `:predict` request."""
    try:
        body = json.loads(body)
    except ValueError as error:
        raise Status("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
    signature = body.get("signature_name", "serving_default")
    signatures = server.version(name, version)[1].meta_graph.signature_def
    if signature not in signatures:
        raise Status("INVALID_ARGUMENT", f'Serving signature name: "{signature}" not found in signature def')
    infos = signatures[signature].inputs
    if ("instances" in body) == ("inputs" in body):
        raise Status("INVALID_ARGUMENT", "Missing 'inputs' or 'instances' key")
    by_row = "instances" in body
    columns = _columns_of_rows(body["instances"], infos) if by_row else _columns(body["inputs"], infos)
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    for key, value in columns.items():
        request.inputs[key].CopyFrom(_tensor(value, infos[key].dtype))
    outputs = {key: tf.make_ndarray(value) for key, value in server.predict(request).outputs.items()}
    return _rows(outputs) if by_row else {"outputs": _only({key: value.tolist() for key, value in outputs.items()})}


def _is_named(value):
    """An object of named tensors, and not the base64 form of one string."""
    return isinstance(value, dict) and set(value) != {"b64"}


def _columns_of_rows(rows, infos):
    if not isinstance(rows, list) or not rows:
        raise Status("INVALID_ARGUMENT", "Expecting 'instances' value to be an list/array")
    if not all(_is_named(row) for row in rows):
        if len(infos) > 1 or any(_is_named(row) for row in rows):
            raise Status("INVALID_ARGUMENT", "instances is a plain list, but expecting list of objects")
        rows = [dict.fromkeys(infos, row) for row in rows]
    for number, row in enumerate(rows):
        if set(row) != set(infos):  # no defaults here, whatever the signature says
            keys = ",".join(sorted(infos))
            message = f"Failed to process element: {number} of 'instances' list. keys must be equal to: {keys}"
            raise Status("INVALID_ARGUMENT", message)
    return {key: [row[key] for row in rows] for key in infos}


def _columns(inputs, infos):
    if not _is_named(inputs):
        if len(infos) > 1:
            raise Status("INVALID_ARGUMENT", "inputs is a plain value/list, but expecting an object")
        return dict.fromkeys(infos, inputs)
    for key in infos:
        if key not in inputs:
            raise Status("INVALID_ARGUMENT", f"Missing named input: {key} in 'inputs' object.")
    return {key: inputs[key] for key in infos}


def _tensor(value, dtype):
    dtype = tf.as_dtype(dtype)
    try:
        if dtype == tf.string:
            return tf.make_tensor_proto(_decoded(value), dtype)
        return tf.make_tensor_proto(np.array(value), dtype)
    except (ValueError, TypeError) as error:
        raise Status("INVALID_ARGUMENT", f"JSON Value: {str(value)[:256]} {error}"[:512]) from None


def _decoded(value):
    """Strings, of which binary ones are {"b64": ...}."""
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return base64.b64decode(value["b64"], validate=True) if isinstance(value, dict) else value


def _rows(outputs):
    if len({len(value) for value in outputs.values()}) != 1:
        raise Status("INVALID_ARGUMENT", "Tensor has inconsistent batch size")
    columns = {key: value.tolist() for key, value in outputs.items()}
    return {"predictions": [_only(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]}


def _only(named):
    """A single output stands without its name."""
    return named if len(named) > 1 else next(iter(named.values()))
