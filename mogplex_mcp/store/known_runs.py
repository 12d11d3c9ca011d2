"""The runs that an account started or asked about: Mogplex has no route that lists them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, delete, or_, select, tuple_

from mogplex_mcp.store.bounds import KNOWN_RUN_LIFE, MAX_DOCUMENT, MAX_KNOWN_RUNS_PER_ACCOUNT
from mogplex_mcp.store.database import insert_into
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import known_runs
from mogplex_mcp.store.texts import from_json, is_storable, to_json

FINAL_STATUSES = ("success", "failed", "cancelled")
_ESSENTIAL = ("runId", "status", "repoId", "harness", "branch", "createdAt", "updatedAt")
_MOST_OF_PREFIX = 20

Noted = Literal["new", "changed", "same"]
"""What noting a run has told us of it."""


class CursorError(ValueError):
    """The cursor is none of ours."""


@dataclass(frozen=True, slots=True)
class KnownPage:
    """Some of an account's runs, the latest first.

    Attributes:
        runs: As Mogplex showed them last.
        next_cursor: What gives the next page; None when this is the last.
    """

    runs: tuple[dict[str, object], ...]
    next_cursor: str | None


def note_run(store: Store, account: str, detail: Mapping[str, object]) -> Noted:
    """Remembers a run as Mogplex shows it now. One that has ended is never un-ended by older news.

    Args:
        store: where.
        account: who may see it.
        detail: the run as it came.

    Returns:
        whether the account did not know it before, or knew it otherwise.
    """
    run_id, status, repo_id = detail.get("runId"), detail.get("status"), detail.get("repoId")
    if not isinstance(run_id, str) or not isinstance(status, str) or not is_storable(run_id + status + account):
        return "same"
    now = store.now()
    values = {
        "repo_id": repo_id if isinstance(repo_id, str) and is_storable(repo_id) else None,
        "status": status,
        "detail": _document(detail),
        "noted_at": now,
    }
    with store.db.write() as conn:
        statement = insert_into(conn, known_runs).values(
            account=account, run_id=run_id, created_at=_milliseconds(detail.get("createdAt"), now), **values
        )
        key = known_runs.c.account == account, known_runs.c.run_id == run_id
        before = conn.execute(select(known_runs.c.detail, known_runs.c.status).where(*key)).first()
        newer = or_(known_runs.c.status.not_in(FINAL_STATUSES), statement.excluded.status.in_(FINAL_STATUSES))
        conn.execute(statement.on_conflict_do_update(index_elements=["account", "run_id"], set_=values, where=newer))
        _make_room(conn, account)
    if before is None:
        return "new"
    old = before.status in FINAL_STATUSES and status not in FINAL_STATUSES
    return "same" if old or before.detail == values["detail"] else "changed"


def list_known_runs(
    store: Store,
    account: str,
    *,
    repo_id: str | None = None,
    status: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> KnownPage:
    """An account's runs, the latest first.

    Args:
        store: where.
        account: whose.
        repo_id: only those of this repository.
        status: only those seen last with this status.
        limit: at most so many.
        cursor: ``next_cursor`` of the page before.

    Raises:
        CursorError: the cursor is none of ours.
    """
    wanted = [known_runs.c.account == account]
    wanted += [known_runs.c.repo_id == repo_id] if repo_id is not None else []
    wanted += [known_runs.c.status == status] if status is not None else []
    if cursor is not None:
        wanted.append(tuple_(known_runs.c.created_at, known_runs.c.run_id) < _read_cursor(cursor))
    if not all(is_storable(text) for text in (account, repo_id or "", status or "")):
        return KnownPage((), None)
    query = (
        select(known_runs.c.detail, known_runs.c.created_at, known_runs.c.run_id)
        .where(*wanted)
        .order_by(known_runs.c.created_at.desc(), known_runs.c.run_id.desc())
        .limit(limit + 1)
    )
    with store.db.read() as conn:
        rows = conn.execute(query).all()
    shown = rows[:limit]
    more = len(rows) > limit and shown
    return KnownPage(
        tuple(from_json(row.detail) for row in shown),
        _cursor(shown[-1].created_at, shown[-1].run_id) if more else None,
    )


def find_known_runs(store: Store, account: str, prefix: str) -> list[str]:
    """The ids of an account's runs that begin so, at most 20."""
    if not is_storable(prefix):
        return []
    # Compared again: SQLite's LIKE does not tell capitals apart.
    begins = known_runs.c.run_id.startswith(prefix, autoescape=True)
    query = select(known_runs.c.run_id).where(known_runs.c.account == account, begins).order_by(known_runs.c.run_id)
    with store.db.read() as conn:
        found = conn.execute(query.limit(_MOST_OF_PREFIX)).scalars().all()
    return [run_id for run_id in found if run_id.startswith(prefix)]


def prune_known_runs(store: Store) -> int:
    """Deletes those that nobody has seen for long. Returns how many."""
    with store.db.write() as conn:
        old = known_runs.c.noted_at <= store.now() - KNOWN_RUN_LIFE
        return conn.execute(delete(known_runs).where(old)).rowcount


def _make_room(conn: Connection, account: str) -> None:
    oldest = (
        select(known_runs.c.created_at, known_runs.c.run_id)
        .where(known_runs.c.account == account)
        .order_by(known_runs.c.created_at.desc(), known_runs.c.run_id.desc())
        .offset(MAX_KNOWN_RUNS_PER_ACCOUNT)
        .limit(1)
    )
    first = conn.execute(oldest).first()
    if first is not None:
        place = tuple_(known_runs.c.created_at, known_runs.c.run_id)
        conn.execute(delete(known_runs).where(known_runs.c.account == account, place <= tuple(first)))


def _document(detail: Mapping[str, object]) -> str:
    """The run as it came; its essentials, should it be larger than can be kept."""
    try:
        return to_json(detail)
    except ValueError:
        essential = {name: detail[name] for name in _ESSENTIAL if name in detail}
        return json.dumps(
            {name: value for name, value in essential.items() if len(json.dumps(value)) < MAX_DOCUMENT // 8}
        )


def _milliseconds(created: object, now: int) -> int:
    """When the run was started, not later than now."""
    try:
        at = datetime.fromisoformat(created) if isinstance(created, str) else None
    except ValueError:
        at = None
    if at is None:
        return now
    return max(0, min(now, int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)))


def _cursor(created_at: int, run_id: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([created_at, run_id]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        value = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        value = None
    match value:
        case [int(created_at), str(run_id)] if is_storable(run_id) and abs(created_at) < 2**62:
            return created_at, run_id
    raise CursorError("Unknown cursor: pass the nextCursor of the page before.")
