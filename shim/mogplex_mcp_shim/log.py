"""What the shim tells the person: one line each on stderr, and in the log file when there is one.

Nobody may read our stderr: a pipe that is full would stop the shim, so only so much is written to it. Secrets are never
passed to these functions.
"""

from __future__ import annotations

import os
import time

STDERR_LIMIT = 32_768
"""Bytes written to stderr in the life of a process: a pipe that nobody empties holds twice that."""

FILE_LIMIT = 16 * 2**20
"""Bytes written to the log file in the life of a process."""


class _Log:
    __slots__ = ("as_json", "file", "file_left", "stderr_left")

    def __init__(self) -> None:
        self.as_json = False
        self.file: int | None = None
        self.file_left = FILE_LIMIT
        self.stderr_left = STDERR_LIMIT


_log = _Log()


def configure(*, path: str | None, as_json: bool) -> None:
    """Open the log file.

    Args:
        path: Where to append to; created for this user alone.
        as_json: Whether stderr gets JSON objects instead of plain lines.

    Raises:
        OSError: The file cannot be opened.
    """
    _log.as_json = as_json
    if path is not None:
        _log.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)


def say(text: str) -> None:
    """Tell the person something they should know."""
    note(text)
    line = _line(text)
    if len(line) > _log.stderr_left:
        return
    _log.stderr_left -= len(line)
    try:
        os.write(2, line)
    except OSError:
        _log.stderr_left = 0  # nobody listens; the log file still does


def note(text: str) -> None:
    """Write to the log file only."""
    if _log.file is None:
        return
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {os.getpid()} {_flat(text)}\n".encode()
    if len(line) > _log.file_left:
        return
    _log.file_left -= len(line)
    try:
        os.write(_log.file, line)
    except OSError:
        _log.file = None  # a full disk must not stop the pipe


def is_noting() -> bool:
    """Whether there is a log file: the words for it need not be made otherwise."""
    return _log.file is not None


def _line(text: str) -> bytes:
    if not _log.as_json:
        return f"mogplex-mcp-shim: {_flat(text)}\n".encode()
    import json

    return (json.dumps({"message": text}) + "\n").encode()


def _flat(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
