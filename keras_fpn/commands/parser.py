"""The parser of the command line: one line for a mistake, and the nearest name."""

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from keras_fpn.console.errors import UserError
from keras_fpn.console.naming import nearest


class Parser(argparse.ArgumentParser):
    """One line for a mistake, and the nearest name for a misspelt one."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self.commands = {}

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help lists what there is)")

    def add_commands(self, title: str) -> Callable[..., "Parser"]:
        group = self.add_subparsers(title=title, metavar="COMMAND", parser_class=Parser, required=True)
        return lambda name, help, **kwargs: self.commands.setdefault(
            name, group.add_parser(name, help=help, description=help, **kwargs)
        )

    def options(self) -> list[str]:
        return [option for action in self._actions for option in action.option_strings if len(option) > 2]


def parse(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a command line.

    Raises:
        UserError: an unknown command or option, or a value that is none.
    """
    command, words = parser, list(argv)
    while command.commands and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            raise UserError(f"unknown command {words[0]!r}{nearest(words[0], command.commands)}")
        command = command.commands[words.pop(0)]
    known = command.options()
    for word in words:
        option = word.split("=")[0]
        if option.startswith("--") and len(option) > 2 and option not in known:
            raise UserError(f"unknown option {option}{nearest(option, known)}")
    return parser.parse_args(argv)
