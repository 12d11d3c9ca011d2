"""Text from outside on one line that shows what it says: event texts, names and errors may hold anything.

A terminal obeys escape sequences: ones in an event could rewrite what stands above, change the title or type commands
(CWE-150). Bidirectional and invisible characters deceive the reader (Unicode Technical Report 36). Hosts show progress
and questions in terminals too.
"""

from __future__ import annotations

import unicodedata

MARK = "\N{REPLACEMENT CHARACTER}"


def one_line(text: object) -> str:
    """The text on one line: control characters are marked, invisible ones left out, white space made single spaces."""
    return " ".join("".join(map(_fit, str(text))).split())


def _fit(char: str) -> str:
    if char.isprintable():
        return char
    category = unicodedata.category(char)
    if char in "\t\n\r" or category[0] == "Z":
        return " "
    return "" if category == "Cf" else MARK
