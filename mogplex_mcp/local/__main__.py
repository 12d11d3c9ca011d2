"""``python -m mogplex_mcp.local``: the `local` commands alone. The background daemon is started this way.

Its log lines go to standard error, which for that daemon is its log file.
"""

from __future__ import annotations

import logging
import sys

import structlog

from mogplex_mcp.local.commands import local

if __name__ == "__main__":
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    local(prog_name="python -m mogplex_mcp.local")
