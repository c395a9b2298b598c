"""Data sets of TensorFlow Datasets, by name or by folder."""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_fpn.console.errors import UserError
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.tfds.names import Name, is_name, read_name
from keras_fpn.data.tfds.prepared import Prepared, find_prepared, holds_prepared


class Tfds(AnnotationFormat):
    """TFDS data sets: `tfds:voc/2012`, or the folder of one; of its annotations `tfds:voc/2012@train`.

    Their pictures stay in their TFRecord files.
    """

    name, title = "tfds", "TFDS data set"
    layout = "dataset_info.json of a TFDS data set"

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        return _halves(Name(str(folder))) if holds_prepared(folder) else None

    def find_named(self, name: str) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        return _halves(read_name(name)) if is_name(name) else None

    def recognises(self, annotations: str) -> bool:
        """See `AnnotationFormat`."""
        return is_name(annotations)

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        return ""

    def check_there(self, annotations: str) -> None:
        """See `AnnotationFormat`."""
        from keras_fpn.data.tfds.package import check_installed
        from keras_fpn.data.tfds.reading import check_readable

        name = read_name(annotations)
        check_readable(Prepared(find_prepared(name.data)), name)
        if name.original is not None and not Path(name.original).exists():
            raise UserError(f"{name.original}: there is no such annotation file; check the path")
        check_installed()

    def absolute(self, annotations: str) -> str:
        """See `AnnotationFormat`."""
        name = read_name(annotations)
        original = name.original and os.path.abspath(name.original)
        return str(dataclasses.replace(name, data=str(find_prepared(name.data)), original=original))

    def files(self, annotations: str) -> Iterable[Path]:
        """See `AnnotationFormat`. Not the TFRecord files: how many examples and bytes they hold, the others say."""
        name = read_name(annotations)
        own = [] if name.original is None else [Path(name.original)]
        return [*Prepared(find_prepared(name.data)).described_by(), *own]

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """See `AnnotationFormat`."""
        from keras_fpn.data.tfds.reading import read_in_place

        return read_in_place(read_name(annotations))


def _halves(name):
    if name.split is not None:
        return {"all": Half(str(name), "")}
    prepared = Prepared(find_prepared(name.data))
    halves = {half: Half(str(dataclasses.replace(name, split=split)), "") for half, split in prepared.halves().items()}
    return halves if "val" in halves else {"all" if half == "train" else half: each for half, each in halves.items()}
