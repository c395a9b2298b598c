"""COCO results in a file that is whole at any time, while they are still being found."""

import os
import time

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import write_json

_SHARE = 0.05  # of the time may be spent on writing what there is so far
_LEAST = 2.0  # seconds between two times


class ResultsFile:
    """Results, best first; written now and then, and at the end of the `with`, however it ends.

    Until the first are added, an older file stays.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = path
        self._results: list[dict] = []
        self._begun = False
        self._next = 0.0  # when they are written again

    def __enter__(self) -> "ResultsFile":
        return self

    def __len__(self) -> int:
        return len(self._results)

    def add(self, results: list[dict]) -> None:
        self._begun = True
        self._results += results
        if time.monotonic() >= self._next:
            self._write()

    def __exit__(self, kind, error, traceback) -> None:
        if not self._begun:
            return
        try:
            self._write()
        except UserError:
            if kind is None or not issubclass(kind, Exception):
                raise  # otherwise the first error is the one to tell

    def _write(self):
        start = time.monotonic()
        try:
            write_json(self._path, sorted(self._results, key=lambda result: -result["score"]))
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written ({error.strerror}); make room there") from None
        self._next = time.monotonic() + max(_LEAST, (time.monotonic() - start) / _SHARE)
