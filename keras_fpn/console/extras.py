"""Packages that only some things need: imported when needed, and their absence told with the line that mends it."""

import importlib
import importlib.util
from types import ModuleType

from keras_fpn.console.errors import UserError

# Where the name that is imported is not the name that is installed.
DISTRIBUTIONS = {
    "ai_edge_litert": "ai-edge-litert",
    "ai_edge_quantizer": "ai-edge-quantizer",
    "keras_hub": "keras-hub",
    "tensorflow_serving": "tensorflow-serving-api",
}


def require(module: str, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: dotted name, such as "ai_edge_litert.interpreter".
        extra: of setup.cfg, that installs it: "tflite", "onnx", "openvino", "serving", "export" or "hub".

    Returns:
        The module.

    Raises:
        UserError: the package is not installed; the line says how to install it. A package that is there and fails
            to load raises its own error.
    """
    check(module, extra)
    return importlib.import_module(module)


def check(module: str, extra: str) -> None:
    """Refuse as `require` does, but without the time that importing takes."""
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        name = DISTRIBUTIONS.get(package, package)
        raise UserError(f'{name} is not installed; pip install "keras-fpn[{extra}]"')
