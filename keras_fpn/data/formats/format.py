"""Base of annotation formats: how a program's annotations are found, recognised and read, said in one place."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from keras_fpn.console.errors import UserError


class Half(NamedTuple):
    """A half of a data set: its annotations and the folder of its images, as `data.train` and `data.val` name them.

    Attributes:
        annotations: path, or a name such as "tfds:voc/2012@train", that the format recognises.
        images: folder of the image files; "" where the pictures lie in the annotations' own files.
    """

    annotations: str
    images: str


class AnnotationFormat:
    """A form in which programs write annotations; what is read of it has COCO's form.

    A format is a subclass, made known by `register_format`; nothing of it imports TensorFlow before it reads.

    Attributes:
        name: for `--from` and `--to`, such as "voc".
        title: for messages, such as "Pascal VOC XML".
        layout: what its folders look like, for the error where nothing is found in one.
    """

    name: str
    title: str
    layout: str

    def find(self, folder: Path) -> dict[str, Half] | None:
        """The halves in a folder: "train" and "val", or "all" where nothing divides it; further ones, such as "test".

        Returns:
            None where the folder does not look like this format at all.

        Raises:
            UserError: it does, and something is missing or there twice.
        """
        return None

    def find_named(self, name: str) -> dict[str, Half] | None:
        """The halves of what `--data` names otherwise than by a folder, such as "tfds:voc/2012"; see `find`."""
        return None

    def recognises(self, annotations: str) -> bool:
        """Whether a path or name is of annotations in this format; it may not exist. JSON files: see `JsonFormat`."""
        return False

    def images_of(self, annotations: str) -> str | None:
        """The image folder that belongs to annotations, where their place tells; None where it must be given."""
        return None

    def check_there(self, annotations: str) -> None:
        """Refuse annotations that are not there, before anything is read.

        Raises:
            UserError: there are none.
        """
        if not Path(annotations).exists():
            raise UserError(f"{annotations}: there is no such annotation file; check the path")

    def absolute(self, annotations: str) -> str:
        """The name by which the annotations are found from any folder."""
        return os.path.abspath(annotations)

    def files(self, annotations: str) -> Iterable[Path]:
        """The files that the annotations are read from, in a fixed order; a run remembers their content."""
        return [Path(annotations)]

    def read(self, annotations: str, images: str) -> dict[str, Any]:
        """Read annotations as the content of a COCO instances file.

        Args:
            annotations: path or name that `recognises` knows.
            images: folder of the image files.

        Returns:
            `{"images": [{"id", "file_name" relative to `images`, "height", "width"}], "annotations": [{"id",
            "image_id", "category_id", "bbox" x, y, width, height in pixels, ...}], "categories": [{"id", "name"}]}`.
            "iscrowd" 1 marks an object that is neither learnt nor measured. An image that lies in a TFRecord file has
            `"record": {"file": path, "offset": bytes, "key": feature of the encoded image}`. What else the format says
            of an object stays under its own key.

        Raises:
            UserError: something cannot be read; names the file, the entry and the mend.
        """
        raise NotImplementedError


class JsonFormat(AnnotationFormat):
    """A format of one JSON file: recognised by content, which is read once."""

    def matches(self, content: Any) -> bool:
        """Whether the content of a JSON file is of this format."""
        raise NotImplementedError

    def from_json(self, content: Any, annotations: str, images: str) -> dict[str, Any]:
        """Content of a COCO instances file, as `AnnotationFormat.read` gives it, from that of this file.

        Raises:
            UserError: see `AnnotationFormat.read`.
        """
        raise NotImplementedError
