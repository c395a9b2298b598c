"""All settings of a model: what is given on top of its profile's, held against the parts that it names.

    defaults of the parts  <-  of the profile  <-  of the member of the family  <-  what is given, layer by layer

A key that no chosen part reads is refused. Where a later layer names another part (`--set model.backbone.name=...` on
top of a file), what the earlier ones said to the former part alone is dropped with it.
"""

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt, ValidationError, create_model

from keras_fpn.backbones.settings import default_pixels
from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest
from keras_fpn.models.architectures import ARCHITECTURES, Architecture
from keras_fpn.parts.choice import Choice
from keras_fpn.parts.settings import PROFILES, Settings, first_problem


class ModelSettings(Settings):
    """The detector: a profile and the differences from it, group by group.

    `num_classes` may stay empty for training: the annotations say it. `architecture`: a member of the family; each has
    the groups of its own stages and of the parts that it names.
    """

    architecture: str = "faster_rcnn"
    profile: str = "detectron2"
    num_classes: PositiveInt | None = None

    if TYPE_CHECKING:  # the groups, see `schema`

        def __getattr__(self, name: str) -> Any: ...

    def groups(self) -> dict[str, dict]:
        """`{group: {key: value}}`, complete, of every group."""
        return {name: dict(values) for name, values in self.model_dump().items() if name not in _OF_THE_MODEL}

    def differences(self) -> dict[str, dict]:
        """Differences from the profile, `{group: {key: value}}`, as a `Detector` takes it."""
        groups, kinds = self.groups(), ARCHITECTURES[self.architecture].groups
        chosen = {
            name: {kind.key: groups[name][kind.key]} for name, kind in kinds.items() if isinstance(kind, Choice)
        }
        theirs = complete(self.architecture, self.profile, [("", {})])
        base = complete(self.architecture, self.profile, [("", chosen)])
        return {
            group: {key: value for key, value in values.items() if value != base[group][key]}
            | {key: value for key, value in chosen.get(group, {}).items() if value != theirs[group].get(key)}
            for group, values in groups.items()
        }

    def as_architecture(self, name: str) -> "ModelSettings":
        """The settings of another member of the family, with what both have."""
        groups = {key: value for key, value in self.groups().items() if key in ARCHITECTURES[name].groups}
        own = {"architecture": name, "profile": self.profile, "num_classes": self.num_classes}
        return validated(own | complete(name, self.profile, [("", groups)]))


_OF_THE_MODEL = tuple(ModelSettings.model_fields)


def check_profile(profile: str) -> None:
    """Refuse a profile that there is none of.

    Raises:
        UserError: names the nearest.
    """
    if profile not in PROFILES:
        raise UserError(f"profile: unknown value {profile!r}{nearest(profile, PROFILES)}")


def resolve(architecture: str, profile: str, groups: Mapping[str, Any] | None = None) -> dict[str, dict]:
    """The complete, validated settings of a model.

    Args:
        architecture: name of a member of the family.
        profile: "detectron2", "torchvision" or "paper".
        groups: `{group: {key: value} or None}`; a group names only what differs from the profile.

    Returns:
        A new nested dict, one entry for each group of the architecture.

    Raises:
        UserError: for an unknown profile, group, part or key (the nearest valid name is in the message), or a value
            that is none.
    """
    check_profile(profile)
    settings = complete(architecture, profile, [("", groups or {})])
    try:
        return validated({"architecture": architecture, "profile": profile} | settings).groups()
    except ValidationError as error:
        path, problem = first_problem(error)
        raise UserError(f"{'.'.join(path)}: {problem}") from None
    except ValueError as error:
        raise UserError(str(error)) from None


