"""A run as one text to keep or to send (Mogplex documentation, /cli/reference/export).

The documentation's formats, and of its scopes those for which the v1 API has data: it tells of no approvals, memory
writes or single agents other than in events, which every timeline holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from mogplex_mcp.api import Run, RunEvent
from mogplex_mcp.api.compact_json import encode
from mogplex_mcp.api.credential import Credential
from mogplex_mcp.runs import transcript
from mogplex_mcp.runs.watcher import Watchers

Format = Literal["json", "jsonl", "markdown"]
Scope = Literal["full", "timeline", "result"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

MAX_EVENTS = 2_000
MAX_BYTES = 8 * 1024 * 1024
"""Events that an export holds at most, counted as JSON."""

_ASIDE: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="export")

_KINDS: Final = MappingProxyType(
    {"json": ("application/json", "json"), "jsonl": ("application/jsonl", "jsonl"), "markdown": ("text/markdown", "md")}
)


@dataclass(frozen=True)
class Exported:
    """A run as text.

    Attributes:
        text: The content.
        mime_type: What it is.
        extension: For a file's name, without the dot.
    """

    text: str
    mime_type: str
    extension: str


async def read_whole(
    watchers: Watchers, account: str, credential: Credential, run_id: str
) -> tuple[Run, list[RunEvent], str | None]:
    """A run and its events so far, from the one who watches it: what others have read costs no request.

    Args:
        watchers: The runs that are followed in this process.
        account: Who reads.
        credential: What Mogplex is called with for the account.
        run_id: The run.

    Returns:
        The run, its events (oldest first, at most ``MAX_EVENTS`` and ``MAX_BYTES``), and why some are missing; None
        when none are.

    Raises:
        MogplexError: It cannot be read.
    """
    events: list[RunEvent] = []
    room = MAX_BYTES
    async with watchers.follow(account, credential, run_id) as follower:
        async for event in follower.so_far():
            room -= len(encode(event.wire()))
            events.append(event)
            if len(events) == MAX_EVENTS or room <= 0:
                break
        cut = None if follower.up_to_date else f"These are the first {len(events)}; following the run gives all."
        return follower.run, events, cut or follower.truncated


async def export_aside(
    run: Run,
    events: Sequence[RunEvent],
    missing: str | None,
    *,
    format: Format,  # noqa: A002 - the documentation's word
    scope: Scope,
) -> Exported:
    """``export``, off the event loop and one at a time: eight megabytes take a while, and others do not wait for it."""
    work = partial(export, run, events, missing, format=format, scope=scope)
    return await asyncio.get_running_loop().run_in_executor(_ASIDE, work)


def export(run: Run, events: Sequence[RunEvent], missing: str | None, *, format: Format, scope: Scope) -> Exported:  # noqa: A002 - the documentation's word
    """The run as text.

    ``json`` is one object. ``jsonl`` is a line for each event as Mogplex gave it; before them, unless the scope is
    ``timeline``, one of type ``run`` with everything else. ``markdown`` is for people.

    Args:
        run: As it stands.
        events: Oldest first.
        missing: Why events are missing; None when none are.
        format: How it is written.
        scope: ``full``; ``timeline``, the events alone; ``result``, how it ended, with the agent's last words and the
            model, tokens and cost that its events carry, but without the events.
    """
    mime_type, extension = _KINDS[format]
    write = {"json": _json, "jsonl": _lines, "markdown": _markdown}[format]
    return Exported(write(run, events, missing, scope), mime_type, extension)


def _json(run: Run, events: Sequence[RunEvent], missing: str | None, scope: Scope) -> str:
    about = {"runId": run.run_id, **_truncation(missing)} if scope == "timeline" else _about(run, events, missing)
    return encode(about if scope == "result" else {**about, "events": [event.wire() for event in events]})


def _lines(run: Run, events: Sequence[RunEvent], missing: str | None, scope: Scope) -> str:
    first = [] if scope == "timeline" else [{"type": "run", **_about(run, events, missing)}]
    lines = first if scope == "result" else [*first, *(event.wire() for event in events)]
    return "".join(f"{encode(line)}\n" for line in lines)


def _markdown(run: Run, events: Sequence[RunEvent], missing: str | None, scope: Scope) -> str:
    parts = transcript.head(run, events)
    if scope != "result":
        parts += transcript.timeline(events, missing)
    if scope != "timeline":
        parts += transcript.result(run, events)
    return "\n".join(parts)


def _about(run: Run, events: Sequence[RunEvent], missing: str | None) -> dict[str, Any]:
    """Everything but the events."""
    words = transcript.last_words(events) if run.terminal else None
    return {
        "run": run.wire(),
        "figures": transcript.figures(events),
        **({"lastMessage": words} if words is not None else {}),
        **_truncation(missing),
    }


def _truncation(missing: str | None) -> dict[str, Any]:
    return {"eventsTruncated": missing is not None, **({"truncatedReason": missing} if missing else {})}
