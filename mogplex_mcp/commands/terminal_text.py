"""Lines of ``one_line`` in the columns of a terminal."""

from __future__ import annotations

import unicodedata


def cells(text: str) -> int:
    """How many columns of a terminal a line of ``one_line`` takes (Unicode Standard Annex 11)."""
    return sum(map(_width, text))


def cut(text: str, width: int) -> str:
    """The line, with its end replaced by an ellipsis when it takes more columns."""
    if cells(text) <= width:
        return text
    kept: list[str] = []
    left = width - 1
    for char in text:
        left -= _width(char)
        if left < 0:
            break
        kept.append(char)
    return "".join(kept).rstrip() + "…" if width > 0 else ""


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
