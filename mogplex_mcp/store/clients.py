"""Clients: the agent hosts that asked to be let in (registered, by document, or configured)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, delete, func, select, update

from mogplex_mcp.store import audit
from mogplex_mcp.store.bounds import HOUR, MAX_UNAUTHORIZED_CLIENTS
from mogplex_mcp.store.database import insert_into
from mogplex_mcp.store.errors import StoreFullError, UnknownClientError
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import clients
from mogplex_mcp.store.texts import from_json, is_storable, storable, to_json

ClientKind = Literal["registered", "document", "configured"]
AuthMethod = Literal["none", "client_secret_basic", "client_secret_post", "any_secret"]


@dataclass(frozen=True, slots=True)
class StoredClient:
    """A client as it is kept. Times in milliseconds since 1970."""

    client_id: str
    kind: ClientKind
    name: str
    redirect_uris: tuple[str, ...]
    auth_method: AuthMethod
    secret_sha256: str | None = field(default=None, repr=False)
    scope: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: int = 0
    """Filled in by the store at the first :func:`put_client`."""
    authorized_at: int | None = None
    cached_until: int | None = None


def put_client(store: Store, client: StoredClient, *, address: str | None = None) -> StoredClient:
    """Keeps a client, or what is new of one that is known; since when, and its authorization, stay.

    Args:
        store: where.
        client: its ``created_at`` and ``authorized_at`` are not looked at.
        address: who registered it, for the audit.

    Raises:
        StoreFullError: ``MAX_UNAUTHORIZED_CLIENTS`` clients wait for their first authorization.
        ValueError: its id cannot be stored, or its metadata is longer than ``MAX_DOCUMENT``.
    """
    if not is_storable(client.client_id):
        raise ValueError("This client_id cannot be kept.")
    values = {
        "kind": client.kind,
        "name": storable(client.name),
        "redirect_uris": to_json(client.redirect_uris),
        "auth_method": client.auth_method,
        "secret_sha256": client.secret_sha256,
        "scope": None if client.scope is None else storable(client.scope),
        "metadata": to_json(client.metadata),
        "cached_until": client.cached_until,
    }
    with store.db.write() as conn:
        known = conn.execute(update(clients).where(clients.c.client_id == client.client_id).values(values)).rowcount
        if not known:
            if client.kind != "configured":
                _make_room(store, conn)
            made = insert_into(conn, clients).values(client_id=client.client_id, created_at=store.now(), **values)
            conn.execute(made.on_conflict_do_update(index_elements=["client_id"], set_=values))
            if client.kind == "registered":
                audit.record(store, "client_registered", conn=conn, client_id=client.client_id, address=address)
        row = conn.execute(select(clients).where(clients.c.client_id == client.client_id)).mappings().one()
    return _client(row)


def get_client(store: Store, client_id: str) -> StoredClient | None:
    if not is_storable(client_id):
        return None
    with store.db.read() as conn:
        row = conn.execute(select(clients).where(clients.c.client_id == client_id)).mappings().first()
    return None if row is None else _client(row)


def mark_authorized(store: Store, client_id: str) -> None:
    """Notes a client's first authorization; from then on it is kept. Granting does this by itself.

    Raises:
        UnknownClientError: there is none.
    """
    with store.db.write() as conn:
        note_authorized(store, conn, client_id)


def note_authorized(store: Store, conn: Connection, client_id: str) -> None:
    """:func:`mark_authorized` inside a transaction."""
    first = func.coalesce(clients.c.authorized_at, store.now())
    changed = update(clients).where(clients.c.client_id == client_id).values(authorized_at=first)
    if not is_storable(client_id) or conn.execute(changed).rowcount == 0:
        raise UnknownClientError("This client is not known (any more): it has to register again.")


def prune_clients(store: Store, never_authorized_before: int) -> int:
    """Deletes clients that were first seen before a time (ms) and were never authorized. Returns how many."""
    with store.db.write() as conn:
        return _prune(conn, never_authorized_before)


def _prune(conn: Connection, before: int) -> int:
    old = (clients.c.authorized_at.is_(None), clients.c.created_at < before, clients.c.kind != "configured")
    return conn.execute(delete(clients).where(*old)).rowcount


def _make_room(store: Store, conn: Connection) -> None:
    waiting = select(func.count()).select_from(clients).where(clients.c.authorized_at.is_(None))
    if conn.execute(waiting).scalar_one() < MAX_UNAUTHORIZED_CLIENTS:
        return
    stale = (clients.c.kind == "document", clients.c.authorized_at.is_(None), clients.c.cached_until <= store.now())
    conn.execute(delete(clients).where(*stale))
    if conn.execute(waiting).scalar_one() >= MAX_UNAUTHORIZED_CLIENTS:
        # A flood: those that nobody authorized within an hour give way, so that it ends with the flood.
        late = (clients.c.authorized_at.is_(None), clients.c.created_at < store.now() - HOUR)
        conn.execute(delete(clients).where(*late, clients.c.kind != "configured"))
    if conn.execute(waiting).scalar_one() >= MAX_UNAUTHORIZED_CLIENTS:
        raise StoreFullError(
            f"{MAX_UNAUTHORIZED_CLIENTS} clients have registered and were never authorized; no more are taken now."
        )


def _client(row: RowMapping) -> StoredClient:
    return StoredClient(
        client_id=row["client_id"],
        kind=row["kind"],
        name=row["name"],
        redirect_uris=tuple(from_json(row["redirect_uris"])),
        auth_method=row["auth_method"],
        secret_sha256=row["secret_sha256"],
        scope=row["scope"],
        metadata=from_json(row["metadata"]),
        created_at=row["created_at"],
        authorized_at=row["authorized_at"],
        cached_until=row["cached_until"],
    )
