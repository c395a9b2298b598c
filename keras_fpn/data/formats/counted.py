"""Long lists of a tool's files or images, counted on the screen while they are gone through."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from keras_fpn.console.progress import Count

_WORTH_A_BAR = 5000  # files: some seconds
_Item = TypeVar("_Item")


def counted(items: Sequence[_Item], name: str, unit: str) -> Iterator[_Item]:
    """The items in order, with progress where there are many.

    Args:
        name: of the work, such as "labelme".
        unit: of an item, in the plural, such as "files".
    """
    if len(items) < _WORTH_A_BAR:
        yield from items
        return
    with Count(name, len(items), unit) as count:
        for done, item in enumerate(items, 1):
            yield item
            count(done)
