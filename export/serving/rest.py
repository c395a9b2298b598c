"""Ask TF Serving over REST: JSON with nothing but the standard library.

    client = RestClient("localhost:8501", "shapes")
    client.predict("serving_bytes", {"image_bytes": [Path("street.jpg").read_bytes()]})
"""

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_fpn.export.serving.errors import Refused, ServingError, Unknown

if TYPE_CHECKING:
    import numpy as np


class RestClient:
    """A model on a server.

    Args:
        address: "HOST:PORT" of the REST API, 8501 by custom.
        model: name under which it is served.
        version: whole number; None: the newest that is served.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, address, model, version=None, timeout=60.0):
        self._address, self._timeout = address, timeout
        version = "" if version is None else f"/versions/{version}"
        self._url = f"http://{address}/v1/models/{urllib.parse.quote(model, safe='')}{version}:predict"

    def predict(self, signature: str, inputs: "Mapping[str, list[bytes] | np.ndarray]") -> dict[str, list]:
        """Run a signature once.

        Args:
            signature: name.
            inputs: `{name: list of B byte strings or array [B, ...]}`; all inputs of the signature, since the REST API
                knows no defaults.

        Returns:
            `{name: list of B values}`.

        Raises:
            ServingError: see its kinds.
        """
        answer = self._post({"signature_name": signature} | _as_json(inputs))
        if "outputs" in answer:
            return answer["outputs"] if isinstance(answer["outputs"], dict) else {"": answer["outputs"]}
        rows = answer["predictions"]
        if not isinstance(rows[0], dict):  # TF Serving leaves out the name of an only output
            return {"": rows}
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _post(self, body):
        request = urllib.request.Request(
            self._url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                return _parsed(response.read(), self._address)
        except urllib.error.HTTPError as error:
            raise _failure(error.code, error.read(), self._address) from None
        except http.client.HTTPException:
            raise _another_server(self._address) from None
        except OSError as error:  # URLError and time-outs are such
            reason = getattr(error, "reason", error)
            raise ServingError(f"{self._address}: no answer to a REST request ({reason}); is the server up?") from None


def _as_json(inputs):
    """Encoded images in row form, one object an image; arrays by column, which says each name once."""
    if all(isinstance(value, list) for value in inputs.values()):
        encoded = ([{"b64": base64.b64encode(item).decode()} for item in value] for value in inputs.values())
        return {"instances": [dict(zip(inputs, row, strict=True)) for row in zip(*encoded, strict=True)]}
    return {"inputs": {name: value.tolist() for name, value in inputs.items()}}


def _parsed(content, address):
    try:
        answer = json.loads(content)
        if answer.get("predictions") or answer.get("outputs"):
            return answer
    except (ValueError, AttributeError):
        pass
    raise _another_server(address)


def _another_server(address):
    return ServingError(f"{address}: answers, but not as TF Serving's REST API does; is this its REST port?")


def _failure(status, content, address):
    try:
        message = str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        message = content.decode(errors="replace").strip() or f"HTTP status {status}"
    if status == 404 or message.startswith("Serving signature"):
        return Unknown(f"{address}: {message}")
    return (Refused if status == 400 else ServingError)(f"{address}: {message}")
