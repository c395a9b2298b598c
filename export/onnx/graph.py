"""An ONNX graph that can be edited: who makes a tensor, who uses it, and which tensors are constants."""

import collections
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


class Graph:
    """The nodes and constants of a model; `written` puts them back.

    The body of a loop is left as it is. What it reads from outside the loop's node reads.

    Attributes:
        constants: `{name: array}`.
        shapes: `{tensor: [side or None, ...]}` and `types`: `{tensor: ONNX's element type}`, as far as they can be
            inferred; see `infer`.
    """

    def __init__(self, onnx, model):
        self.onnx, self.model = onnx, model
        self.constants = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
        self._nodes = {}
        self.results = {one.name for one in model.graph.output}
        self._made_by, self._used_by = {}, collections.defaultdict(list)
        self._number = 0
        self.shapes, self.types = {}, {}
        for node in model.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
            else:
                self._enter(onnx.NodeProto.FromString(node.SerializeToString()))
        self.infer()

    @property
    def nodes(self) -> "list[NodeProto]":
        """The nodes, in no particular order."""
        return list(self._nodes.values())

    # Reading --------------------------------------------------------------------------------------------------

    def maker(self, tensor: str, operator: str | None = None) -> "NodeProto | None":
        """The node that makes a tensor; None for inputs and constants, or if it is no `operator`."""
        node = self._made_by.get(tensor)
        return node if node is not None and operator in (None, node.op_type) else None

    def users(self, tensor: str) -> "list[NodeProto]":
        """The nodes that read a tensor, as an input or in the body of a loop."""
        return list(self._used_by.get(tensor, ()))

    def only_user(self, tensor: str, operator: str | None = None) -> "NodeProto | None":
        """The one node that reads a tensor, once; None where there are more, or if it is no `operator`."""
        users = self._used_by.get(tensor, ())
        if len(users) != 1 or tensor in self.results or list(users[0].input).count(tensor) != 1:
            return None
        return users[0] if operator in (None, users[0].op_type) else None

    def of_type(self, *operators: str) -> "list[NodeProto]":
        """The nodes of these operators, in no particular order."""
        return [node for node in self.nodes if node.op_type in operators]

    def constant(self, node: "NodeProto", index: int) -> np.ndarray | None:
        """The constant that is an input of a node; None where there is no such input, or it is no constant."""
        return self.constants.get(node.input[index]) if index < len(node.input) else None

    def operand(self, node: "NodeProto") -> tuple[str, np.ndarray] | tuple[None, None]:
        """`(tensor, constant)` of a node of two inputs one of which is constant, else `(None, None)`."""
        for index in (0, 1):
            value = self.constant(node, 1 - index)
            if value is not None:
                return node.input[index], value
        return None, None

    def attributes(self, node: "NodeProto") -> dict[str, Any]:
        """`{name: value}` of a node, strings as bytes."""
        return {one.name: self.onnx.helper.get_attribute_value(one) for one in node.attribute}

    # Editing --------------------------------------------------------------------------------------------------

    def add_constant(self, array: np.ndarray) -> str:
        """Add a constant; its name."""
        self._number += 1
        name = f"constant_{self._number}"
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def add(self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        self._number += 1
        output = output or f"{operator.lower()}_{self._number}"
        node = self.onnx.helper.make_node(operator, inputs, [output], name=f"{operator}_{self._number}", **attributes)
        self._enter(node)
        return output

    def remove(self, node: "NodeProto") -> None:
        """Take a node out; who reads what it made must be given something else."""
        del self._nodes[id(node)]
        for tensor in node.output:
            self._made_by.pop(tensor, None)
        for tensor in self._read_by(node):
            self._used_by[tensor].remove(node)

    def replace(self, node: "NodeProto", operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Put another node in the place of one with a single output."""
        self.remove(node)
        return self.add(operator, inputs, node.output[0], **attributes)

    def set_inputs(self, node: "NodeProto", inputs: Sequence[str]) -> None:
        """Have a node read other tensors."""
        for tensor in self._read_by(node):
            self._used_by[tensor].remove(node)
        del node.input[:]
        node.input.extend(inputs)
        for tensor in self._read_by(node):
            self._used_by[tensor].append(node)

    def set_attributes(self, node: "NodeProto", **attributes: Any) -> None:
        """Give a node these attributes besides its others; None takes one away."""
        kept = self.attributes(node) | attributes
        del node.attribute[:]
        made = (self.onnx.helper.make_attribute(key, value) for key, value in kept.items() if value is not None)
        node.attribute.extend(made)

    def bypass(self, node: "NodeProto", tensor: str) -> bool:
        """Have all users of a node read `tensor` instead.

        False for a node that makes a result of the graph, or what the body of a loop reads.
        """
        made = node.output[0]
        if made in self.results or any(made in self._captured(user) for user in self.users(made)):
            return False
        for user in self.users(made):
            self.set_inputs(user, [tensor if one == made else one for one in user.input])
        self.remove(node)
        return True

    # Whole graph ----------------------------------------------------------------------------------------------

    def infer(self) -> None:
        """Infer the shapes and types of all tensors anew."""
        inferred = self.onnx.shape_inference.infer_shapes(self.written(), data_prop=True).graph
        self.shapes, self.types = {}, {}
        for one in (*inferred.value_info, *inferred.input, *inferred.output):
            kind = one.type.tensor_type
            self.types[one.name] = kind.elem_type
            if kind.HasField("shape"):
                sides = kind.shape.dim
                self.shapes[one.name] = [side.dim_value if side.HasField("dim_value") else None for side in sides]
        for name, array in self.constants.items():
            self.types[name] = self.onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            self.shapes[name] = list(array.shape)

    def sweep(self) -> None:
        """Remove what leads to no result."""
        waiting = list(self.nodes)
        while waiting:
            node = waiting.pop()
            is_read = any(self._used_by.get(one) or one in self.results for one in node.output)
            if id(node) in self._nodes and not is_read:
                waiting += [self._made_by[one] for one in self._read_by(node) if one in self._made_by]
                self.remove(node)

    def written(self) -> "ModelProto":
        """The model with the nodes in order and the constants that they read."""
        graph = self.model.graph
        ordered = self._ordered()
        used = {one for node in ordered for one in self._read_by(node)}
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(ordered)
        make = self.onnx.numpy_helper.from_array
        graph.initializer.extend(make(array, name) for name, array in self.constants.items() if name in used)
        return self.model

    def _ordered(self):
        known = {"", *self.constants, *(one.name for one in self.model.graph.input)}
        missing = {id(node): self._read_by(node) - known for node in self.nodes}
        ready = collections.deque(node for node in self.nodes if not missing[id(node)])
        ordered = []
        while ready:
            node = ready.popleft()
            ordered.append(node)
            for made in node.output:
                for user in self._used_by.get(made, ()):
                    waits = missing[id(user)]
                    waits.discard(made)
                    if not waits:
                        ready.append(user)
        return ordered

    def _enter(self, node):
        self._nodes[id(node)] = node
        for tensor in node.output:
            self._made_by[tensor] = node
        for tensor in self._read_by(node):
            self._used_by[tensor].append(node)

    def _read_by(self, node):
        """Names of the tensors of this graph that a node reads."""
        return {*node.input, *self._captured(node)}

    def _captured(self, node):
        """Names that the bodies of a node (of a loop, of a branch) read from around it."""
        bodies = [one.g for one in node.attribute if one.type == self.onnx.AttributeProto.GRAPH]
        names = set()
        for body in bodies:
            made = {one.name for one in (*body.input, *body.initializer)}
            made.update(output for inside in body.node for output in inside.output)
            read = {one.name for one in body.output}.union(*(self._read_by(inside) for inside in body.node))
            names |= read - made - {""}
        return names
