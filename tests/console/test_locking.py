"""A lock keeps others out, threads and processes, and goes with its process."""

import subprocess
import sys
import threading

import pytest

from keras_fpn.console.locking import locked

# Takes the lock, tells so, and waits to be killed.
HOLDER = """
import sys
from keras_fpn.console.locking import locked
with locked(sys.argv[1]):
    print("taken", flush=True)
    input()
"""


def test_a_thread_waits_for_another(tmp_path):
    order, taken, waits = [], threading.Event(), threading.Event()

    def second():
        taken.wait(10)
        with locked(tmp_path / "lock", waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked(tmp_path / "lock"):
        taken.set()
        assert waits.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_goes_with_a_process_that_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        holder.stdout.readline()
        waited = []

        def tell():
            waited.append(True)
            holder.kill()

        with locked(tmp_path / "lock", tell):
            assert waited == [True]


def test_one_that_is_free_is_taken_without_a_word(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "lock", lambda: pytest.fail("nobody has it")):
            pass
