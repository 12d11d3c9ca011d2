"""Sign-ins that are under way at Mogplex's own authorization server."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, func, insert, select

from mogplex_mcp.store.bounds import MAX_UPSTREAM_SIGNINS, UPSTREAM_SIGNIN_LIFE
from mogplex_mcp.store.errors import StoreFullError
from mogplex_mcp.store.opaque import digest, new_opaque
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import upstream_signins
from mogplex_mcp.store.texts import from_json, to_json


@dataclass(frozen=True, slots=True)
class UpstreamSignin:
    """A sign-in at Mogplex that was begun in one browser."""

    state: str = field(repr=False)
    browser: str
    """Hash of that browser's session id."""
    request_id: str | None
    """The authorization it is for; None: the account page."""
    verifier: str = field(repr=False)
    """PKCE (RFC 7636)."""
    callback: str
    created_at: int
    """Milliseconds since 1970; it lapses 10 minutes later."""


def put_upstream_signin(store: Store, *, browser: str, request_id: str | None, verifier: str, callback: str) -> str:
    """Begins a sign-in and returns its random ``state``, which is kept only hashed; the rest is encrypted.

    Raises:
        StoreFullError: ``MAX_UPSTREAM_SIGNINS`` are under way.
    """
    state = new_opaque()
    sealed = store.vault.encrypt(to_json({"request_id": request_id, "verifier": verifier, "callback": callback}))
    row = {"state_hash": digest(state), "browser": browser, "sealed": sealed, "created_at": store.now()}
    with store.db.write() as conn:
        _make_room(store, conn)
        conn.execute(insert(upstream_signins).values(row))
    return state


def take_upstream_signin(store: Store, state: str, browser: str) -> UpstreamSignin | None:
    """The sign-in of this state, once, for the browser that began it.

    None when it lapsed, was taken, or was begun in another browser; that other one can still finish it.
    """
    mine = (
        upstream_signins.c.state_hash == digest(state),
        upstream_signins.c.browser == browser,
        upstream_signins.c.created_at > store.now() - UPSTREAM_SIGNIN_LIFE,
    )
    with store.db.write() as conn:
        row = conn.execute(delete(upstream_signins).where(*mine).returning(upstream_signins)).mappings().first()
    if row is None:
        return None
    sealed = from_json(store.vault.decrypt(row["sealed"]))
    return UpstreamSignin(state=state, browser=row["browser"], created_at=row["created_at"], **sealed)


def prune_upstream_signins(store: Store) -> int:
    """Deletes the lapsed ones. Returns how many."""
    with store.db.write() as conn:
        return _prune(store, conn)


def _prune(store: Store, conn: Connection) -> int:
    old = upstream_signins.c.created_at <= store.now() - UPSTREAM_SIGNIN_LIFE
    return conn.execute(delete(upstream_signins).where(old)).rowcount


def _make_room(store: Store, conn: Connection) -> None:
    count = select(func.count()).select_from(upstream_signins)
    if conn.execute(count).scalar_one() < MAX_UPSTREAM_SIGNINS:
        return
    _prune(store, conn)
    if conn.execute(count).scalar_one() >= MAX_UPSTREAM_SIGNINS:
        raise StoreFullError("Too many people are signing in; try again in a few minutes.")
