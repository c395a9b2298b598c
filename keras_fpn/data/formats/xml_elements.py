"""XML files of other programs, an element at a time, without what makes foreign XML dangerous."""

import os
from collections.abc import Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from keras_fpn.console.errors import UserError

_CHUNK = 2**18  # bytes


def root_tag(path: str | os.PathLike) -> str | None:
    """The name of the outermost element of a file; None where there is no such file, or it is no XML."""
    reader = _Reader(path)
    try:
        with open(path, "rb") as stream:
            while reader.root is None and (chunk := stream.read(_CHUNK)):
                reader.parser.Parse(chunk)
    except (OSError, UserError, expat.ExpatError, LookupError, ValueError):  # the last two of its encoding
        pass
    return reader.root


def elements(path: str | os.PathLike) -> Iterator[Element]:
    """The elements right below the outermost one, in order; each is let go of when the next is asked for.

    Raises:
        UserError: the file cannot be read, is no whole XML, or declares a document type, whose entities could fill the
            memory or name other files.
    """
    reader = _Reader(path)
    try:
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                reader.parser.Parse(chunk)
                yield from reader.taken()
        reader.parser.Parse(b"", True)
    except OSError as error:
        raise UserError(f"{path}: cannot read the annotation file ({error.strerror})") from None
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise UserError(f"{path}: not a whole XML file ({error}); write or download it again") from None


class _Reader:
    """A parser that keeps the elements right below the root until they are taken."""

    def __init__(self, path):
        self.path, self.root = path, None
        self._depth, self._builder, self._whole = 0, TreeBuilder(), []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def taken(self) -> list[Element]:
        whole, self._whole = self._whole, []
        return whole

    def _refuse(self, name, *_):
        self.root = name  # which the root must have
        raise UserError(f"{self.path}: declares a document type (DOCTYPE), which no labelling tool writes; remove it")

    def _start(self, name, attributes):
        if not self._depth:
            self.root = name
        else:
            if self._depth == 1:
                self._builder = TreeBuilder()
            self._builder.start(name, attributes)
        self._depth += 1

    def _text(self, text):
        if self._depth > 1:
            self._builder.data(text)

    def _end(self, name):
        self._depth -= 1
        if self._depth:
            self._builder.end(name)
        if self._depth == 1:
            self._whole.append(self._builder.close())
