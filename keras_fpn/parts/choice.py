"""A group of settings whose keys depend on which part it names."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keras_fpn.parts.registry import Part, Registry


@dataclass(frozen=True)
class Choice:
    """A group that names one of several parts, each with settings of its own.

    Attributes:
        parts: those there are.
        key: the setting of the group that names the part.
        default: name of the part where none is given.
        profiles: `{profile: name}` where a profile has another.
    """

    parts: Registry
    key: str
    default: str
    profiles: Mapping[str, str] = field(default_factory=dict)

    def chosen(self, profile: str, given: str | None = None) -> Part:
        """The part of a name, or that of the profile where none is given.

        Raises:
            UserError: there is none of this name.
        """
        return self.parts[self.profiles.get(profile, self.default) if given is None else given]

    def readers_of(self, key: str) -> list[str]:
        """Names of the parts that read a setting."""
        return [part.name for part in self.parts if key in part.settings.model_fields]
