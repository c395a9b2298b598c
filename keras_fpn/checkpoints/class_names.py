"""The class names that a user gives; read without TensorFlow."""

import os
from pathlib import Path

from keras_fpn.console.errors import UserError


def read_class_names(text: str) -> list[str]:
    """Class names of a `--classes` argument: a comma-separated list, or a text file with one name a line.

    Raises:
        UserError: no names, or one of them twice.
    """
    path = Path(text)
    if os.path.isfile(text):  # Path.is_file refuses a text that is too long for a name, as that of 80 classes is
        try:
            names = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise UserError(f"--classes {text}: not a text file; give one name a line in UTF-8, or a,b,c") from None
    elif "," not in text and path.suffix:
        raise UserError(f"--classes {text}: no such file")
    else:
        names = text.split(",")
    names = [name.strip() for name in names if name.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise UserError(f"--classes {text}: {f'{twice[0]} stands there twice' if twice else 'names nothing'}")
    return names
