"""Passes over an ONNX graph that do away with nodes that change nothing.

Each takes a `Graph` and returns whether it changed anything.
"""

from keras_fpn.export.onnx.graph import Graph


def drop_identities(graph: Graph) -> bool:
    """Node that only gives a tensor another name."""
    return any([graph.bypass(node, node.input[0]) for node in graph.of_type("Identity")])


def drop_whole_slices(graph: Graph) -> bool:
    """Slices that take everything, which TensorFlow's new axes leave behind."""
    changed = False
    for node in graph.of_type("Slice"):
        starts, ends, steps = (graph.constant(node, index) for index in (1, 2, 4))
        if starts is None or ends is None or starts.any() or (ends < 10**9).any():
            continue
        if len(node.input) < 5 or (steps is not None and (steps == 1).all()):
            changed |= graph.bypass(node, node.input[0])
    return changed


def drop_casts(graph: Graph) -> bool:
    """Casts to the type that is there, and there and back between the integers of indices and sides."""
    types = graph.onnx.TensorProto
    integers = (types.INT32, types.INT64)
    changed = False
    for node in graph.of_type("Cast"):
        given, wanted = graph.types.get(node.input[0]), graph.attributes(node)["to"]
        before = graph.maker(node.input[0], "Cast")
        if given is not None and given == wanted:
            changed |= graph.bypass(node, node.input[0])
        elif before is not None and given in integers and graph.types.get(before.input[0]) in integers:
            graph.set_inputs(node, [before.input[0]])
            changed = True
    return changed


def merge_equals(graph: Graph) -> bool:
    """Nodes that do the same to the same become one."""
    changed = False
    seen: dict[tuple, str] = {}
    for node in graph.nodes:
        if len(node.output) != 1:
            continue
        attributes = tuple(sorted(one.SerializeToString(deterministic=True) for one in node.attribute))
        inputs = tuple(_contents(graph, one) for one in node.input)
        key = (node.op_type, inputs, attributes)
        if key in seen:
            changed |= graph.bypass(node, seen[key])
        else:
            seen[key] = node.output[0]
    return changed


def _contents(graph, tensor):
    value = graph.constants.get(tensor)
    if value is None or value.size > 16:
        return tensor
    return str(value.dtype), value.shape, value.tobytes()