def complete(architecture: str, profile: str, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, dict]:
    """The defaults of an architecture under a profile with layers on top, not validated.

    Args:
        layers: `[(label, {group: {key: value} or None}), ...]`, later ones win; labels begin the errors.

    Raises:
        UserError: an unknown group, part or key.
    """
    member = ARCHITECTURES[architecture]
    for label, groups in layers:
        for group in groups:
            if group not in member.groups:
                raise UserError(f"{label}{group}: {no_such_group(group, member)}")
    layers = [(f"{architecture}: ", member.defaults), *layers]
    merged = {
        group: _merged(group, kind, profile, [(label, groups.get(group)) for label, groups in layers])
        for group, kind in member.groups.items()
    }
    own_pixels = default_pixels(merged["backbone"]["name"])
    if own_pixels is not None:
        given = [(key, value) for _, groups in layers for key, value in (groups.get("pixels") or {}).items()]
        merged["pixels"] |= copy.deepcopy(own_pixels) | dict(given)
    return merged


def no_such_group(group: str, member: Architecture) -> str:
    """Why an architecture does not take a group, in words."""
    known = {name for each in ARCHITECTURES for name in each.groups}
    if group in known:
        return f"{member.name} has no such stage; leave it out"
    if group == "weights":
        return "are no settings of a model; in a configuration give them to training.weights"
    return f"unknown group of settings{nearest(group, member.groups)}"


def _merged(group, kind, profile, layers):
    """The defaults of one group with layers `[(label, {key: value} or None), ...]` on top."""
    for label, values in layers:
        if values is not None and not isinstance(values, Mapping):
            raise UserError(f"{label}{group}: expected keys below it, found {values!r}")
    layers = [(label, values or {}) for label, values in layers]
    deciding, part = -1, None
    if isinstance(kind, Choice):
        named = [index for index, (_, values) in enumerate(layers) if values.get(kind.key) is not None]
        deciding = named[-1] if named else -1
        part = _chosen(kind, profile, *layers[deciding]) if named else kind.chosen(profile)
    settings = (part.settings if part else kind).defaults(profile)
    if part:
        settings[kind.key] = part.name
    for index, (label, values) in enumerate(layers):
        for key, value in values.items():
            if key in settings:
                settings[key] = copy.deepcopy(value) if not part or key != kind.key else part.name
            elif not (index < deciding and kind.readers_of(key)):
                raise UserError(f"{label}{group}.{key}: {unread(key, kind, part, settings)}")
    return settings


def _chosen(kind, profile, label, values):
    try:
        return kind.chosen(profile, values[kind.key])
    except UserError as error:
        raise UserError(f"{label}{error}") from None


def unread(key: str, kind: type[Settings] | Choice, part: Any, settings: Mapping[str, Any]) -> str:
    """Why a group does not take a key, in words."""
    readers = kind.readers_of(key) if isinstance(kind, Choice) else []
    if not readers:
        return f"unknown key{nearest(key, settings)}"
    return f"{part.name} does not read it, only {_listed(readers)} would; leave it out"


def _listed(names, most=6):
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} ..."


def validated(tree: Mapping[str, Any]) -> ModelSettings:
    """The settings of a tree `{"architecture", "profile", "num_classes", group: {...}, ...}`, complete and checked.

    Raises:
        ValidationError: a value is none, its path is in the error.
        ValueError: groups do not fit each other; begins with the key.
    """
    member = ARCHITECTURES[tree["architecture"]]
    groups = {group: tree[group] for group in member.groups if group in tree}
    settings = schema(member.name, chosen_settings(member, groups)).model_validate(tree)
    plain = settings.groups()
    for check in member.checks:
        check(plain)
    return settings


def chosen_settings(member: Architecture, groups: Mapping[str, Any]) -> tuple[tuple[str, type[Settings]], ...]:
    """`((group, Settings), ...)` of the parts that some groups of an `Architecture` name."""
    return tuple(
        (group, kind.parts[groups[group][kind.key]].settings if isinstance(kind, Choice) else kind)
        for group, kind in member.groups.items()
        if group in groups
    )


@functools.lru_cache
def schema(name: str, settings: tuple[tuple[str, type[Settings]], ...]) -> type[ModelSettings]:
    """`ModelSettings` of an architecture's name with a field for each group: `((group, Settings), ...)`."""
    fields: dict[str, Any] = {key: (each, ...) for key, each in settings}
    return create_model(f"ModelSettings_{name}", __base__=ModelSettings, **fields)
