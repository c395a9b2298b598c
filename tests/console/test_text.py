"""Texts of files on the screen: no escape sequence, no control character, and no encoding that fails."""

import io
import sys

import pytest

from keras_fpn.console.screen import plain_output
from keras_fpn.console.text import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dog", "dog"),
        ("chien à vélo 犬 👩‍🚀", "chien à vélo 犬 👩‍🚀"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[2Jdog", r"\x1b[2Jdog"),
        ("one\rtwo\nthree\tfour", r"one\x0dtwo\x0athree\x09four"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("line\u2028line", r"line\u2028line"),
        ("\udcff.jpg", r"\udcff.jpg"),
        ("\x7f\x00", r"\x7f\x00"),
    ],
)
def test_what_would_move_a_terminal_is_spelt_out(text, shown):
    assert plain(text) == shown


class TestPlainOutput:
    def printed(self, text, monkeypatch, encoding="utf-8"):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
        raw = sys.stdout
        with plain_output():
            print(text)
        assert sys.stdout is raw and raw.errors == "strict"
        raw.flush()
        return written.getvalue()

    def test_lines_and_tabs_stay(self, monkeypatch):
        assert self.printed("a\tb\n\x1b[2Jc\x07", monkeypatch) == rb"""a	b
\x1b[2Jc\x07
"""

    @pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
    def test_no_text_is_beyond_the_encoding(self, encoding, monkeypatch):
        written = self.printed("犬 \ud800", monkeypatch, encoding)
        assert written == (r"犬 \ud800" if encoding == "utf-8" else r"\u72ac \ud800").encode() + b"\n"

    def test_a_live_bar_still_moves_the_cursor(self, monkeypatch):
        from rich.console import Console
        from rich.live import Live

        written = io.StringIO()
        written.isatty = lambda: True
        monkeypatch.setattr(sys, "stdout", written)
        with plain_output():
            with Live("half", console=Console(force_terminal=True), auto_refresh=False):
                print("\x1b]0;title\x07line")
            print("\x1b[2Jafter")
        assert "\x1b[?25l" in written.getvalue() and "\x1b[?25h" in written.getvalue()
        assert "\x1b]0;" not in written.getvalue()
        assert written.getvalue().endswith("\\x1b[2Jafter\n")

    def test_without_a_stream_nothing_is_wrapped(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", None)  # as under pythonw
        with plain_output():
            print("nowhere")
