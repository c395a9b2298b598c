"""Passes over an ONNX graph that put arithmetic with constants into the operator beside it.

Each takes a `Graph` and returns whether it changed anything.
"""

import numpy as np

from keras_fpn.export.onnx.graph import Graph


def explicit_padding(graph: Graph) -> bool:
    """Convolutions that pad "same" at stride 1 say how much: `auto_pad` is deprecated, and hides a `Pad` before it."""
    changed = False
    for node in graph.of_type("Conv", "MaxPool"):
        attributes = graph.attributes(node)
        mode, kernel = attributes.get("auto_pad", b"NOTSET"), attributes["kernel_shape"]
        if mode == b"VALID" or (mode == b"SAME_UPPER" and set(attributes.get("strides", [1])) == {1}):
            dilations = attributes.get("dilations", [1] * len(kernel))
            total = [0 if mode == b"VALID" else (k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
            before = [side // 2 for side in total]
            after = [side - side // 2 for side in total]
            graph.set_attributes(node, auto_pad=None, pads=before + after)
            changed = True
    return changed


def fold_padding(graph: Graph) -> bool:
    """`Pad` by zeros before a convolution, or before a maximum of what is never negative, becomes its own padding."""
    changed = False
    for pad in graph.of_type("Pad"):
        user = graph.only_user(pad.output[0])
        sides, value = graph.constant(pad, 1), graph.constant(pad, 2)
        if user is None or sides is None or len(sides) != 8 or any(sides[[0, 1, 4, 5]]) or min(sides) < 0:
            continue
        is_zero = len(pad.input) < 3 or not pad.input[2] or (value is not None and not value.any())
        attributes = graph.attributes(user)
        takes = user.op_type == "Conv" or (user.op_type == "MaxPool" and graph.maker(pad.input[0], "Relu"))
        if not (is_zero and takes) or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
            continue
        if graph.attributes(pad).get("mode", b"constant") != b"constant":
            continue
        own = attributes.get("pads", [0, 0, 0, 0])
        graph.set_attributes(user, pads=[int(a + b) for a, b in zip(own, sides[[2, 3, 6, 7]], strict=True)])
        graph.set_inputs(user, [pad.input[0], *user.input[1:]])
        changed = True
    return changed


def fold_subsampling(graph: Graph) -> bool:
    """Every second cell (a maximum over one cell) before a 1x1 convolution becomes its stride."""
    changed = False
    for pool in graph.of_type("MaxPool"):
        user, attributes = graph.only_user(pool.output[0], "Conv"), graph.attributes(pool)
        if user is None or set(attributes["kernel_shape"]) != {1} or any(attributes.get("pads", [0])):
            continue
        own = graph.attributes(user)
        if set(own["kernel_shape"]) == {1} and set(own.get("strides", [1])) == {1} and not any(own.get("pads", [0])):
            graph.set_attributes(user, strides=attributes["strides"])
            graph.set_inputs(user, [pool.input[0], *user.input[1:]])
            changed = True
    return changed


def fold_scale_and_shift(graph: Graph) -> bool:
    """A product or sum with one number for each channel after a convolution goes into its kernel and bias."""
    changed = False
    for node in graph.of_type("Mul", "Add", "Sub"):
        tensor, value = graph.operand(node)
        convolution = graph.maker(tensor, "Conv") if tensor else None
        if tensor is None or convolution is None or graph.only_user(tensor) is None or node.output[0] in graph.results:
            continue
        if node.op_type == "Sub" and tensor != node.input[0]:
            continue
        kernel, bias = graph.constant(convolution, 1), graph.constant(convolution, 2)
        if kernel is None or (bias is None and len(convolution.input) > 2):
            continue
        value = _for_each_channel(value, kernel)
        if value is None:
            continue
        bias = np.zeros(len(kernel), kernel.dtype) if bias is None else bias
        if node.op_type == "Mul":
            kernel, bias = kernel * value.reshape(-1, 1, 1, 1), bias * value
        else:
            bias = bias + value if node.op_type == "Add" else bias - value
        graph.set_inputs(convolution, [convolution.input[0], graph.add_constant(kernel), graph.add_constant(bias)])
        changed |= graph.bypass(node, tensor)
    return changed


def _for_each_channel(value, kernel):
    """`[C]` of a constant that is broadcast against `[B, C, h, w]`, or None if it is no number for each channel."""
    shape = (1,) * (4 - value.ndim) + value.shape
    if shape not in ((1, len(kernel), 1, 1), (1, 1, 1, 1)) or value.dtype != kernel.dtype:
        return None
    return np.broadcast_to(value.reshape(-1), len(kernel))


def _is_number(value, number):
    return value is not None and value.size == 1 and np.isclose(float(value.reshape(())), number, rtol=1e-6, atol=0)


def _is_relu6(graph, node):
    low, high = graph.constant(node, 1), graph.constant(node, 2)
    return low is not None and low.size == 1 and float(low.reshape(())) == 0.0 and _is_number(high, 6.0)


def name_hard_activations(graph: Graph) -> bool:
    """clip(x + 3, 0, 6) / 6 becomes HardSigmoid, and x times that HardSwish."""
    changed = False
    for node in graph.of_type("Mul"):
        tensor, value = graph.operand(node)
        clip = graph.maker(tensor, "Clip") if tensor and _is_number(value, 1 / 6) else None
        add = graph.maker(clip.input[0], "Add") if clip is not None and _is_relu6(graph, clip) else None
        source, shift = graph.operand(add) if add is not None else (None, None)
        if source and _is_number(shift, 3.0):
            graph.replace(node, "HardSigmoid", [source], alpha=1 / 6, beta=0.5)
            changed = True
    for node in graph.of_type("Mul"):
        for source, gate in (node.input, reversed(node.input)):
            sigmoid = graph.maker(gate, "HardSigmoid")
            if sigmoid is not None and sigmoid.input[0] == source:
                graph.replace(node, "HardSwish", [source])
                changed = True
                break
    return changed


def name_global_pooling(graph: Graph) -> bool:
    """A mean over height and width becomes GlobalAveragePool."""
    changed = False
    for node in graph.of_type("ReduceMean"):
        axes = graph.constant(node, 1)
        shape = graph.shapes.get(node.input[0], ())
        if axes is not None and sorted(axes) == [2, 3] and len(shape) == 4 and graph.attributes(node)["keepdims"]:
            graph.replace(node, "GlobalAveragePool", [node.input[0]])
            changed = True
    return changed
