"""Identity of a published file."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Identity:
    """Identity of a file.

    Attributes:
        source: "torchvision" or "detectron2".
        architecture: of the model that it becomes, as a configuration calls it; None for a backbone alone.
        title: the model's name at its source.
        config: shipped configuration that it belongs to.
        settings: `{"model.group.key": value}`, what the file differs in from that configuration.
        notes: what the keys cannot tell and the user should know.
    """

    source: str
    architecture: str | None
    title: str
    config: str
    settings: Mapping = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
