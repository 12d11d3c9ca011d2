"""This program as the person typed it, for hints that can be typed as they are printed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from mogplex_mcp.settings import Settings

NAME = "mogplex-mcp"


def own_command(data_dir: Path | None = None) -> str:
    """The command, with what leads to the same data directory.

    Args:
        data_dir: A directory that was given as an option; None when the environment or the default decides.
    """
    typed = sys.argv[0]
    found = shutil.which(NAME)
    # Started as a module, the installed name is the best there is.
    shown = typed if Path(typed).name == NAME else NAME
    if found is not None and Path(typed).resolve() == Path(found).resolve():
        # A system gives the whole path of what it found in PATH.
        shown = NAME
    program = shlex.quote(os.path.relpath(shown) if os.sep in shown else shown)
    return program if data_dir is None else f"MOGPLEX_MCP_DATA_DIR={shlex.quote(str(data_dir))} {program}"


def command_for(settings: Settings) -> str:
    """The command, with what leads to the data directory of these settings, unless it is found there anyway."""
    return own_command(None if settings.data_dir == settings.home / "mcp" else settings.data_dir)
