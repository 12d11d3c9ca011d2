"""Browser sessions: the cookie holds a random id, everything else is here."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from mogplex_mcp.store.accounts import lock_account
from mogplex_mcp.store.bounds import MAX_SESSIONS_PER_ACCOUNT, MAX_VISITS, SESSION_LIFE, VISIT_LIFE
from mogplex_mcp.store.errors import StoreFullError
from mogplex_mcp.store.opaque import digest, new_opaque
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import sessions
from mogplex_mcp.store.texts import is_storable


@dataclass(frozen=True, slots=True)
class Session:
    """A browser's session. Times in milliseconds since 1970."""

    id_hash: str
    account_id: str | None
    """None: nobody has signed in yet."""
    created_at: int
    expires_at: int


def new_session(store: Store, account_id: str | None = None) -> tuple[str, Session]:
    """Begins a session and returns its id, the cookie's value, which is kept only hashed.

    With an account it lasts 8 hours, and of more than ``MAX_SESSIONS_PER_ACCOUNT`` the oldest ends. Without one it
    lasts an hour: it is there to bind forms to a browser.

    Raises:
        StoreFullError: ``MAX_VISITS`` sessions exist in which nobody signed in.
        UnknownAccountError: there is no such account.
    """
    with store.db.write() as conn:
        return _begin(store, conn, account_id)


def get_session(store: Store, session_id: str) -> Session | None:
    """The session of this id, unless it ended."""
    alive = (sessions.c.id_hash == digest(session_id), sessions.c.expires_at > store.now())
    with store.db.read() as conn:
        row = conn.execute(select(sessions).where(*alive)).mappings().first()
    return None if row is None else Session(**row)


def renew_session(store: Store, old_id: str, account_id: str) -> tuple[str, Session]:
    """Ends a session and begins another in which this account is signed in (no session fixation)."""
    with store.db.write() as conn:
        conn.execute(delete(sessions).where(sessions.c.id_hash == digest(old_id)))
        return _begin(store, conn, account_id)


def end_session(store: Store, session_id: str) -> None:
    with store.db.write() as conn:
        conn.execute(delete(sessions).where(sessions.c.id_hash == digest(session_id)))


def end_sessions_of(store: Store, account_id: str) -> int:
    """Signs an account out of every browser. Returns out of how many."""
    if not is_storable(account_id):
        return 0
    with store.db.write() as conn:
        return conn.execute(delete(sessions).where(sessions.c.account_id == account_id)).rowcount


def prune_sessions(store: Store) -> int:
    """Deletes those that ended. Returns how many."""
    with store.db.write() as conn:
        return _prune(store, conn)


def _begin(store: Store, conn: Connection, account_id: str | None) -> tuple[str, Session]:
    if account_id is None:
        _make_room(store, conn)
    else:
        lock_account(conn, account_id)
    now = store.now()
    session_id = new_opaque()
    session = Session(digest(session_id), account_id, now, now + (SESSION_LIFE if account_id else VISIT_LIFE))
    row = {"id_hash": session.id_hash, "account_id": account_id, "created_at": now, "expires_at": session.expires_at}
    conn.execute(insert(sessions).values(row))
    if account_id is not None:
        newest = (
            select(sessions.c.id_hash)
            .where(sessions.c.account_id == account_id)
            .order_by(sessions.c.expires_at.desc(), sessions.c.id_hash)
            .limit(MAX_SESSIONS_PER_ACCOUNT)
        )
        others = (sessions.c.account_id == account_id, sessions.c.id_hash != session.id_hash)
        conn.execute(delete(sessions).where(*others, sessions.c.id_hash.not_in(newest)))
    return session_id, session


def _prune(store: Store, conn: Connection) -> int:
    return conn.execute(delete(sessions).where(sessions.c.expires_at <= store.now())).rowcount


def _make_room(store: Store, conn: Connection) -> None:
    visits = select(func.count()).select_from(sessions).where(sessions.c.account_id.is_(None))
    if conn.execute(visits).scalar_one() < MAX_VISITS:
        return
    _prune(store, conn)
    if conn.execute(visits).scalar_one() >= MAX_VISITS:
        raise StoreFullError("Too many people are signing in; try again in a few minutes.")
