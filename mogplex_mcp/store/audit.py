"""What happened to sign-ins and grants, for whoever has to find out later. Never a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from mogplex_mcp.store.bounds import AUDIT_LIFE, MAX_AUDIT_ROWS
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import audit
from mogplex_mcp.store.texts import from_json, storable, to_json

_SECRET = re.compile(r"mgo?_[A-Za-z0-9_-]{8,}|mog_[A-Za-z0-9]{8,}|ey[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]+")
_MAX_VALUE = 200
_MAX_DETAILS = 20
_TRIM_EVERY = 1000


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One row. Times in milliseconds since 1970."""

    id: int
    at: int
    event: str
    account_id: str | None
    client_id: str | None
    grant_id: str | None
    address: str | None
    detail: dict[str, str | int | bool | None]


def record(
    store: Store,
    event: str,
    *,
    conn: Connection | None = None,
    account_id: str | None = None,
    client_id: str | None = None,
    grant_id: str | None = None,
    address: str | None = None,
    **detail: str | int | bool | None,
) -> None:
    """Writes down that something happened.

    Args:
        store: where.
        event: what, as `noun_verb` (``consent_denied``).
        conn: the transaction it belongs to; None for one of its own.
        account_id: to whom, if known.
        client_id: by which client, if known.
        grant_id: under which grant, if known.
        address: the caller's address.
        detail: up to 20 more facts. What looks like a token is left out, texts are cut at 200 characters.
    """
    if conn is None:
        with store.db.write() as connection:
            record(
                store,
                event,
                conn=connection,
                account_id=account_id,
                client_id=client_id,
                grant_id=grant_id,
                address=address,
                **detail,
            )
        return
    facts = {key: _safe(value) for key, value in list(detail.items())[:_MAX_DETAILS]}
    row = {
        "at": store.now(),
        "event": event,
        "account_id": account_id,
        "client_id": None if client_id is None else _safe_text(client_id),
        "grant_id": grant_id,
        "address": None if address is None else _safe_text(address),
        "detail": to_json(facts),
    }
    number = conn.execute(insert(audit).values(row).returning(audit.c.id)).scalar_one()
    if number % _TRIM_EVERY == 0:
        conn.execute(delete(audit).where(audit.c.id <= number - MAX_AUDIT_ROWS))


def audit_events(store: Store, *, limit: int = 100) -> list[AuditEvent]:
    """The latest events, newest first; ``limit`` 1-1000."""
    statement = select(audit).order_by(audit.c.id.desc()).limit(max(1, min(limit, 1000)))
    with store.db.read() as connection:
        rows = connection.execute(statement).mappings().all()
    return [AuditEvent(**{**row, "detail": from_json(row["detail"])}) for row in rows]


def prune_audit(store: Store) -> int:
    """Deletes what is older than 90 days, or more than 100,000 rows ago. Returns how many went."""
    with store.db.write() as connection:
        newest = connection.execute(select(audit.c.id).order_by(audit.c.id.desc()).limit(1)).scalar() or 0
        old = (audit.c.at < store.now() - AUDIT_LIFE) | (audit.c.id <= newest - MAX_AUDIT_ROWS)
        return connection.execute(delete(audit).where(old)).rowcount


def _safe(value: str | int | bool | None) -> str | int | bool | None:
    return _safe_text(value) if isinstance(value, str) else value


def _safe_text(text: str) -> str:
    return _SECRET.sub("…", storable(text))[:_MAX_VALUE]
