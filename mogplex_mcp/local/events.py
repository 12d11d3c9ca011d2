"""A run's events: append-only, sanitized when they are written, read oldest first."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from sqlalchemy import Connection, insert, select

from mogplex_mcp.local.sanitize import MAX_MESSAGE, clean_payload, clean_text
from mogplex_mcp.local.tables import events
from mogplex_mcp.local.timestamps import iso

MAX_PER_RUN = 100_000
MAX_BYTES_PER_RUN = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it is sanitized."""

    type: str
    message: str | None = None
    tool_name: str | None = None
    payload: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    run_id: str
    type: str
    tool_name: str | None
    message: str | None
    payload: str
    created_at: int


def append(connection: Connection, run_id: str, new: Iterable[NewEvent], now: int) -> int:
    """Appends events and returns the bytes of text they take.

    Args:
        now: milliseconds since 1970.
    """
    rows = [_row(run_id, event, now) for event in new]
    if rows:
        connection.execute(insert(events), [asdict(row) for row in rows])
    return sum(len(row.payload) + len(row.message or "") for row in rows)


def _row(run_id: str, event: NewEvent, now: int) -> _Row:
    return _Row(
        id=str(uuid.uuid4()),
        run_id=run_id,
        type=event.type[:100],
        tool_name=None if event.tool_name is None else clean_text(event.tool_name, 200),
        message=None if event.message is None else clean_text(event.message, MAX_MESSAGE),
        payload=clean_payload(event.payload),
        created_at=now,
    )


def sequence_of(connection: Connection, run_id: str, event_id: str) -> int | None:
    """Where an event stands in the order of all; None when it is none of this run's."""
    query = select(events.c.sequence).where(events.c.run_id == run_id, events.c.id == event_id)
    sequence: int | None = connection.execute(query).scalar()
    return sequence


def listed(connection: Connection, run_id: str, limit: int, after: int = 0) -> list[dict[str, object]]:
    """The oldest ``limit`` events, as the API shows them (Mogplex documentation, /web/api/runs).

    Args:
        after: only those that stand later in the order of all.
    """
    of_run = events.c.run_id == run_id, events.c.sequence > after
    query = select(events).where(*of_run).order_by(events.c.sequence).limit(limit)
    return [
        {
            "id": row["id"],
            "type": row["type"],
            "toolName": row["tool_name"],
            "message": row["message"],
            "payload": json.loads(row["payload"]),
            "createdAt": iso(row["created_at"]),
        }
        for row in connection.execute(query).mappings()
    ]
