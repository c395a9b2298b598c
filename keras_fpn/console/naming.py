"""The nearest of the names that there are, for errors about one that there is not."""

import difflib
from collections.abc import Collection


def nearest(name: object, names: Collection[str]) -> str:
    """Return `"; did you mean X?"` for the nearest of `names`, or the list of all when none is near."""
    close = difflib.get_close_matches(str(name), list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; valid are {', '.join(map(str, names))}"
