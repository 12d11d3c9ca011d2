"""Where a command prints: for people, or one JSON object a line for programs.

Results go to standard output and nothing else does; notes and errors go to standard error. JSON is plain ASCII, so
that neither the locale nor an escape sequence in a text changes what arrives.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import click

from mogplex_mcp.commands.terminal_text import cells, cut
from mogplex_mcp.one_line import one_line

Json = Mapping[str, Any]


class OutputError(Exception):
    """Standard output cannot be written, and not because nobody reads; the message says why."""


class Output:
    """One per command.

    Args:
        json: Print for programs.

    Attributes:
        json: As given.
        live: Whether a person watches as it happens: lines may be drawn over.
        asks: Whether a person is there to be asked.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        # Python has none for what the shell has closed (`>&-`). In order: the event loop must not get their numbers.
        sys.stdin, sys.stdout, sys.stderr = (
            stream or _nowhere(mode) for stream, mode in ((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w"))
        )
        for stream in (sys.stdout, sys.stderr):
            # A locale that lacks a letter must not end the command.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.live = terminal and not json
        self.asks = sys.stdin.isatty() and sys.stderr.isatty() and not json
        self._colours = self.live and not os.environ.get("NO_COLOR")

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return shutil.get_terminal_size().columns

    def record(self, record: Json) -> None:
        """Print an object for programs."""
        self._print(_encode(record))

    def line(self, text: str = "") -> None:
        """Print a line for people, whatever it holds made fit for a terminal."""
        self._print(one_line(text))

    def path(self, path: Path) -> None:
        """Print a path, exactly as it is where programs read it."""
        self._print(one_line(path) if self.live else os.fsencode(path))

    def styled(self, *parts: tuple[str, str | None]) -> None:
        """Print a line of parts, each of a colour where there are colours."""
        self._print(" ".join(self._paint(one_line(text), colour) for text, colour in parts))

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print rows in columns; on a terminal no row is longer than a line, and the first column is whole."""
        texts = [[one_line("-" if cell is None else cell) for cell in row] for row in rows]
        widths = [max(map(cells, column)) for column in zip(headings, *texts, strict=True)]
        for number, row in enumerate([list(headings), *texts]):
            padded = (f"{cell}{' ' * (width - cells(cell))}" for cell, width in zip(row, widths, strict=True))
            line = "  ".join(padded).rstrip()
            if self.live:
                line = cut(line, max(self.width, widths[0] + 1))
            self._print(self._paint(line, None if number else "bright_black"))

    def note(self, text: str, **data: object) -> None:
        """Tell something that is no result."""
        click.echo(_encode({"note": text, **data}) if self.json else one_line(text), err=True)

    def error(self, error: Json, lines: Sequence[str]) -> None:
        """Tell of a failure.

        Args:
            error: Code, message and what else there is, for programs (documentation, /web/api/errors, "Envelope").
            lines: The same for people.
        """
        if self.json:
            click.echo(_encode({"ok": False, "error": error}), err=True)
            return
        first, *others = lines
        for line in (f"error: {first}", *others):
            click.echo(one_line(line), err=True)

    def draw(self, text: str) -> None:
        """Draw a line that the next one replaces. Only where ``live``."""
        shown = self._paint(cut(one_line(text), self.width - 1), "bright_black")
        self._print(f"\r\x1b[2K{shown}", nl=False)

    def erase(self) -> None:
        """Take away what was drawn."""
        self._print("\r\x1b[2K", nl=False)

    def _print(self, text: str | bytes, *, nl: bool = True) -> None:
        """Print on standard output.

        Raises:
            BrokenPipeError: Nobody reads any more.
            OutputError: It cannot be written.
        """
        try:
            click.echo(text, nl=nl, color=self.live)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"Standard output cannot be written: {error.strerror}.") from None

    def _paint(self, text: str, colour: str | None) -> str:
        return click.style(text, fg=colour) if colour and self._colours else text


def _nowhere(mode: str) -> TextIO:
    return cast("TextIO", open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123 - it stays open as long as the process


def _encode(record: Json) -> str:
    return json.dumps(record, separators=(",", ":"))
