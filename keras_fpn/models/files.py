"""Models from files, and what is refused before Keras reads one.

A `.keras` file names the classes that it is made of, by modules that Keras might import. Here nothing is imported
because a file says so: a class that no loaded module has registered is refused by its name.
"""

import json
import os
import re
import zipfile
from pathlib import Path

import keras

from keras_fpn.console.errors import UserError
from keras_fpn.console.memory import is_out_of_memory
from keras_fpn.models.architectures import ARCHITECTURES
from keras_fpn.models.detector import FORMAT_VERSION, Detector
from keras_fpn.parts import extensions


def load_model(path: str | os.PathLike) -> Detector:
    """Load a detector.

    Args:
        path: a `.keras` file, or a run folder with `model.keras` in it.

    Returns:
        The `FasterRCNN`, `RPN`, ... as it was saved.

    Raises:
        UserError: if there is no such file, it is no detector of this package, or it needs an extension that is not
            loaded.
    """
    path = Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such model; give a .keras file or the folder of a run")
    model = read_keras_file(file)
    if isinstance(model, Detector):
        return model
    if is_backbone(model):
        raise UserError(
            f"{file}: a backbone, which detects nothing yet; start training from it: keras-fpn train CONFIG"
            f" --weights {file}"
        )
    raise UserError(f"{file}: a {type(model).__name__}, not a detector of this package")


def read_keras_file(file: Path, compile: bool = True) -> keras.Model:
    """The model in a `.keras` file, whichever it is; `compile`: with its optimizer.

    Raises:
        UserError: it is no `.keras` file, or not a whole one; of another format; an extension is missing.
    """
    if file.suffix != ".keras":
        raise UserError(f"{file}: no .keras file; keras-fpn convert makes one of a published checkpoint")
    broken = f"{file}: not a whole Keras model; copy or convert it again, or train anew"
    if not zipfile.is_zipfile(file):  # Keras says that it is not found
        raise UserError(f"{broken} (it is damaged or cut short)")
    for member in ARCHITECTURES:
        member.load()  # Keras knows a class by name once its module has been imported
    try:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile) as error:
        raise UserError(f"{broken} ({_first_line(error)})") from error
    _check_format(config, file)
    _check_classes(config, file)
    try:
        return keras.saving.load_model(file, compile=compile)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"{broken} ({_first_line(error)})") from error


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_format(config, file):
    """Refuse a detector of another format version, and one whose extensions are not loaded."""
    own = config.get("config") if isinstance(config, dict) else None
    name = config.get("registered_name") if isinstance(config, dict) else None
    if not isinstance(own, dict) or not isinstance(own.get("backbone"), dict):
        if str(name).startswith("keras_fpn>"):
            raise UserError(f"{file}: its config.json has no settings of a detector; copy or convert it again")
        return  # no detector: a backbone, or somebody else's
    _names(own, "frozen", file)
    version = own.get("format_version")
    if version != FORMAT_VERSION and (version is not None or str(name).startswith("keras_fpn>")):
        says = "of no format version" if version is None else f"of format version {extensions.printable(version)}"
        raise UserError(
            f"{file}: a model {says}, and this keras_fpn reads version {FORMAT_VERSION}; convert or train it again, or"
            " install the keras_fpn that wrote it"
        )
    extensions.check_loaded(_names(own, "extensions", file), file)


def _names(own, key, file):
    """A list of names in the settings of a file, [] where it is not there."""
    names = own.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{file}: its config.json has {key}: {extensions.printable(names)}, not a list of names")
    return names


def _check_classes(config, file):
    """Refuse a class that neither Keras nor a module that is loaded brings: Keras would import what the file names."""
    for module, class_name, registered in _classes_in(config):
        known = registered and keras.saving.get_registered_object(registered) is not None
        if known or module is None or module == "keras" or module.startswith("keras."):
            continue
        if module == "builtins" and class_name in ("__tuple__", "slice", "function"):
            continue
        name = extensions.printable(registered or f"{module}.{class_name}")
        raise UserError(
            f"{file}: is made of {name!r}, which nothing here brings; give the extension that does by --extension"
            " MODULE_OR_FILE if you trust it, or import it in Python"
        )


def _classes_in(node):
    """Yield `(module, class, registered name)` of every class that a configuration names."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "class_name" in node and ("module" in node or "registered_name" in node):
                module = node.get("module")
                yield None if module is None else str(module), str(node["class_name"]), node.get("registered_name")
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def is_backbone(model: keras.Model) -> bool:
    """Whether a Keras model is what `build_backbone` gives."""
    taps = getattr(model, "output", None)
    return isinstance(taps, dict) and all(re.fullmatch(r"C\d", tap) for tap in taps)
