"""The operators of a TFLite file.

    python -m keras_fpn.export.tflite.operators FILE
"""

import collections
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_fpn.console import extras
from keras_fpn.console.errors import UserError


def operator_counts(content: bytes, source: str | os.PathLike = "content") -> dict[str, int]:
    """How often each operator occurs, in all subgraphs.

    Args:
        content: bytes of a TFLite file.
        source: where they come from, for the error.

    Returns:
        `{name: count}`, the most frequent first; a custom operator is named "CUSTOM: its name".

    Raises:
        UserError: it is no TFLite file.
    """
    schema = extras.require("ai_edge_litert.schema_py_generated", extra="tflite")
    if not schema.Model.ModelBufferHasIdentifier(content, 0):
        raise UserError(f"{source}: no TFLite file; give one that keras-fpn export --format tflite wrote")
    model = schema.Model.GetRootAs(content, 0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    codes = [_operator_name(model.OperatorCodes(index), names) for index in range(model.OperatorCodesLength())]
    counts: collections.Counter[str] = collections.Counter()
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        counts.update(codes[graph.Operators(place).OpcodeIndex()] for place in range(graph.OperatorsLength()))
    return dict(counts.most_common())


def _operator_name(code, names):
    # Old files have the code in a byte, new ones in an integer, and the other one is 0 or 127.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if names.get(number) != "CUSTOM":
        return names.get(number, f"operator {number}")
    return f"CUSTOM: {(code.CustomCode() or b'?').decode()}"


def check_builtin(content: bytes, path: str | os.PathLike) -> None:
    """Refuse a file that needs more than LiteRT's builtin operators.

    Args:
        content: bytes of a TFLite file.
        path: its name, for the error.

    Raises:
        UserError: naming the operators that are not builtin.
    """
    foreign = [name for name in operator_counts(content, path) if name.startswith("CUSTOM")]
    if foreign:
        raise UserError(
            f"{path}: needs operators that LiteRT does not have built in: {', '.join(foreign)};"
            " export a model of this package's own stages"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the operators of a file and how many there are of each."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m keras_fpn.export.tflite.operators FILE", file=sys.stderr)
        return 2
    try:
        counts = operator_counts(Path(arguments[0]).read_bytes(), arguments[0])
    except (OSError, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, count in counts.items():
        print(f"{count:6}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
