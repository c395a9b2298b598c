"""The range of every activation, on images of the kind that the detector will see."""

import contextlib
import io
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from keras_fpn.console import extras
from keras_fpn.console.errors import UserError
from keras_fpn.console.progress import Count
from keras_fpn.console.screen import quiet_stderr

THREADS = 2


def find_activation_ranges(
    content: bytes, recipe: Any, calibration: Iterable[Mapping[str, np.ndarray]]
) -> dict[str, dict[str, np.ndarray]]:
    """The lowest and the highest value that each tensor takes. Tells how far it is.

    How many images: on the detector of `keras-fpn demo` a single one can double the error of the boxes; from five on
    it stays the same, up to 200. Fifty leave room for pictures that are less alike than the demo's.

    Args:
        content: bytes of a float32 TFLite file.
        recipe: `RecipeManager` of ai-edge-quantizer.
        calibration: iterable of the inputs of single images, `{"images": [1, H, W, 3], "image_sizes": [1, 2] int32}`,
            with a length or without.

    Returns:
        `{tensor name: {"min": [1], "max": [1]}}`, as ai-edge-quantizer takes it.

    Raises:
        UserError: there is nothing to calibrate with, or it does not fit the inputs.
    """
    calibrator = extras.require("ai_edge_quantizer.calibrator", extra="tflite")
    updates = extras.require("ai_edge_quantizer.utils.qsv_utils", extra="tflite")
    # The profiler's mode keeps no tensor in memory. A moving average, the default, would hang on the first images.
    mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
    ranges = calibrator.Calibrator(content, THREADS, mode, updates.min_max_update)
    [signature] = ranges.get_signature_list()
    wanted = _input_details(content)
    total = operator.length_hint(calibration)
    done = 0
    with Count("calibrate", total=total or None) as count:
        for done, inputs in enumerate(calibration, start=1):
            _check_inputs(inputs, wanted)
            with silence():
                ranges.calibrate({signature: [inputs]}, recipe)
            count(done, max(done, total))
        if not done:
            raise UserError("calibration: no images in the set; give some tens of the kind that the model will see")
    return ranges.get_model_qsvs()


def _input_details(content):
    interpreting = extras.require("ai_edge_litert.interpreter", extra="tflite")
    # Without XNNPACK nothing is prepared: only the names and the shapes are wanted.
    plain = interpreting.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = interpreting.Interpreter(model_content=content, experimental_op_resolver_type=plain)
    return interpreter.get_signature_runner().get_input_details()


def _check_inputs(inputs, wanted):
    for name, details in wanted.items():
        if name not in inputs:
            raise UserError(f'calibration: an example has no "{name}"; give a dict of {" and ".join(sorted(wanted))}')
        given, shape, dtype = np.asarray(inputs[name]), tuple(details["shape"]), np.dtype(details["dtype"])
        if given.shape != shape or given.dtype != dtype:
            raise UserError(
                f'calibration: "{name}" is {given.dtype} {list(given.shape)}, the model takes {dtype}'
                f" {[int(side) for side in shape]}; letterbox the images into its frame"
            )


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """The quantizer has progress bars of its own, on stderr, that no option turns off; LiteRT tells of its delegate."""
    with contextlib.redirect_stderr(io.StringIO()), quiet_stderr():
        yield
