"""Texts of anybody's on the screen: names of files and classes may hold what a terminal would obey."""

import re

# Control characters of both kinds, marks that turn the order of letters around, the two separators that end a line, and
# bytes of file names that are no text.
_ODD = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_A_LINE = re.compile(f"[{_ODD}]")
_IN_LINES = re.compile(f"(?![\n\t])[{_ODD}]")


def plain(text: object) -> str:
    r"""Return a text as one line that no terminal obeys: odd characters are spelt out, such as `\x1b`."""
    return _IN_A_LINE.sub(_spelt, str(text))


def plain_lines(text: str) -> str:
    """`plain` of a text that may have lines and tabs."""
    return _IN_LINES.sub(_spelt, text)


def _spelt(match):
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
