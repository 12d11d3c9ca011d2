"""Text from outside, fit for a terminal: event texts, names and errors may hold anything.

A terminal obeys escape sequences: ones in an event could rewrite what stands above, change the title or type commands
(CWE-150). Bidirectional and invisible characters deceive the reader (Unicode Technical Report 36).
"""

from __future__ import annotations

import unicodedata

MARK = "\N{REPLACEMENT CHARACTER}"


def one_line(text: object) -> str:
    """The text on one line: control characters are marked, invisible ones left out, white space made single spaces."""
    return " ".join("".join(map(_fit, str(text))).split())


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


def _fit(char: str) -> str:
    if char.isprintable():
        return char
    category = unicodedata.category(char)
    if char in "\t\n\r" or category[0] == "Z":
        return " "
    return "" if category == "Cf" else MARK


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
