"""The page of all settings, docs/settings.md, made of the `Settings` that the parts state.

    python -m keras_fpn.config.settings_page > docs/settings.md
"""

import inspect
import json
import typing

from pydantic.fields import FieldInfo

from keras_fpn.config.training_settings import FourStepSettings, TrainingSettings
from keras_fpn.data.augmentations import AUGMENTATIONS, AugmentationSettings
from keras_fpn.data.fields import OBJECT_FIELDS
from keras_fpn.data.settings import SplitSettings, with_field_settings
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.parts.choice import Choice
from keras_fpn.parts.settings import PROFILES, Settings

_HEAD = """# Settings

Every key that a configuration can hold, by section, made of what the parts state beside themselves. After a change of
one run `python -m keras_fpn.config.settings_page > docs/settings.md` (a test holds the two against each other).
A model has the groups of its architecture, and a group the keys of the part that it names. A value is the profile's,
or the architecture's where that has one of its own, then the YAML file's, then `--set`'s.
"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD, "## model\n", _architectures()]
    for group, kinds in _groups().items():
        for kind, members in kinds:
            for title, settings in _variants(group, kind):
                of = f" ({', '.join(members)})" if len(kinds) > 1 and not isinstance(kind, Choice) else ""
                parts.append(f"### model.{title}{of}\n\n{_text(settings)}\n\n{_table(settings)}")
    for name, settings in (
        ("data", with_field_settings()), ("data.train, data.val", SplitSettings), ("training", TrainingSettings),
        ("four_step", FourStepSettings),
    ):  # fmt: skip
        parts.append(f"## {name}\n\n{_text(settings)}{_of_fields() if name == 'data' else ''}\n\n{_table(settings)}")
        parts += _augmentations() if name == "data" else []
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _groups():
    """`{group: [(Settings or Choice, names of the members that have it so), ...]}`; the same parts are one `Choice`."""
    groups: dict[str, list[tuple[typing.Any, list[str]]]] = {}
    for member in ARCHITECTURES:
        for group, kind in member.groups.items():
            known = groups.setdefault(group, [])
            same = [names for other, names in known if other is kind or _parts(other) is _parts(kind) is not None]
            if same:
                same[0].append(member.name)
            else:
                known.append((kind, [member.name]))
    return groups


def _parts(kind):
    return kind.parts if isinstance(kind, Choice) else None


def _architectures():
    rows = "\n".join(f"| `{each.name}` | {', '.join(each.groups)} | {_own(each)} |" for each in ARCHITECTURES)
    return f"| `architecture` | groups | values of its own |\n|---|---|---|\n{rows}\n"


def _own(member):
    """Values that an `Architecture` has otherwise than the groups say."""
    values = ((f"{group}.{key}", value) for group, keys in member.defaults.items() for key, value in keys.items())
    return ", ".join(f"`{key}={json.dumps(value)}`" for key, value in values)


def _of_fields():
    """Texts of the settings of the data that fields of the objects declare."""
    texts = [_text(field.settings) for field in OBJECT_FIELDS if field.settings.model_fields]
    return "".join(f"\n{text}" for text in texts)


def _augmentations():
    yield f"### data.augment\n\n{_text(AugmentationSettings)} They are done in this order.\n"
    for each in AUGMENTATIONS:
        texts = [_text(each)] + ([] if each.settings is AugmentationSettings else [_text(each.settings)])
        yield "\n\n".join([f"### data.augment.{each.name}", *texts, _table(each.settings)])


def _variants(group, kind):
    """`(title, Settings)` of a group, of each kind of part where it names one."""
    if not isinstance(kind, Choice):
        yield group, kind
        return
    named = {}
    for part in kind.parts:
        named.setdefault(part.settings, []).append(part.name)
    for settings, names in named.items():
        shown = ", ".join(names[:7]) + (" ..." if len(names) > 7 else "")
        yield f"{group} ({kind.key}: {shown})", settings


def _text(settings):
    return inspect.cleandoc(settings.__doc__ or "")


def _table(settings):
    defaults = {profile: settings.defaults(profile) for profile in PROFILES}
    own = [profile for profile in PROFILES[1:] if settings.profiles.get(profile)]
    rows = [("key", "values", "default", *own)]
    rows += [
        (f"`{name}`", _values(field), *(_shown(defaults[profile].get(name)) for profile in (PROFILES[0], *own)))
        for name, field in settings.model_fields.items()
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def _values(field: FieldInfo):
    text = _type_name(field.annotation)
    limits = {"gt": "above", "ge": "from", "lt": "below", "le": "up to"}
    for limit in field.metadata:
        text += "".join(f", {word} {getattr(limit, key)}" for key, word in limits.items() if hasattr(limit, key))
    return text


def _type_name(annotation):
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " \\| ".join(map(str, arguments))
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin in (list, dict):
        return f"{origin.__name__} of {' to '.join(map(_type_name, arguments))}"
    if arguments:
        return " \\| ".join(map(_type_name, arguments))
    return "null" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _shown(value):
    if isinstance(value, dict) and any(isinstance(each, Settings) for each in value.values()):
        return f"all off: {', '.join(value)}"
    return "null" if value is None else str(value).replace("|", "\\|").replace("'", "")


if __name__ == "__main__":
    print(page(), end="")
