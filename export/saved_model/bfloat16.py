"""A detector that computes in bfloat16 and keeps its weights so: half the file, and the fast units of newer CPUs.

The model is built anew under Keras' policy mixed_bfloat16. Its layers say by themselves what stays in float32: anchors,
decoding, scores and suppression. (TensorFlow's own rewriter of finished graphs, auto_mixed_precision_onednn_bfloat16,
also casts boxes, and hands bfloat16 to loops that were traced with float32.)
"""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager.wrap_function import function_from_graph_def


def fold_casts(frozen: Any) -> Any:
    """The same frozen function with bfloat16 constants where it casts float32 ones to bfloat16 at every call."""
    graph = frozen.graph.as_graph_def()
    inputs, outputs = ([tensor.name for tensor in tensors] for tensors in (frozen.inputs, frozen.outputs))
    nodes = {node.name: node for node in graph.node}
    folded: dict[str, str] = {}
    for node in graph.node:
        if node.op != "Cast" or node.attr["DstT"].type != tf.bfloat16.as_datatype_enum:
            continue
        constant = _constant(nodes, node.input[0])
        if constant is not None:  # one copy for all who cast it
            name = folded.setdefault(constant.name, f"{constant.name}/bfloat16")
            node.op, node.input[:] = "Identity", [name]
            for key in set(node.attr) - {"_output_shapes"}:
                del node.attr[key]
            node.attr["T"].type = tf.bfloat16.as_datatype_enum
    graph.node.extend(_in_bfloat16(nodes[name], new) for name, new in folded.items())
    _drop_unused(graph, inputs + outputs)
    return function_from_graph_def(graph, inputs, outputs)


def _constant(nodes, name):
    """The constant that an input comes from, or None."""
    node = nodes[_node_name(name)]
    while node.op == "Identity":
        node = nodes[_node_name(node.input[0])]
    return node if node.op == "Const" else None


def _node_name(name):
    return name.lstrip("^").split(":")[0]


def _in_bfloat16(constant, name):
    values = tf.make_ndarray(constant.attr["value"].tensor).astype(tf.bfloat16.as_numpy_dtype)
    node = tf.compat.v1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tf.bfloat16.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.asarray(values)))
    return node


def _drop_unused(graph, wanted):
    """Leave out what no output needs. To wait for a constant is no need: reading a weight left such inputs behind."""
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        waits = [name for name in node.input if name.startswith("^") and _constant(nodes, name) is not None]
        for name in waits:
            node.input.remove(name)
    needed, waiting = set(), [_node_name(name) for name in wanted]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [_node_name(given) for given in nodes[name].input]
    kept = [node for node in graph.node if node.name in needed]
    del graph.node[:]
    graph.node.extend(kept)
