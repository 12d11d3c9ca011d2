"""Which coding agent does a run: its command, how to read its output, and how to get it."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from mogplex_mcp.local.harness_events import HarnessEvent, Outcome, Reader
from mogplex_mcp.local.harnesses.claude_code import ClaudeCodeReader
from mogplex_mcp.local.harnesses.codex import CodexReader
from mogplex_mcp.local.harnesses.demo import DEMO_COMMAND, DemoReader
from mogplex_mcp.settings import Settings

__all__ = [
    "Harness",
    "HarnessEvent",
    "HarnessUnavailable",
    "Outcome",
    "Reader",
    "catalogue",
    "installed",
    "pick_harness",
]

NAMES = ("codex", "claude-code")
"""What a caller may ask for, the default first (Mogplex documentation, /web/api/runs)."""
_DEMO_HINT = "MOGPLEX_LOCAL_HARNESS=demo runs the bundled demonstration instead."


class HarnessUnavailable(ValueError):  # noqa: N818 - a state of this machine, told to the caller
    """The harness is not on this machine; the message says what to install."""


@dataclass(frozen=True)
class Harness:
    """A coding agent: ``command`` gets the prompt on stdin; ``reader`` makes a reader for one run's output."""

    name: str
    command: tuple[str, ...]
    reader: Callable[[], Reader]
    install: str


def catalogue(settings: Settings) -> dict[str, Harness]:
    """Every harness by name, with the commands that the settings give."""
    codex = Harness(
        "codex",
        tuple(shlex.split(settings.local_codex_command)),
        CodexReader,
        "Install the Codex CLI with `npm install -g @openai/codex` and sign in with `codex login`.",
    )
    claude = Harness(
        "claude-code",
        tuple(shlex.split(settings.local_claude_command)),
        ClaudeCodeReader,
        "Install Claude Code with `npm install -g @anthropic-ai/claude-code`, run `claude` once and sign in.",
    )
    demo = Harness("demo", DEMO_COMMAND, DemoReader, "The demonstration is part of this program.")
    return {harness.name: harness for harness in (codex, claude, demo)}


def installed(harness: Harness) -> bool:
    """Whether the first word of the command is a program here."""
    return shutil.which(harness.command[0]) is not None


def pick_harness(settings: Settings, *, asked: str | None, repo_is_demo: bool) -> Harness:
    """The harness of a run.

    ``MOGPLEX_LOCAL_HARNESS`` decides over everything. Else the one asked for; else, in the demonstration repository,
    the demonstration; else the first installed one. A harness that is asked for and missing is replaced in the
    demonstration repository alone, which must work on a machine that has nothing.

    Args:
        settings: the commands, and the overriding harness.
        asked: the run's ``harness``, None when the caller left it out.
        repo_is_demo: whether the run is in the bundled repository.

    Raises:
        HarnessUnavailable: it is not installed; the message says how to.
        ValueError: no such harness.
    """
    known = catalogue(settings)
    if asked is not None and asked not in NAMES:
        raise ValueError(f"must be one of {', '.join(NAMES)}")
    if settings.local_harness is not None:
        return _required(known[settings.local_harness])
    if asked is None and not repo_is_demo:
        found = [known[name] for name in NAMES if installed(known[name])]
        return found[0] if found else _required(known[NAMES[0]])
    chosen = known[asked or "demo"]
    return known["demo"] if repo_is_demo and not installed(chosen) else _required(chosen)


def _required(harness: Harness) -> Harness:
    if installed(harness):
        return harness
    raise HarnessUnavailable(
        f"{harness.name} is not installed here: `{harness.command[0]}` was not found. {harness.install} {_DEMO_HINT}"
    )
