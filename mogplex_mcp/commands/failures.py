"""Failures as a command tells them: a sentence, what to do, and the exit code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mogplex_mcp.api import MogplexError
from mogplex_mcp.commands.exit_codes import Exit, exit_code_for
from mogplex_mcp.commands.output import Output
from mogplex_mcp.own_access import TOKEN_PAGE
from mogplex_mcp.tools.questions import UndecidedError

_FOR_PEOPLE = {
    "UNAUTHORIZED": f"Set MOGPLEX_API_KEY to a token that is still valid (make one at {TOKEN_PAGE}), or sign in with "
    "the Mogplex CLI: mogplex, then /login.",
    "FORBIDDEN": f"Use a token that has the scope; make one at {TOKEN_PAGE}.",
    "HTTP_ERROR": "Try again in a minute; if it fails again, check MOGPLEX_URL and the proxies on the way to it.",
    "INVALID_RESPONSE": "Try again once; if it fails again, check whether MOGPLEX_URL is a Mogplex address.",
    "UNREACHABLE": "Check that Mogplex runs and that this computer can reach it, then try again.",
    "TIMEOUT": "Try again in a moment.",
    "INTERNAL_ERROR": "Try again in a minute; if it fails again, report it to Mogplex with the request id.",
    "IDEMPOTENCY_CONFLICT": "Use another --idempotency-key for a new run, or exactly the arguments of the first one.",
    "BAD_REQUEST": "Correct what the message names, then repeat the command.",
    "CONFLICT": "Look at the run (runs get ID), then do what the message says.",
    "NOT_FOUND": "It may be mistyped, deleted or somebody else's.",
}
"""What the API's own suggestions, which are written for a model, say otherwise."""


@dataclass
class CommandError(Exception):
    """A command that failed.

    Attributes:
        message: What happened, one sentence.
        exit_code: What the process ends with.
        code: For programs.
        hints: What to do, a line each.
        details: What else there is, for programs.
    """

    message: str
    exit_code: Exit = Exit.FAILED
    code: str | None = None
    hints: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def show(self, output: Output) -> None:
        """Tell of it on standard error."""
        error = {"code": self.code or "FAILED", "message": self.message, **self.details}
        said = f"{self.code}: {self.message}" if self.code and self.code.isupper() else self.message
        output.error(error, [said, *self.hints])


def from_mogplex(error: MogplexError) -> CommandError:
    """What a person is told of a call that failed."""
    details: dict[str, Any] = {"status": error.status}
    if error.retry_after is not None:
        details["retryAfter"] = error.retry_after
    if error.request_id is not None:
        details["requestId"] = error.request_id
    if error.idempotency_key is not None:
        details["idempotencyKey"] = error.idempotency_key
    hint = _hint(error)
    request = [f"request id: {error.request_id}"] if error.request_id is not None else []
    return CommandError(
        error.message,
        exit_code_for(error.code, error.status),
        error.code,
        [hint, *request],
        {**details, "suggestion": hint},
    )


def _hint(error: MogplexError) -> str:
    wait = f"in {math.ceil(error.retry_after)} seconds" if error.retry_after else "in a minute"
    if error.idempotency_key is not None:
        return unknown_outcome(error.idempotency_key, wait if error.retry_after else None)
    for_now = exit_code_for(error.code, error.status) in {Exit.UNAVAILABLE, Exit.TRY_LATER}
    if error.code not in _FOR_PEOPLE and for_now:
        return f"Try again {wait}."
    return _FOR_PEOPLE.get(error.code, error.suggestion)


def unknown_outcome(key: str, wait: str | None = None) -> str:
    """What to do about a start whose outcome is unknown.

    Args:
        key: The key it was sent with.
        wait: When to try again, in words.
    """
    again = f"try again {wait}" if wait else "repeat the command"
    return f"The run may have been started: {again} with --idempotency-key {key}, which never starts a second run."


def from_undecided(undecided: UndecidedError, command: str) -> CommandError:
    """What a person is told of a name that may mean several things, or none.

    Args:
        undecided: The name.
        command: This program as the person typed it.
    """
    error = undecided.error
    candidates = [
        f"- {each.get('id') or each.get('runId')} {each.get('full_name', '')}" for each in error.get("candidates", ())
    ]
    suggestion = "Name it by its id." if candidates else f"See which there are: {command} repos list"
    if not candidates:
        hints = [suggestion]
    else:
        hints = ["Nearest:" if undecided.question is None else "Name it by its id:", *candidates]
    details = {"status": error["status"], "suggestion": suggestion, "candidates": error.get("candidates", [])}
    return CommandError(error["message"], exit_code_for(error["code"], error["status"]), error["code"], hints, details)
