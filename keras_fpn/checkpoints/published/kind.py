"""Base of the kinds of published files; see `PublishedKind`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from keras_fpn.checkpoints.published.identity import Identity

if TYPE_CHECKING:
    from keras_fpn.checkpoints.classes import Classes

_KINDS: "list[type[PublishedKind]]" = []
_Kind = TypeVar("_Kind", bound="PublishedKind")


class PublishedKind:
    """A kind of file that a source publishes.

    A class overrides the attributes and `recognise`, and `classes` if its model tells classes apart.

    Attributes:
        source: "torchvision" or "detectron2".
        architecture: of the model that it becomes, as a configuration calls it; None for a backbone alone.
        words: what it is, for the list of what is read: "Faster R-CNN with a pyramid".
        patterns: of names of tensors. A file is of this kind if each pattern is met, and no kind with more of them is.
        reached: what the source's own weights reach on COCO val2017, by the configuration that they belong to.
        older_names: `((pattern, replacement), ...)` of whole names of tensors in older files of the kind, and what they
            are called today. `patterns` are met under either.
        is_default: whether a file of the source that is of no kind is held against this one, so that what it lacks
            is told tensor by tensor.
    """

    source: str = None  # type: ignore[assignment]
    architecture: str | None = None
    words = ""
    patterns: tuple[str, ...] = ()
    reached: dict[str, str] = {}
    older_names: tuple[tuple[str, str], ...] = ()
    is_default = False

    @classmethod
    def reads(cls, name: str) -> bool:
        """Whether a tensor of this name belongs to the kind."""
        return any(re.search(pattern, name) for pattern in cls.patterns)

    @classmethod
    def is_met(cls, tensors: Mapping[str, np.ndarray]) -> bool:
        """Whether each pattern is met by a name."""
        return all(any(re.search(pattern, name) for name in tensors) for pattern in cls.patterns)

    @classmethod
    def backbone(cls, tensors: Mapping[str, np.ndarray]) -> str | None:
        """Name in a configuration of the backbone of a file of this kind, where the source does not tell it for all.

        None where its blocks make none of ours.
        """
        return None

    @classmethod
    def recognise(cls, tensors: Mapping[str, np.ndarray], backbone: str | None, file: Path) -> Identity:
        """The `Identity` of a file of this kind.

        Args:
            tensors: `{name: array}` with current names.
            backbone: its name in a configuration, "resnet50"; None where the blocks in the file make none.
            file: its path.
        """
        raise NotImplementedError

    @classmethod
    def classes(
        cls,
        source: ModuleType,
        tensors: Mapping[str, np.ndarray],
        class_names: Sequence[str] | None,
        metadata: Mapping[str, str],
        file: Path,
        forced: bool,
    ) -> "tuple[Classes | None, dict[str, Any]]":
        """The `Classes` of a file and the settings that follow from them, or None for a model that knows none.

        Args:
            source: the module of the source.
            tensors: `{name: array}` with current names.
            class_names: what the user says, or None.
            metadata: what the file says.
            file: its path.
            forced: the user says whose file it is: what does not fit is told tensor by tensor.

        Returns:
            `(Classes or None, {"model.group.key": value})`.

        Raises:
            UserError: they do not fit the file.
        """
        return None, {}

    @classmethod
    def are_its_own(cls, classes: "Classes") -> bool:
        """Whether these are the classes of the weights that the source publishes: by default all of COCO."""
        return classes.are_coco

    @classmethod
    def class_rows(cls, tensors: Mapping[str, np.ndarray]) -> int:
        """How many classes the source counts in a file, the background's included where it has a row."""
        raise NotImplementedError


def register_published(kind: type[_Kind]) -> type[_Kind]:
    """Register a `PublishedKind`; a decorator."""
    _KINDS.append(kind)
    return kind


def kinds() -> tuple[type[PublishedKind], ...]:
    """All kinds that are registered."""
    return tuple(_KINDS)


def current_names(source: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`tensors` of a source under the names that their kind has today.

    Two kinds may use one name for different things. A tensor keeps an older name where one of today's name is there,
    too.
    """
    older = kind_of(source, tensors).older_names
    renamed = {}
    for name, tensor in tensors.items():
        new = next((re.sub(pattern, today, name) for pattern, today in older if re.search(pattern, name)), name)
        renamed[name if new in tensors else new] = tensor
    return renamed


def kind_of(source: str, tensors: Mapping[str, np.ndarray]) -> type[PublishedKind]:
    """The kind of a source that a file's names make, the source's default where they make none.

    Of kinds with as many patterns it is the one that more of the tensors belong to.
    """
    own = [kind for kind in _KINDS if kind.source == source]
    met = [kind for kind in own if kind.is_met(tensors)]

    def fit(kind):
        return len(kind.patterns), sum(map(kind.reads, tensors))

    return max(met, key=fit, default=None) or next(kind for kind in own if kind.is_default)
