"""Which operators of a detector's TFLite file compute in integers, told by the graph and not by names.

    float   pixels
    inner   backbone, pyramid, hidden convolutions of the RPN's head
    last    its two predictors, of scores and of box deltas
    float   top-k, decode, suppression, RoI pooling
    inner   box head
    last    its two predictors
    float   softmax, decode, suppression, RoI pooling
    inner   hidden convolutions of further heads, transposed ones among them
    last    their predictors
    float   what is made of those

Layers in the body of a loop are told apart: no calibration sees what passes through them.
"""

import collections
import dataclasses
import re

from keras_fpn.console import extras

# With weights that are constants of the file.
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
FEWEST_WEIGHTS = 16  # of a layer: what has less, such as the convolution that makes BGR of RGB, is exact for a reason
FLOAT32_BYTES = 4
# What may stand between two layers. It counts only where all that it reads comes of layers: the additions of RoI
# arithmetic do not.
BETWEEN = (
    "ADD", "SUB", "MUL", "RELU", "HARD_SWISH", "LOGISTIC", "MEAN", "PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D",
    "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "RESHAPE",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator of the graph.

    Attributes:
        kind: its name in TFLite's schema.
        pattern: a regular expression that the quantizer matches with this operator only.
        outputs: names of the tensors that it writes.
    """

    kind: str
    pattern: str
    outputs: tuple[str, ...]


def find_integer_part(content: bytes) -> tuple[list[Operator], list[Operator]]:
    """Look for the layers of a detector and for what stands between them.

    Args:
        content: bytes of a float32 TFLite file.

    Returns:
        Two lists of `Operator`, in the order of the graph. The inner ones have a layer (of `LAYERS`, or themselves)
        behind them and lead to another one; the last ones are the layers whose results no layer reads: scores and
        box deltas.
    """
    graph = _Graph(_read(content))
    alive = _made_by_layers(graph)
    inner = _leading_to_layers(graph, alive)
    last = [operator for operator in graph.operators if operator in graph.layers and operator not in inner]
    return [graph.describe(operator) for operator in inner], [graph.describe(operator) for operator in last]


def find_layers_in_loops(content: bytes) -> list[Operator]:
    """The layers in the bodies of loops, each an `Operator`.

    Args:
        content: bytes of a float32 TFLite file.
    """
    model = _read(content)
    graphs = (_Graph(model, number) for number in range(1, len(model.subgraphs)))
    return [graph.describe(operator) for graph in graphs for operator in sorted(graph.layers)]


def _read(content):
    reader = extras.require("ai_edge_litert.tools.flatbuffer_utils", extra="tflite")
    return reader.read_model_from_bytearray(bytearray(content))


class _Graph:
    """One graph of a file, 0 the main one; an operator is its place in the order of execution."""

    def __init__(self, model, number=0):
        schema = extras.require("ai_edge_litert.schema_py_generated", extra="tflite")
        graph = model.subgraphs[number]
        names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        self._tensors = graph.tensors
        self.operators = range(len(graph.operators))
        self.kinds = [names[model.operatorCodes[operator.opcodeIndex].builtinCode] for operator in graph.operators]
        sizes = [_size(model.buffers[about.buffer]) for about in graph.tensors]  # bytes
        constants = {tensor for tensor, size in enumerate(sizes) if size}
        self.reads = [{tensor for tensor in operator.inputs if tensor >= 0} - constants for operator in graph.operators]
        self.writes = [list(operator.outputs) for operator in graph.operators]
        self.layers = {
            place
            for place, operator in enumerate(graph.operators)
            if self.kinds[place] in LAYERS and sizes[operator.inputs[1]] >= FEWEST_WEIGHTS * FLOAT32_BYTES
        }

    def describe(self, operator):
        outputs = tuple(self._tensors[tensor].name.decode() for tensor in self.writes[operator])
        # The quantizer calls an operator by its outputs, each with a semicolon behind it.
        return Operator(self.kinds[operator], f"^{re.escape(''.join(f'{name};' for name in outputs))}$", outputs)


def _size(buffer):
    return 0 if buffer.data is None else len(buffer.data)


def _made_by_layers(graph):
    """Operators that are layers or compute from nothing but the results of layers."""
    alive, made = [], set()
    for operator in graph.operators:
        reads = graph.reads[operator]
        if operator in graph.layers or (graph.kinds[operator] in BETWEEN and reads and reads <= made):
            alive.append(operator)
            made.update(graph.writes[operator])
    return alive


def _leading_to_layers(graph, alive):
    """Those of `alive` whose results reach a layer through others of them."""
    inner, needed = collections.deque(), set()
    for operator in reversed(alive):
        leads_on = not needed.isdisjoint(graph.writes[operator])
        if leads_on:
            inner.appendleft(operator)
        if leads_on or operator in graph.layers:
            needed.update(graph.reads[operator])
    return list(inner)
