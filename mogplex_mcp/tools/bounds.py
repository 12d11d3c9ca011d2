"""Results stay within what hosts show a model: payloads are shortened first, then items are left out, and it is said.

Claude Code warns at 10,000 tokens of result and spills at 25,000; 32 KiB of JSON stays below the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mogplex_mcp.api.compact_json import encode

MAX_RESULT_BYTES = 32 * 1024
MAX_RUN_BYTES = 8 * 1024
MARK = "… [shortened]"
MAX_EVENT_FIELDS = 30
"""Far more fields than an event has; a shortened event keeps no more."""

Json = dict[str, Any]

_STEPS = ((500, 25, 3), (200, 12, 3), (80, 6, 2), (40, 3, 1))
"""Longest text, most items and depth, from the mildest shortening to the hardest."""


def size(value: object) -> int:
    """Bytes of the value as compact JSON in UTF-8."""
    return len(encode(value).encode("utf-8"))


def shorten(value: object, *, text: int, items: int, depth: int) -> object:
    """The value with long strings, long lists and deep parts cut, each cut marked.

    Args:
        value: A JSON value.
        text: Longest string, in characters.
        items: Most members of an object or list.
        depth: Levels of nesting kept.
    """
    if isinstance(value, str):
        return value if len(value) <= text else value[:text] + MARK
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return MARK
    if isinstance(value, list):
        kept = [shorten(item, text=text, items=items, depth=depth - 1) for item in value[:items]]
        return kept if len(value) <= items else [*kept, MARK]
    members = list(value.items())
    cut = {str(k)[:text]: shorten(v, text=text, items=items, depth=depth - 1) for k, v in members[:items]}
    return cut if len(members) <= items else {**cut, "…": MARK}


def fit_run(run: Json) -> Json:
    """A run within ``MAX_RUN_BYTES``: ours are far below; an upstream that sends more has it shortened."""
    if size(run) <= MAX_RUN_BYTES:
        return run
    certain: Json = {key: str(run[key])[:200] for key in ("runId", "status") if key in run}
    for text, items, depth in _STEPS:
        shortened = shorten(run, text=text, items=items, depth=depth + 1)
        if isinstance(shortened, dict) and size(shortened) <= MAX_RUN_BYTES:
            return {**shortened, **certain}
    return {**certain, "shortened": True}


def fit_payloads(events: Sequence[Json], room: int) -> list[Json]:
    """Events with message and payload shortened as far as needed to fit ``room`` bytes, or as far as possible."""
    fitted = list(events)
    for text, items, depth in _STEPS:
        if sum(map(size, fitted)) + len(fitted) <= room:
            break
        fitted = [_shorten_event(event, text=text, items=items, depth=depth) for event in events]
    return fitted


def _shorten_event(event: Json, *, text: int, items: int, depth: int) -> Json:
    shortened = {
        key[:100]: value if key in {"id", "type", "createdAt"} else shorten(value, text=text, items=items, depth=depth)
        for key, value in list(event.items())[:MAX_EVENT_FIELDS]
    }
    return shortened if shortened == event else {**shortened, "shortened": True}


def take_within(items: Sequence[Json], room: int, *, last: bool = False) -> list[Json]:
    """As many items as fit ``room`` bytes, from the front, or from the back when ``last``."""
    taken: list[Json] = []
    for item in reversed(items) if last else items:
        room -= size(item) + 1
        if room < 0:
            break
        taken.append(item)
    return taken[::-1] if last else taken
