"""Names of TFDS data sets where annotations are named: `tfds:DATA[?OPTIONS][@SPLIT]`.

DATA is a name such as `voc/2012`, or a folder. OPTIONS are `name=value` with `&` between them: the attributes of
`keys.Keys`, and `annotations`, COCO's own file. SPLIT is one of the data set's, or a part, such as `train[:90%]`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from keras_fpn.data.tfds.keys import Keys, read_keys

PREFIX = "tfds:"
_ORIGINAL = "annotations"


@dataclass(frozen=True)
class Name:
    """A name, taken apart: `data`, `split` or None, `keys`, and the path of COCO's own file or None."""

    data: str
    split: str | None = None
    keys: Keys = Keys()
    original: str | None = None

    def __str__(self) -> str:
        options = {name: value for name, value in vars(self.keys).items() if value is not None}
        if self.original is not None:
            options[_ORIGINAL] = self.original
        query = "?" + urlencode(options, quote_via=quote, safe="/") if options else ""
        return f"{PREFIX}{self.data}{query}" + (f"@{self.split}" if self.split else "")


def is_name(text: str) -> bool:
    """Whether a text begins as such a name."""
    return text.startswith(PREFIX)


def read_name(text: str) -> Name:
    """Take a name apart.

    Raises:
        UserError: an option is unknown.
    """
    rest, at, split = text.removeprefix(PREFIX).rpartition("@")
    if not at or "/" in split or os.sep in split:  # of a folder's name
        rest, split = text.removeprefix(PREFIX), ""
    data, _, query = rest.partition("?")
    options: Mapping[str, str] = dict(parse_qsl(query, keep_blank_values=True))
    keys = read_keys({name: value for name, value in options.items() if name != _ORIGINAL}, text)
    return Name(data, split or None, keys, options.get(_ORIGINAL))
