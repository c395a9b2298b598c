"""Options that several commands have, and the kinds of values that they take."""

import argparse
import json
import re
from pathlib import Path

from keras_fpn.console.errors import UserError


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
    text = "override settings, for example training.steps=1000"
    parser.add_argument(
        "--set", metavar="KEY=VALUE", nargs="+", action="extend", default=[], dest="overrides", help=text
    )


def check_model(path: str, command: str) -> None:
    """Refuse what is no `.keras` file or run folder, before TensorFlow is imported.

    Raises:
        UserError: there is nothing of the name, or it is something else; says what takes it.
    """
    from keras_fpn.export import artefacts

    place = Path(path)
    if not place.exists():
        raise UserError(f"{path}: no such model; give a .keras file or the folder of a run")
    if artefacts.format_of(place) is not None:
        raise UserError(
            f"{path}: an exported model, and {command} takes a .keras file or the folder of a run; keras-fpn detect"
            " runs it, python -m keras_fpn.export.parity measures exports beside their model"
        )
    if place.is_dir() and not (place / "model.keras").is_file():
        raise UserError(f"{path}: no run folder, it has no model.keras; give a .keras file or the folder of a run")


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
