"""Parts that come from outside the package, by a user's own word.

A module that registers parts (`keras_fpn.register_neck` and its like) is an extension. It comes by `extensions:` in a
YAML file that the user passes, by `--extension`, by an import in Python, or as an installed entry point of the group
`keras_fpn.extensions`. Files of models and runs only name those that they need: nothing is imported because they say
so.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from keras_fpn.console.errors import UserError

GROUP = "keras_fpn.extensions"
_LONGEST_NAME = 60  # of a name in an error, which may come from a file of anybody's
_loaded_files: dict[str, str] = {}  # absolute path: name of the module
_installed_are_loaded = False


def load(items: Iterable[str | os.PathLike], folder: str | os.PathLike | None = None) -> list[str]:
    """Import extensions; one that is there already is left alone.

    Args:
        items: names of modules, or paths of `.py` files.
        folder: that relative paths start from; without, the current one.

    Returns:
        The items, paths absolute, as `load` takes them again anywhere.

    Raises:
        UserError: there is none of this name, or its import fails.
    """
    return [_load_file(item, folder) if _is_file(item) else _load_module(item) for item in map(str, items)]


def _is_file(item):
    return item.endswith(".py") or os.sep in item


def name_of(item: str | os.PathLike) -> str:
    """The name that an extension has in a file of a model: of a file its stem, of a module its own."""
    return Path(item).stem if _is_file(str(item)) else str(item)


def missing(items: Iterable[str | os.PathLike]) -> list[str]:
    """Those of the extensions that are not loaded, by name."""
    load_installed()
    return [name for name in map(name_of, items) if name not in sys.modules]


def check_loaded(items: Iterable[str | os.PathLike], source: str | os.PathLike) -> None:
    """Refuse a file that needs extensions which nobody loaded; none of them is imported for it.

    Args:
        items: names or paths, as the file has them.
        source: the file, for the error.

    Raises:
        UserError: names the first that is missing.
    """
    absent = missing(items)
    if absent:
        name = printable(absent[0])
        raise UserError(
            f"{source}: needs the extension {name!r}, which is not loaded; give --extension MODULE_OR_FILE if you trust"
            " it, or import it in Python"
        )


def printable(text: object) -> str:
    """A text of anybody's for a line on the screen."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."


def load_installed() -> None:
    """Import the extensions that installed packages name as entry points; once in a process."""
    global _installed_are_loaded
    if _installed_are_loaded:
        return
    _installed_are_loaded = True
    for point in importlib.metadata.entry_points(group=GROUP):
        _guarded(point.load, f"extension {point.name} of an installed package")


def _load_file(item, folder):
    path = Path(folder or ".", item).resolve()
    if str(path) in _loaded_files:
        return str(path)
    if not path.is_file():
        raise UserError(f"extension {item}: no such file ({path}); give a module, or the path of a .py file")
    name = path.stem
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) != str(path):
        raise UserError(f"extension {item}: there is a module {name!r} already; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        _guarded(lambda: spec.loader.exec_module(module), f"extension {item}")
    except BaseException:
        del sys.modules[name]
        raise
    _loaded_files[str(path)] = name
    return str(path)


def _load_module(item):
    try:
        found = importlib.util.find_spec(item)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UserError(f"extension {item}: no module of this name; give one that Python finds, or a .py file")
    _guarded(lambda: importlib.import_module(item), f"extension {item}")
    return item


def _guarded(action, what):
    try:
        action()
    except UserError as error:
        raise UserError(f"{what}: {error}") from error
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{what}: its import fails: {type(error).__name__}: {reason}") from error
