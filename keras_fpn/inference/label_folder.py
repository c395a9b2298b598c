"""The folder of the files that a labelling program opens."""

from collections.abc import Sequence
from pathlib import Path, PurePath

from keras_fpn.console.errors import UserError
from keras_fpn.console.files import check_empty, check_output
from keras_fpn.inference.images import ImageDetections
from keras_fpn.inference.picture_names import same_name
from keras_fpn.inference.result_forms import PRE_LABELS, PreLabels


class LabelFolder:
    """Where the pre-labels of pictures go; nothing in it is overwritten, since people correct such files.

    Args:
        kind: one of `PRE_LABELS`.
        folder: empty, or made when the first file is written.
        files: all pictures.
        drawn: of each the path of its drawing in a folder of all, see `picture_names.names_for`.

    Raises:
        UserError: there is no such format, the folder cannot be written or is not empty, or two pictures would have one
            file.
    """

    def __init__(self, kind: str, folder: str, files: Sequence[Path], drawn: Sequence[PurePath]):
        self._type, self.path = PRE_LABELS[kind].load(), Path(folder)
        check_empty(self.path)
        check_output(folder, folder=True)
        self._names = [
            name.parent / f"{file.stem}{self._type.ending}" for file, name in zip(files, drawn, strict=True)
        ]
        self._writer: PreLabels | None = None
        self.count = 0
        taken: dict[str, Path] = {}
        for file, name in zip(files, self._names, strict=True):
            other = taken.setdefault(same_name(name), file)
            if other is not file:
                raise UserError(f"{other}, {file}: both would be {self.path / name}; rename one, or detect them apart")

    def add(self, one: ImageDetections, number: int) -> None:
        """Write the file of the picture of this number.

        Raises:
            UserError: it cannot be written.
        """
        try:
            if self._writer is None:
                self._writer = self._type(self.path, one.known)
            self._writer.add(one, self._names[number])
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); make room there") from None
        self.count += 1

    def note(self) -> str:
        """A line about what the files could not say; "" if nothing."""
        return "" if self._writer is None else self._writer.note()
