"""``python -m mogplex_mcp.local``: the `local` commands alone. The background daemon is started this way.

Its log lines go to standard error, which for that daemon is its log file; when that has grown to 1 MiB it is emptied.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO, cast

import structlog

from mogplex_mcp.local.commands import local

_MAX_LOG = 1024 * 1024
_BACKGROUND = "--background" in sys.argv[1:]


class _Log:
    """Standard error, bounded where it is the background daemon's own file."""

    def write(self, text: str) -> None:
        if _BACKGROUND and os.fstat(sys.stderr.fileno()).st_size > _MAX_LOG:
            os.ftruncate(sys.stderr.fileno(), 0)  # it was opened to append, so the next line is the first
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


if __name__ == "__main__":
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Log())),
    )
    local(prog_name="python -m mogplex_mcp.local")
