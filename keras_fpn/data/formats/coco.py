"""COCO instances files."""

from pathlib import Path

from keras_fpn.data.formats import coco_layouts
from keras_fpn.data.formats.format import AnnotationFormat, Half
from keras_fpn.data.formats.siblings import halves_beside


class Coco(AnnotationFormat):
    """COCO instances files, in the folders that COCO itself and labelling tools lay them into: see `coco_layouts`."""

    name, title = "coco", "COCO instances"
    layout = (
        "annotations/instances_train*.json and instances_val*.json beside train*/ and val*/, or"
        " train/_annotations.coco.json and valid/_annotations.coco.json, or COCO's JSON files in other places by the"
        " names of halves (train.json, val/labels.json)"
    )

    def find(self, folder: Path) -> dict[str, Half] | None:
        """See `AnnotationFormat`."""
        return coco_layouts.find(folder)

    def images_of(self, annotations: str) -> str | None:
        """See `AnnotationFormat`."""
        wanted = Path(annotations).absolute()
        halves = halves_beside(self, annotations).values()
        return next((half.images for half in halves if Path(half.annotations).absolute() == wanted), None)
