"""What a command's exit code says (Mogplex documentation, /cli/automation, "Exit codes")."""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import Final


class Exit(IntEnum):
    """The documentation's codes, and the two of a shell for a process that was interrupted."""

    SUCCESS = 0
    FAILED = 1
    USAGE = 2
    UNAUTHORIZED = 64
    FORBIDDEN = 65
    UNAVAILABLE = 69
    TRY_LATER = 75
    INTERRUPTED = 130
    NOBODY_READS = 141
    TERMINATED = 143


MEANINGS: Final = MappingProxyType(
    {
        Exit.SUCCESS: "Success; with `--follow`, the run ended with status `success`.",
        Exit.FAILED: "Failure; with `--follow` also: the run failed or was cancelled, or `--timeout` is over.",
        Exit.USAGE: "Usage error: bad arguments, an unknown command, a name that may mean several things.",
        Exit.UNAUTHORIZED: "No token, or one that Mogplex refuses (401).",
        Exit.FORBIDDEN: "The token lacks the scope that this needs (403).",
        Exit.UNAVAILABLE: "Mogplex is not available: 502, 503, 504, or it cannot be reached.",
        Exit.TRY_LATER: "For now only: rate limited (429), or no answer in time.",
        Exit.INTERRUPTED: "Ctrl-C: the command ended, a run that it followed goes on.",
        Exit.NOBODY_READS: "Whoever read the output has closed it (`| head`).",
        Exit.TERMINATED: "SIGTERM: like Ctrl-C.",
    }
)

_BY_CODE: Final = MappingProxyType(
    {
        "AMBIGUOUS_REPO": Exit.USAGE,
        "AMBIGUOUS_RUN": Exit.USAGE,
        "UNAUTHORIZED": Exit.UNAUTHORIZED,
        "FORBIDDEN": Exit.FORBIDDEN,
        "SERVICE_UNAVAILABLE": Exit.UNAVAILABLE,
        "UNREACHABLE": Exit.UNAVAILABLE,
        "RATE_LIMITED": Exit.TRY_LATER,
        "TIMEOUT": Exit.TRY_LATER,
    }
)
_BY_STATUS: Final = MappingProxyType(
    {
        401: Exit.UNAUTHORIZED,
        403: Exit.FORBIDDEN,
        429: Exit.TRY_LATER,
        502: Exit.UNAVAILABLE,
        503: Exit.UNAVAILABLE,
        504: Exit.UNAVAILABLE,
    }
)


def exit_code_for(code: str, status: int | None) -> Exit:
    """The exit code of a failure.

    Args:
        code: ``error.code``: Mogplex's, or one of ours for what never was an answer of it.
        status: The HTTP status, for codes that say nothing.
    """
    return _BY_CODE.get(code) or _BY_STATUS.get(status or 0) or Exit.FAILED


def exit_codes_table() -> str:
    """The table of docs/commands.md, in Markdown."""
    return "\n".join(["| code | meaning |", "| --- | --- |", *(f"| {code:d} | {MEANINGS[code]} |" for code in Exit)])
