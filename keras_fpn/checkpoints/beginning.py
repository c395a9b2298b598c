"""A model that begins with the weights of a file, and has the conventions of the file where nothing else is said."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from keras_fpn.checkpoints import conversion
from keras_fpn.checkpoints.transfer import read_source, start_from_source
from keras_fpn.checkpoints.weights_file import weights_file
from keras_fpn.config.loading import load_config
from keras_fpn.console.errors import UserError
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.models.class_detector import ClassDetector
from keras_fpn.models.detector import Detector
from keras_fpn.parts.choice import Choice
from keras_fpn.parts.read_only import plain

log = logging.getLogger(__name__)

_CLASSES = ("num_classes", "class_names", "category_ids")


def begun(
    kind: type[Detector], weights: str | os.PathLike, given: Mapping[str, Any], make: Callable[..., Detector]
) -> Detector:
    """A model of a class with the weights of a file wherever they fit, see `start_from`.

    Args:
        kind: the class.
        weights: see `start_from`.
        given: arguments of its constructor; they win over what the file says. Without any of the classes they are those
            of the file.
        make: makes a model of the class.

    Raises:
        UserError: see `start_from`; the file is of another profile than is given.
    """
    file = weights_file(weights)
    if file.suffix == ".keras":
        source, settings = read_source(file), None
    else:
        converted = conversion.convert(file)
        source, settings = converted.model, load_config(converted.config, converted.settings.items()).model
    arguments = {**given}
    if isinstance(source, Detector):
        _check_profile(file, source, given)
        has_own_classes = any(name in given for name in _CLASSES)
        takes_classes = isinstance(source, ClassDetector) and issubclass(kind, ClassDetector) and not has_own_classes
        # A published file may have predictors of more rows than classes, which own classes do without.
        groups = plain(source.settings) if settings is None or takes_classes else settings.groups()
        arguments = _with_groups(kind, groups, given) | {"profile": source.profile}
        if takes_classes:
            arguments |= {"num_classes": source.num_classes, "class_names": list(source.class_names)}
            arguments["category_ids"] = list(source.category_ids)
    if given.get("class_names") is not None:
        arguments.setdefault("num_classes", len(given["class_names"]))
    model = make(**arguments)
    for note in start_from_source(model, source, file).notes:
        log.warning("%s: %s", weights, note)
    return model


def _check_profile(file, source, given):
    if given.get("profile") not in (None, source.profile):
        raise UserError(
            f"{file}: its weights are of the profile {source.profile!r}, not {given['profile']!r}; leave it out"
        )


def _with_groups(kind, groups, given) -> dict[str, Any]:
    """Arguments with the groups of settings that the class has, those of the file below those that are given."""
    arguments = {**given}
    for group, choice in ARCHITECTURES[kind.architecture].groups.items():
        own = given.get(group)
        own = {"name": own} if group == "backbone" and isinstance(own, str) else own or {}
        if group not in groups or not isinstance(own, Mapping):
            continue
        key = choice.key if isinstance(choice, Choice) else None
        if own.get(key) in (None, groups[group].get(key)):  # else of another part, which has other settings
            arguments[group] = {**groups[group], **own}
    return arguments
