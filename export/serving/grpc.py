"""Ask TF Serving over gRPC: smaller messages than REST, for the price of tensorflow-serving-api.

    client = GrpcClient("localhost:8500", "shapes")
    client.predict("serving_bytes", {"image_bytes": [Path("street.jpg").read_bytes()]})
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_fpn.console import extras
from keras_fpn.export.serving.errors import Refused, ServingError, Unknown

if TYPE_CHECKING:
    import numpy as np

# A batch of pixels passes gRPC's own limit of 4 MB; TF Serving itself takes any length.
_OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


class GrpcClient:
    """A model on a server.

    Args:
        address: "HOST:PORT" of the gRPC API, 8500 by custom.
        model: name under which it is served.
        version: whole number; None: the newest that is served.
        timeout: seconds to wait for an answer.

    Raises:
        UserError: tensorflow-serving-api is not installed.
    """

    def __init__(self, address, model, version=None, timeout=60.0):
        services = extras.require("tensorflow_serving.apis.prediction_service_pb2_grpc", extra="serving")
        import grpc

        self._address, self._model, self._version, self._timeout = address, model, version, timeout
        self._stub = services.PredictionServiceStub(grpc.insecure_channel(address, _OPTIONS))

    def predict(self, signature: str, inputs: "Mapping[str, list[bytes] | np.ndarray]") -> "dict[str, np.ndarray]":
        """Run a signature once.

        Args:
            signature: name.
            inputs: `{name: list of B byte strings or array [B, ...]}`; one with a default may be left out.

        Returns:
            `{name: array [B, ...]}`.

        Raises:
            ServingError: see its kinds.
        """
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            response = self._stub.Predict(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise _failure(error, self._address) from None
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}


def _failure(error, address):
    from grpc import StatusCode

    code, message = error.code(), error.details() or error.code().name
    if code in (StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION):
        return Unknown(f"{address}: {message}")
    if code == StatusCode.INVALID_ARGUMENT:
        return Refused(f"{address}: {message}")
    if code in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.UNIMPLEMENTED):
        return ServingError(f"{address}: no answer to a gRPC request ({message}); is the server up, is this its port?")
    return ServingError(f"{address}: {message}")
