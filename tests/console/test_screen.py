"""Import of TensorFlow by programs: with what it is started."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "expected"), ((None, "1"), ("0", "0")))
def test_onednn_is_used_unless_it_is_said_otherwise(given, expected):
    environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {} if given is None else {"TF_ENABLE_ONEDNN_OPTS": given}
    line = (
        "import sys, types; sys.modules['tensorflow'] = types.ModuleType('tensorflow')\n"
        "from keras_fpn.console.screen import import_quietly; import_quietly()\n"
        "import os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    )
    done = subprocess.run([sys.executable, "-c", line], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
