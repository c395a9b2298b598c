"""The TFDS data sets that are known: where each has its boxes, labels and ids, and how its boxes are meant.

Read off the builders of tensorflow-datasets 4.9.10. A further one is an entry of `KNOWN`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keras_fpn.data.coco_classes import CLASSES
from keras_fpn.data.tfds.keys import Keys


@dataclass(frozen=True)
class Known:
    """A data set of TFDS.

    Attributes:
        keys: its features.
        category_ids: `{name of a class: id}`; classes count from 1 where there are none.
        is_upside_down: y runs upwards.
        first_pixel: 1 where the data set counts pixels from 1 and its right and bottom ones belong to the box.
        leaves_out_empty: boxes without width or height are no objects.
        unlabelled: splits whose images have no annotations.
        notes: what to know, a sentence each.
        refused: why average precision as COCO measures it would be wrong.
    """

    keys: Keys = Keys()
    category_ids: Mapping[str, int] = field(default_factory=dict)
    is_upside_down: bool = False
    first_pixel: int = 0
    leaves_out_empty: bool = False
    unlabelled: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refused: str = ""


_COCO = Known(
    keys=Keys(
        objects_key="objects", box_key="bbox", label_key="label", ignore_key="is_crowd", object_id_key="id",
        area_key="area", image_key="image", image_id_key="image/id", file_name_key="image/filename",
    ),
    category_ids={name: number for number, name in CLASSES.items()},
    unlabelled=("test", "test2015"),
    notes=(
        "areas are truncated to whole pixels, so that objects may move between small, medium and large; AP, AP50 and"
        " AP75 stay the same, and COCO's own file by --annotations (annotations= in Python) gives all of them",
        "there are no masks",
    ),
)  # fmt: skip
_VOC = Known(
    keys=Keys(
        objects_key="objects", box_key="bbox", label_key="label", ignore_key="is_difficult", image_key="image",
        file_name_key="image/filename",
    ),
    first_pixel=1,
    notes=("difficult objects are neither learnt nor measured; VOC's own metric is near AP50, not AP",),
)  # fmt: skip

KNOWN = {
    "coco/2014": _COCO,
    "coco/2017": _COCO,
    "voc/2007": _VOC,
    "voc/2012": Known(**{**vars(_VOC), "unlabelled": ("test",)}),
    "kitti": Known(
        keys=Keys(
            objects_key="objects", box_key="bbox", label_key="type", image_key="image", file_name_key="image/file_name"
        ),
        is_upside_down=True,
        notes=("KITTI's own metric (one IoU a class, three difficulties) is not COCO's AP",),
    ),
    "wider_face": Known(
        keys=Keys(
            objects_key="faces", box_key="bbox", ignore_key="invalid", class_name="face", image_key="image",
            file_name_key="image/filename",
        ),
        leaves_out_empty=True,
        unlabelled=("test",),
        notes=(
            "invalid faces are neither learnt nor measured; WIDER FACE's own metric (easy, medium, hard) is not COCO's",
        ),
    ),
    "open_images_v4": Known(
        keys=Keys(
            objects_key="bobjects", box_key="bbox", label_key="label", ignore_key="is_group_of", image_key="image",
            file_name_key="image/filename",
        ),
        notes=(
            "boxes of groups are neither learnt nor measured; Open Images' own metric knows the hierarchy of its"
            " classes and which of them were looked for in an image, and COCO's AP does not",
        ),
    ),
    "lvis": Known(
        keys=Keys(
            objects_key="objects", box_key="bbox", label_key="label", object_id_key="id", area_key="area",
            image_key="image", image_id_key="image/id",
        ),
        unlabelled=("test",),
        notes=("only some classes were looked for in each image, and what was not marked is learnt as background",),
        refused=(
            "LVIS looked for only some classes in each image and is measured by a metric that knows which; COCO's AP"
            " would be wrong"
        ),
    ),
}  # fmt: skip


def known(name: str, config: str = "") -> Known:
    """Look up a data set, such as "voc" in its configuration "2012"; one that is not in `KNOWN` has no keys."""
    return KNOWN.get(f"{name}/{config}", KNOWN.get(name, Known()))
