"""Writing an export to a file: whole or not at all, private, and never over another file unless told to."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from mogplex_mcp.commands.failures import CommandError
from mogplex_mcp.runs.export import Exported
from mogplex_mcp.store.database import make_private_directory

MAX_NAMES = 1_000
"""Exports of one run in one form that are kept side by side."""


def new_file(directory: Path, run_id: str, scope: str, exported: Exported) -> Path:
    """Write a new file.

    Args:
        directory: The directory of all exports; the run gets one of its own in it.
        run_id: The run, by any id that Mogplex may give.
        scope: What is exported.
        exported: The content.

    Returns:
        Its path.

    Raises:
        CommandError: It cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9_-]", "_", run_id)[:100]
    own = directory / name
    try:
        make_private_directory(own)
    except OSError as error:
        raise _refused(own, error) from None
    for number in range(1, MAX_NAMES):
        path = own / f"{name}-{scope}{'' if number == 1 else f'-{number}'}.{exported.extension}"
        if not path.exists() and _written(path, exported.text, replace=False):
            return path
    raise CommandError(f"{own} holds {MAX_NAMES} exports of this kind already: choose a file with --output.")


def write_file(path: Path, text: str, *, replace: bool) -> Path:
    """Write a file that the person named.

    Args:
        path: Its path; a device or a pipe is written to.
        text: The content.
        replace: Replace the file that is there.

    Returns:
        The whole path.

    Raises:
        CommandError: There is one already and it is not to be replaced; it cannot be written.
    """
    if path.exists() and not path.is_file():
        # Devices and pipes (/dev/stdout, /dev/null) are written to: a file in their place would be the end of them.
        _write_to(path, text)
        return path.absolute()
    if not _written(path, text, replace=replace):
        raise CommandError(f"{path} is there already.", hints=["Choose another --output, or replace it with --force."])
    return path.absolute()


def _written(path: Path, text: str, *, replace: bool) -> bool:
    """Take the name, write aside, and put what was written there. Returns whether the name was to be had."""
    try:
        if not replace:
            path.touch(mode=0o600, exist_ok=False)
        descriptor, name = tempfile.mkstemp(prefix=".mogplex-", dir=path.parent)
        aside = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
            if not replace:
                path.unlink(missing_ok=True)
            raise
    except FileExistsError:
        return False
    except OSError as error:
        raise _refused(path, error) from None
    return True


def _write_to(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise _refused(path, error) from None


def _refused(path: Path, error: OSError) -> CommandError:
    return CommandError(f"{path} cannot be written: {error.strerror}.")
