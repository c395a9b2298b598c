"""Reading of arguments that the commands of this folder share."""

import argparse
from typing import NoReturn

from keras_fpn.console.errors import UserError


class Parser(argparse.ArgumentParser):
    """A mistake is a `UserError`, which a command tells in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (--help lists what there is)")


def positive(text: str) -> int:
    """A whole number above 0."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
