"""Letters of pictures: a font that has those of a text, and texts cut to a width.

Pillow's own font has the letters of ASCII. For others Matplotlib's DejaVu Sans is taken, which has those of European
and some further scripts, or else the first font of the system that has them.
"""

import functools
import unicodedata
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FILES: dict[frozenset[str], str | None] = {}  # for texts of these scripts; None where no font has them


def lettered(text: str, size: int) -> tuple[str, Font]:
    """The text and a font of `size` pixels for it; letters that no font has are spelt out, such as \\u732b."""
    if text.isascii():
        return text, _font(None, size)
    scripts = frozenset(unicodedata.name(letter, "").partition(" ")[0] for letter in text if not letter.isascii())
    if scripts not in _FILES:
        _FILES[scripts] = next((file for file in _fonts() if _has(file, text)), None)
    file = _FILES[scripts]
    return (text if file else text.encode("ascii", "backslashreplace").decode()), _font(file, size)


def fitted(text: str, font: Font, width: float) -> str:
    """The text as it is, or its beginning and three dots, in `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def fitted_end(text: str, font: Font, width: float) -> str:
    """The text as it is, or three dots and its end, which tells files of one folder apart, in `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength("..." + text) > width:
        text = text[1:]
    return "..." + text


@functools.cache
def _font(file: str | None, size: int) -> Font:
    return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)


def _fonts():
    """Font files, the likeliest first."""
    import matplotlib

    yield str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    from matplotlib.font_manager import findSystemFonts

    yield from sorted(findSystemFonts())


def _has(file, text) -> bool:
    """Whether a font has all letters of a text; one that cannot be read has none."""
    from matplotlib.ft2font import FT2Font

    try:
        return {ord(letter) for letter in text} <= set(FT2Font(file).get_charmap())
    except (RuntimeError, OSError):
        return False
