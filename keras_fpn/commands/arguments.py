"""Options that several commands have, and the kinds of values that they take."""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_fpn.console.errors import UserError

if TYPE_CHECKING:
    from keras_fpn.data.sources import Names


def add_extension(parser: argparse.ArgumentParser) -> None:
    text = "module or .py file that brings parts of its own, see docs/extending.md"
    parser.add_argument(
        "--extension", metavar="MODULE_OR_FILE", nargs="+", action="extend", default=[], dest="extensions", help=text
    )


def with_extensions(arguments: argparse.Namespace) -> list[str]:
    """The overrides of a new run, which names the extensions that it was given."""
    named = [f"extensions={json.dumps(arguments.extensions)}"] if arguments.extensions else []
    return [*named, *arguments.overrides]


def add_set(parser: argparse.ArgumentParser) -> None:
    _add_overrides(parser, "override settings, for example training.steps=1000")


_READING = ("data.boxes", "data.crowds", "data.invalid_boxes", "data.classes")


_CACHE = "data.cache"


def add_reading(parser: argparse.ArgumentParser) -> None:
    names = ", ".join((*_READING, _CACHE))
    _add_overrides(parser, f"how annotations and pictures are read: {names}, for example data.boxes=xyxy")


def _add_overrides(parser, text):
    parser.add_argument(
        "--set", metavar="KEY=VALUE", nargs="+", action="extend", default=[], dest="overrides", help=text
    )


def reading(overrides: list[str], otherwise: Mapping[str, Any]) -> dict[str, Any]:
    """Return how annotations are read, arguments of `read_coco`: as `--set` says, or `otherwise`.

    Raises:
        UserError: another setting, or a value that it cannot have.
    """
    from keras_fpn.config.loading import load_config
    from keras_fpn.data.settings import with_field_settings

    keys = [item.partition("=")[0] for item in overrides]
    of_fields = [f"data.{key}" for key in with_field_settings()().field_settings]
    known = (*_READING, *of_fields, _CACHE)
    for item, key in zip(overrides, keys, strict=True):
        if key not in known:
            raise UserError(f"--set {item}: only {', '.join(known)} can be set here; leave it out")
    given = load_config(overrides=overrides).data.reading
    names = [key.removeprefix("data.") for key in keys if key != _CACHE]
    told = {name: given["field_settings"][name] for name in names if name not in given}
    chosen = dict(otherwise) | {name: given[name] for name in names if name in given}
    return chosen | {"field_settings": {**chosen.get("field_settings", {}), **told}} if told else chosen


def cache(overrides: list[str], otherwise: bool = False) -> bool:
    """Return whether pictures are kept in memory: as `--set` says, which `reading` has checked, or `otherwise`."""
    from keras_fpn.config.loading import load_config

    is_said = any(item.startswith(f"{_CACHE}=") for item in overrides)
    return load_config(overrides=overrides).data.cache if is_said else otherwise


def class_choice(words: list[str]) -> list[str] | dict[str, list[str]]:
    """Return `data.classes` as `--classes` says it: names that stay as they are, or NEW=OLD,OLD among them.

    Raises:
        UserError: a name is empty, or given twice.
    """
    chosen: dict[str, list[str]] = {}
    for word in words:
        name, equals, old = word.partition("=")
        names = [each.strip() for each in old.split(",")] if equals else [name]
        if not name or not all(names):
            raise UserError(f"--classes {word}: write NAME, or NEW=OLD,OLD: --classes person vehicle=car,bus")
        if name in chosen:
            raise UserError(f"--classes {word}: {name!r} is given twice; list its classes once: {name}=OLD,OLD")
        chosen[name] = names
    return list(chosen) if all(old == [name] for name, old in chosen.items()) else chosen


def check_one_choice(arguments: argparse.Namespace) -> None:
    """Refuse `--classes` beside `--set data.classes`.

    Raises:
        UserError: both are given.
    """
    if arguments.classes and any(item.startswith("data.classes=") for item in arguments.overrides):
        raise UserError("--classes and --set data.classes both choose classes; give one of them")


def check_model(path: str, command: str) -> None:
    """Refuse what is no `.keras` file or run folder, before TensorFlow is imported.

    Raises:
        UserError: there is nothing of the name, or it is something else; says what takes it.
    """
    from keras_fpn.checkpoints.published_files import not_yet_a_model
    from keras_fpn.export import artefacts

    place = Path(path)
    if not path or not place.exists():
        raise UserError(
            f"{path or repr(path)}: no such model; give a .keras file or the folder of a run{not_yet_a_model(path)}"
        )
    if artefacts.format_of(place) is not None:
        raise UserError(
            f"{path}: an exported model, and {command} takes a .keras file or the folder of a run; keras-fpn detect"
            " runs it, keras-fpn evaluate measures it"
        )
    if place.is_dir() and not (place / "model.keras").is_file():
        raise UserError(f"{path}: no run folder, it has no model.keras; give a .keras file or the folder of a run")


def check_config_or_model(name: str, overrides: list[str], command: str) -> None:
    """Refuse what is neither a configuration nor a model, before TensorFlow is imported.

    Raises:
        UserError: see `check_model` and `load_config`.
    """
    from keras_fpn.config.loading import load_config
    from keras_fpn.export import artefacts

    if Path(name).is_dir() or Path(name).suffix == ".keras" or artefacts.format_of(name) is not None:
        check_model(name, command)
    else:
        load_config(name, overrides)


def check_annotated(annotations: "Names", images: "Names | None") -> None:
    """Refuse an annotation file or an image folder that is not there, before TensorFlow is imported.

    Raises:
        UserError: there is none.
    """
    from keras_fpn.data import sources

    for half in sources.as_halves(annotations, images):
        sources.check_there(half)


def positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


def probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, for example 800x1344")
    return int(match[1]), int(match[2])
