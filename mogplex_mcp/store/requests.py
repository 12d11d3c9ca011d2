"""Pending authorizations: what a client asked for, until the person has answered."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, insert, select

from mogplex_mcp.store.bounds import MAX_REQUESTS, REQUEST_LIFE
from mogplex_mcp.store.errors import StoreFullError
from mogplex_mcp.store.opaque import digest, new_opaque
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import requests
from mogplex_mcp.store.texts import from_json, to_json


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """An authorization request that was found valid (RFC 6749 section 4.1.1, RFC 7636, RFC 8707)."""

    id: str
    client_id: str
    redirect_uri: str
    redirect_uri_given: bool
    state: str | None
    scopes: tuple[str, ...]
    """The known ones of those asked for."""
    code_challenge: str
    resource: str
    created_at: int
    """Milliseconds since 1970; it lapses 10 minutes later."""


def put_request(
    store: Store,
    *,
    client_id: str,
    redirect_uri: str,
    redirect_uri_given: bool,
    state: str | None,
    scopes: tuple[str, ...],
    code_challenge: str,
    resource: str,
) -> str:
    """Keeps a request for 10 minutes and returns its random id, which is kept only hashed.

    Raises:
        StoreFullError: ``MAX_REQUESTS`` are pending.
        ValueError: together they are longer than ``MAX_DOCUMENT`` characters.
    """
    request_id = new_opaque()
    document = to_json(
        {
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "redirect_uri_given": redirect_uri_given,
            "state": state,
            "scopes": scopes,
            "code_challenge": code_challenge,
            "resource": resource,
        }
    )
    with store.db.write() as conn:
        _make_room(store, conn)
        conn.execute(insert(requests).values(id_hash=digest(request_id), document=document, created_at=store.now()))
    return request_id


def get_request(store: Store, request_id: str) -> AuthorizationRequest | None:
    """The pending request of this id; None when there is none, it lapsed, or it was taken."""
    statement = select(requests).where(requests.c.id_hash == digest(request_id), _pending(store))
    with store.db.read() as conn:
        return _request(request_id, conn.execute(statement).mappings().first())


def take_request(store: Store, request_id: str) -> AuthorizationRequest | None:
    """:func:`get_request`, once: of any number of callers one gets it."""
    statement = delete(requests).where(requests.c.id_hash == digest(request_id), _pending(store)).returning(requests)
    with store.db.write() as conn:
        return _request(request_id, conn.execute(statement).mappings().first())


def prune_requests(store: Store) -> int:
    """Deletes the lapsed ones. Returns how many."""
    with store.db.write() as conn:
        return _prune(store, conn)


def _pending(store: Store) -> ColumnElement[bool]:
    return requests.c.created_at > store.now() - REQUEST_LIFE


def _prune(store: Store, conn: Connection) -> int:
    return conn.execute(delete(requests).where(~_pending(store))).rowcount


def _make_room(store: Store, conn: Connection) -> None:
    count = select(func.count()).select_from(requests)
    if conn.execute(count).scalar_one() < MAX_REQUESTS:
        return
    _prune(store, conn)
    if conn.execute(count).scalar_one() >= MAX_REQUESTS:
        raise StoreFullError("Too many authorizations are pending; try again in a few minutes.")


def _request(request_id: str, row: RowMapping | None) -> AuthorizationRequest | None:
    if row is None:
        return None
    document = from_json(row["document"])
    return AuthorizationRequest(
        id=request_id,
        created_at=row["created_at"],
        **{**document, "scopes": tuple(document["scopes"])},
    )
