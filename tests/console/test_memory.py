"""Want of memory, told in a line."""

import numpy as np
import pytest

from keras_fpn.commands import main as cli
from keras_fpn.console.memory import is_out_of_memory, machine_memory, out_of_memory


class ResourceExhaustedError(Exception):
    """As TensorFlow's is called."""


def of_numpy():
    with pytest.raises(MemoryError) as caught:
        np.zeros((10**9, 10**9))
    return caught.value


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError(), "out of memory; take"),
        (of_numpy(), f"for an array of {10**9} x {10**9}; take"),
        (ResourceExhaustedError("OOM when allocating tensor with shape[2,64,800] and type float"), "of 2 x 64 x 800;"),
    ],
)
def test_it_is_one_line_with_the_mend(error, what, monkeypatch, capsys):
    assert is_out_of_memory(error) and what in str(out_of_memory(error))
    monkeypatch.setattr(cli.evaluate, "check_model", lambda *_: (_ for _ in ()).throw(error))
    assert cli.main(["evaluate", "a.keras"]) == 1
    printed = capsys.readouterr().err
    assert what in printed and printed.count("\n") == 1 and "data.batch_size" in printed


def test_other_errors_are_others():
    assert not is_out_of_memory(ValueError("shape"))
    assert machine_memory() is None or machine_memory() > 2**28
