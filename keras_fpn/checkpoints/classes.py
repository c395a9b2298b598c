"""Which classes the rows of a file's predictors stand for: COCO's, those the file names, or those the user names."""

import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np

from keras_fpn.checkpoints import torchvision_writing
from keras_fpn.console.errors import UserError
from keras_fpn.data import coco_classes
from keras_fpn.heads.box_head_names import BOXES, CLASS_SCORES


class Classes(NamedTuple):
    """Classes that the rows of a file's predictors stand for."""

    class_names: list[str]
    category_ids: list[int]
    background_logits: int = 1

    @property
    def are_coco(self) -> bool:
        return tuple(self.category_ids) == coco_classes.IDS


def predictor_rows(
    source: ModuleType,
    tensors: Mapping[str, np.ndarray],
    file: str | os.PathLike,
    forced: bool,
    predictors: tuple[str, str] = (CLASS_SCORES, BOXES),
) -> int | None:
    """Rows of the class scores, None where there are none, or none that say anything.

    Args:
        source: `torchvision` or `detectron2`.
        tensors: `{name: array}` of the file.
        file: its path.
        forced: the user says whose file it is: what does not fit is told tensor by tensor.
        predictors: names of the layers of the class scores and of the boxes.

    Raises:
        UserError: the two predictors disagree, unless `forced`.
    """
    scores, boxes = (tensors.get(f"{name}.bias") for name in predictors)
    if scores is None or boxes is None or scores.ndim != 1 or boxes.ndim != 1:
        return None
    if len(scores) < 2:
        raise UserError(f"{file}: {predictors[0]} has no rows for a class and the background; download it again")
    with_box = len(scores) - (0 if source.BACKGROUND_HAS_A_BOX else 1)
    if len(boxes) == 4 * with_box or (len(boxes) == 4 and not source.BACKGROUND_HAS_A_BOX):
        return len(scores)
    if forced:  # the list of what does not fit tells more
        return None
    if len(boxes) == 4:
        raise UserError(
            f"{file}: its boxes are the same for all classes (class-agnostic), which no model of {source.NAME} has"
        )
    raise UserError(
        f"{file}: the predictors disagree: cls_score has {len(scores)} rows, so bbox_pred needs {4 * with_box}, "
        f"not {len(boxes)}"
    )


def classes_of(
    source: ModuleType,
    rows: int | None,
    class_names: Sequence[str] | None,
    metadata: Mapping[str, str],
    file: str | os.PathLike,
) -> Classes:
    """The `Classes` of a detector's file.

    Args:
        source: its source, `torchvision` or `detectron2`.
        rows: of its class scores, or None.
        class_names: what the user says, or None.
        metadata: what the file says.
        file: its path.

    Raises:
        UserError: names that do not number the rows, or none for a detector of other classes than COCO's.
    """
    if class_names is not None:
        return _own_classes(list(class_names), list(range(1, len(class_names) + 1)), rows, file, "--classes names")
    names, ids = torchvision_writing.written_classes(metadata)
    if names:
        if rows != source.COCO_ROWS or tuple(ids) != coco_classes.IDS:
            return _own_classes(names, ids, rows, file, "the file names")
        return Classes(names, ids, source.COCO_ROWS - len(names))
    if rows is None or rows == source.COCO_ROWS:
        names, ids = list(coco_classes.NAMES), list(coco_classes.IDS)
        return Classes(names, ids, source.COCO_ROWS - len(names))
    raise UserError(
        f"{file}: its predictor has {rows} rows, those of COCO have {source.COCO_ROWS}; name the {rows - 1} classes of "
        "a detector of your own in the order of their labels: --classes a,b,c or a text file, one name a line"
    )


def _own_classes(names, ids, rows, file, who):
    if rows is not None and len(names) != rows - 1:
        raise UserError(
            f"{file}: {who} {len(names)} classes, but its predictor has {rows} rows: {rows - 1} and the background"
        )
    return Classes(names, ids)
