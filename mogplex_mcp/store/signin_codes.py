"""One-time codes that prove the owner of this machine, printed in a terminal and typed into the page."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, delete, func, insert, select

from mogplex_mcp.store import audit
from mogplex_mcp.store.bounds import MAX_SIGNIN_CODES, SIGNIN_CODE_LIFE, SIGNIN_TRIES
from mogplex_mcp.store.database import serialize
from mogplex_mcp.store.errors import TooManyTriesError
from mogplex_mcp.store.opaque import new_id
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import signin_codes, signin_failures

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""No letter that looks like a digit, no digit that looks like a letter."""
_LENGTH = 10
_MAX_TYPED = 40
_TRIES_KEY = 0x7369676E696E


def new_signin_code(store: Store) -> str:
    """A code of 50 random bits like ``ABCDE-FGHJK``, good once within 10 minutes; kept only as a keyed hash.

    Of more than ``MAX_SIGNIN_CODES`` that wait, the oldest is forgotten.
    """
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    now = store.now()
    with store.db.write() as conn:
        serialize(conn, _TRIES_KEY)
        _prune(store, conn)
        newest = select(signin_codes.c.code_hash).order_by(signin_codes.c.created_at.desc()).limit(MAX_SIGNIN_CODES - 1)
        conn.execute(delete(signin_codes).where(signin_codes.c.code_hash.not_in(newest)))
        conn.execute(insert(signin_codes).values(code_hash=store.vault.keyed_hash(code), created_at=now))
    return f"{code[:5]}-{code[5:]}"


def redeem_signin_code(store: Store, code: str, *, address: str | None = None) -> bool:
    """Whether a code is right; then it is spent. Case, spaces and dashes do not matter.

    Raises:
        TooManyTriesError: ``SIGNIN_TRIES`` wrong codes came in 10 minutes, from wherever; the right one is refused too.
    """
    typed = "".join(char for char in code[:_MAX_TYPED].upper() if char not in "- \t\r\n")
    with store.db.write() as conn:
        serialize(conn, _TRIES_KEY)
        _prune(store, conn)
        tries = conn.execute(select(func.count()).select_from(signin_failures)).scalar_one()
        if tries < SIGNIN_TRIES:
            right = signin_codes.c.code_hash == store.vault.keyed_hash(typed)
            if conn.execute(delete(signin_codes).where(right)).rowcount:
                return True
            conn.execute(insert(signin_failures).values(id=new_id(), at=store.now()))
            audit.record(store, "signin_code_refused", conn=conn, address=address)
            return False
    raise TooManyTriesError(f"{SIGNIN_TRIES} wrong codes were tried; wait {SIGNIN_CODE_LIFE // 60_000} minutes.")


def prune_signin_codes(store: Store) -> None:
    """Deletes lapsed codes and forgotten failures."""
    with store.db.write() as conn:
        _prune(store, conn)


def _prune(store: Store, conn: Connection) -> None:
    old = store.now() - SIGNIN_CODE_LIFE
    conn.execute(delete(signin_codes).where(signin_codes.c.created_at <= old))
    conn.execute(delete(signin_failures).where(signin_failures.c.at <= old))
