"""Functions by the type of what they are for."""

from collections.abc import Callable

from keras_fpn.console.errors import UserError


class TypeTable:
    """Functions by type: a derived type has that of its nearest base, unless it has one of its own.

    Args:
        kind: what the functions are, in words, for errors.
        functions: `{type: function}` to begin with.
    """

    def __init__(self, kind, functions=()):
        self.kind = kind
        self._functions = dict(functions)

    def add(self, one_type: type, function: Callable) -> None:
        """Add the function of a type; the same one may come again.

        Raises:
            UserError: the type has another already.
        """
        if self._functions.get(one_type, function) is not function:
            raise UserError(
                f"{self.kind} for {one_type.__name__}: there is one already; derive a type of your own from it"
            )
        self._functions[one_type] = function

    def of(self, thing: object) -> Callable | None:
        """The function for an object, or None."""
        return next((self._functions[one] for one in type(thing).__mro__ if one in self._functions), None)
