"""Passes over an ONNX graph that do away with transposes and reshapes.

TensorFlow has channels last, ONNX first. Each pass takes a `Graph` and returns whether it changed anything.
"""

import numpy as np

from keras_fpn.export.onnx.graph import Graph

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Where", "Cast")


def _permutation(graph, node):
    return list(graph.attributes(node).get("perm", ()))


def cancel_transposes(graph: Graph) -> bool:
    """A transpose of a transpose that leads back."""
    changed = False
    for node in graph.of_type("Transpose"):
        before = graph.maker(node.input[0], "Transpose")
        if before is not None:
            first, second = _permutation(graph, before), _permutation(graph, node)
            if [first[axis] for axis in second] == sorted(first):
                changed |= graph.bypass(node, before.input[0])
    return changed


def transpose_earlier(graph: Graph) -> bool:
    """Channels go first before the arithmetic on pixels, which is slow along an axis of three numbers, not after."""
    changed = False
    for node in graph.of_type("Transpose"):
        before = graph.maker(node.input[0])
        if before is None or before.op_type not in ELEMENTWISE or _permutation(graph, node) != TO_CHANNELS_FIRST:
            continue
        if graph.only_user(node.input[0]) is None or not any(_is_map(graph, one) for one in before.input):
            continue
        inputs = [_channels_first(graph, one) for one in before.input]
        if None in inputs:
            continue
        attributes = graph.attributes(before)
        graph.remove(node)
        graph.add(before.op_type, inputs, node.output[0], **attributes)
        changed = True
    return changed


def _is_map(graph, tensor):
    return tensor not in graph.constants and len(graph.shapes.get(tensor, ())) == 4


def _channels_first(graph, tensor):
    """The tensor with channels first, None where it has no four axes."""
    value = graph.constants.get(tensor)
    if value is None:
        if not _is_map(graph, tensor):
            return None
        made = graph.add("Transpose", [tensor], perm=TO_CHANNELS_FIRST)
        graph.shapes[made] = [graph.shapes[tensor][axis] for axis in TO_CHANNELS_FIRST]
        return made
    if value.size == 1:
        return tensor
    value = value.reshape((1,) * (4 - value.ndim) + value.shape)
    return graph.add_constant(value.transpose(TO_CHANNELS_FIRST))


def reshape_once(graph: Graph) -> bool:
    """A reshape of a reshape reads what the first one read; one to the shape that is there already goes."""
    changed = False
    for node in graph.of_type("Reshape"):
        target, given = graph.constant(node, 1), graph.shapes.get(node.input[0])
        before = graph.maker(node.input[0], "Reshape")
        if before is not None and target is not None and 0 not in target:
            graph.set_inputs(node, [before.input[0], node.input[1]])
            changed = True
        elif target is not None and given is not None and _is_same(given, target):
            changed |= graph.bypass(node, node.input[0])
    return changed


def _is_same(given, target):
    """Whether a shape with at most one unknown side is the target of a reshape already."""
    if len(given) != len(target):
        return False
    differing = [side for side, wanted in zip(given, target, strict=True) if side is None or side != wanted]
    return not differing or (len(differing) == 1 and -1 in target and differing[0] is None)


def constant_shapes(graph: Graph) -> bool:
    """The shape of a reshape with one side that is computed becomes a constant with -1."""
    changed = False
    for node in graph.of_type("Reshape"):
        sides = _sides(graph, node.input[1])
        if sides is not None and sides.count(None) == 1 and -1 not in sides and 0 not in sides:
            target = np.array([-1 if side is None else side for side in sides], np.int64)
            graph.set_inputs(node, [node.input[0], graph.add_constant(target)])
            changed = True
    return changed


def _sides(graph, tensor):
    """The sides that a shape is put together of, None for those that are computed; None if it is put otherwise."""
    node = graph.maker(tensor, "Cast")
    node = graph.maker(node.input[0] if node is not None else tensor, "Concat")
    if node is None:
        return None
    sides = []
    for part in node.input:
        value = graph.constants.get(part)
        if value is None and graph.shapes.get(part) != [1]:
            return None
        sides += [None] if value is None else [int(side) for side in value]
    return sides


def flatten_channels_first(graph: Graph) -> bool:
    """Crops go into the fully connected layer as they are: the rows of its kernel are put in their order instead."""
    changed = False
    for node in graph.of_type("MatMul"):
        reshape, kernel = graph.maker(node.input[0], "Reshape"), graph.constant(node, 1)
        transpose = graph.maker(reshape.input[0], "Transpose") if reshape is not None else None
        if reshape is None or transpose is None or _permutation(graph, transpose) != TO_CHANNELS_LAST:
            continue
        if kernel is None or kernel.ndim != 2:
            continue
        target, shape = graph.constant(reshape, 1), graph.shapes.get(transpose.input[0])
        if shape is None or None in shape[1:] or target is None or target.tolist() != [-1, len(kernel)]:
            continue
        channels, height, width = shape[1:]
        rows = kernel.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
        flat = graph.add("Reshape", [transpose.input[0], reshape.input[1]])
        graph.set_inputs(node, [flat, graph.add_constant(rows)])
        changed = True
    return changed


def gather_later(graph: Graph) -> bool:
    """Rows are put in order after the fully connected layers, where they are short, not before."""
    changed = False
    for node in graph.of_type("Reshape", "MatMul", "Add", "Relu"):
        gather = graph.maker(node.input[0], "Gather")
        if gather is None or graph.attributes(gather).get("axis", 0) != 0 or graph.only_user(gather.output[0]) is None:
            continue
        if len(graph.shapes.get(gather.input[1], ())) != 1 or not _is_row_by_row(graph, node, gather):
            continue
        attributes = graph.attributes(node)
        graph.remove(node)
        made = graph.add(node.op_type, [gather.input[0], *node.input[1:]], **attributes)
        graph.shapes[made] = graph.shapes.get(node.output[0])
        graph.add("Gather", [made, gather.input[1]], node.output[0], axis=0)
        changed = True
    return changed


def _is_row_by_row(graph, node, gather):
    shape = graph.shapes.get(gather.input[0])
    if shape is None or len(shape) < 2:
        return False
    if node.op_type == "Relu":
        return True
    value = graph.constant(node, 1)
    if value is None:
        return False
    if node.op_type == "Reshape":
        return None not in shape[1:] and value.tolist() == [-1, int(np.prod(shape[1:]))]
    return len(shape) == 2 and value.ndim == (2 if node.op_type == "MatMul" else 1)
