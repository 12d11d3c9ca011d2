"""Logging: one structured line per event on standard error, and the libraries' own noise silenced."""

from __future__ import annotations

import asyncio
import logging
import sys

import structlog

from mogplex_mcp.settings import Settings

NOISY_LOGGERS = {
    # The SDK logs every session and request; ours has one line per request with what matters.
    "mcp": logging.ERROR,
    "sse_starlette": logging.WARNING,
    # An HTTP client's request line carries the full address of every call.
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
    "asyncio": logging.WARNING,
    "alembic": logging.WARNING,
}


class _EndedOnPurpose(logging.Filter):
    """Drops uvicorn's tracebacks of streams that it ended itself, when the server was stopped."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def configure_logging(settings: Settings) -> None:
    """Send every log line of this process to standard error, as JSON unless a person is watching.

    Args:
        settings: ``mcp_log_format`` chooses JSON or console (``auto``: console on a terminal), ``mcp_log_level`` the
            least level.
    """
    console = settings.mcp_log_format == "console" or (settings.mcp_log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[structlog.typing.Processor] = (
        # Plain tracebacks: the rich ones print local variables, and locals hold credentials.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.mcp_log_level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name, level in NOISY_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("uvicorn.error").addFilter(_EndedOnPurpose())
