"""Base of every model that tells classes apart."""

import os
from collections.abc import Sequence
from typing import Any, Self

from keras_fpn.console.errors import UserError
from keras_fpn.models.detector import Detector
from keras_fpn.parts.classes import numbered


class ClassDetector(Detector):
    """A `Detector` that tells K classes apart.

    Args:
        num_classes: K, without background.
        backbone, profile, seed: see `Detector`.
        class_names: K names; "0".."K-1" without.
        category_ids: K ids of the classes in the data set's own numbering; 1..K without.
        **kwargs: see `Detector`.

    Raises:
        UserError: names and ids that do not number K; see `Detector`.
    """

    def __init__(self, num_classes, backbone="resnet50", *, class_names=None, category_ids=None, **kwargs):
        object.__setattr__(self, "classes", numbered(num_classes, class_names, category_ids))
        super().__init__(backbone, **kwargs)

    @classmethod
    def for_data(cls, classes: Any, **settings: Any) -> Self:
        names, ids = list(classes.class_names), list(classes.category_ids)
        return cls(num_classes=len(names), class_names=names, category_ids=ids, **settings)

    @property
    def num_classes(self) -> int:
        """K, without background."""
        return len(self.classes)

    @property
    def categories(self) -> dict[str, int]:
        """See `Detector`."""
        return dict(zip(self.class_names, self.category_ids, strict=True))

    def check_classes(self, class_names: Sequence[str], category_ids: Sequence[int], source: str | os.PathLike) -> None:
        """Refuse annotations whose classes the model was not trained on: their AP would say nothing."""
        theirs = dict(zip(category_ids, class_names, strict=True))
        ours = dict(zip(self.category_ids, self.class_names, strict=True))
        if theirs != ours:
            differing = sorted(theirs.items() ^ ours.items())[0]
            owner = "the annotations" if differing in theirs.items() else "the model"
            raise UserError(
                f"{source}: its {len(theirs)} classes are not the model's {len(ours)}:"
                f" category {differing[0]} {differing[1]!r} is only in {owner};"
                " use the annotations of the model's own data set"
            )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),
            "category_ids": list(self.category_ids),
        }
