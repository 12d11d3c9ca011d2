"""Personal access tokens of the embedded Mogplex (Mogplex documentation, /web/api/authentication).

A token is ``mog_`` and 32 base62 characters. At rest there is its SHA-256 and the first 12 characters, no more.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import RowMapping, delete, insert, or_, select, update

from mogplex_mcp.local.database import Database
from mogplex_mcp.local.tables import tokens
from mogplex_mcp.local.timestamps import now_ms

SCOPES = ("read", "write")
SESSION_DAYS = 30
"""How long a token of :func:`mint_session_token` lives if its process dies without revoking it."""

_ALPHABET = string.ascii_letters + string.digits
_LENGTH = 32
_PREFIX = 12
_DAY_MS = 86_400_000
_MAX_NAME = 100
_MAX_DAYS = 3650
_MAX_BEARER = 200


class TokenError(ValueError):
    """A token cannot be made or found; the message is for the person who asked."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    is_session: bool
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    def usable(self, now: int) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def create_token(
    db: Database, name: str, scopes: Iterable[str] = SCOPES, expires_in_days: int | None = None
) -> tuple[str, TokenRecord]:
    """Makes a token and returns it in plain text, the only time it exists so.

    Args:
        name: what the list shows, 1-100 characters.
        scopes: of ``read`` and ``write``, at least one.
        expires_in_days: 1-3650, or None for a token that does not expire.

    Raises:
        TokenError: an argument is out of its bounds.
    """
    return _create(db, name, scopes, expires_in_days, is_session=False)


def mint_session_token(db: Database, name: str) -> tuple[str, TokenRecord]:
    """A full-scope token for one process, to be revoked at its end; it expires after 30 days anyway.

    Rows of earlier session tokens that are revoked or expired are deleted here, so that they do not pile up.
    """
    now = now_ms()
    with db.write() as connection:
        spent = or_(tokens.c.revoked_at.is_not(None), tokens.c.expires_at <= now)
        connection.execute(delete(tokens).where(tokens.c.is_session, spent))
    return _create(db, name, SCOPES, SESSION_DAYS, is_session=True)


def _create(
    db: Database, name: str, scopes: Iterable[str], days: int | None, *, is_session: bool
) -> tuple[str, TokenRecord]:
    wanted = tuple(scope for scope in SCOPES if scope in (given := set(scopes)))
    if unknown := given.difference(SCOPES):
        raise TokenError(f"Unknown scope {min(unknown)!r}; the scopes are read and write.")
    if not wanted:
        raise TokenError("A token needs at least one of the scopes read and write.")
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise TokenError(f"A token's name has 1 to {_MAX_NAME} printable characters.")
    if days is not None and not 1 <= days <= _MAX_DAYS:
        raise TokenError(f"A token expires in 1 to {_MAX_DAYS} days.")
    token = "mog_" + "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    now = now_ms()
    record = TokenRecord(
        id=str(uuid.uuid4()),
        name=name,
        prefix=token[:_PREFIX],
        scopes=wanted,
        is_session=is_session,
        created_at=now,
        expires_at=None if days is None else now + days * _DAY_MS,
        revoked_at=None,
    )
    with db.write() as connection:
        connection.execute(
            insert(tokens).values(
                id=record.id,
                name=name,
                sha256=_digest(token),
                prefix=record.prefix,
                scopes=",".join(wanted),
                is_session=is_session,
                created_at=now,
                expires_at=record.expires_at,
            )
        )
    return token, record


def list_tokens(db: Database) -> list[TokenRecord]:
    """Every token, oldest first, revoked and expired ones too."""
    with db.read() as connection:
        rows = connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id)).mappings()
        return [_record(row) for row in rows]


def revoke_token(db: Database, which: str) -> TokenRecord:
    """Revokes the token with this id, prefix or unambiguous name; the next request with it gets 401.

    Raises:
        TokenError: there is no such token that is not revoked already, or several have that name.
    """
    with db.write() as connection:
        named = or_(tokens.c.id == which, tokens.c.prefix == which, tokens.c.name == which)
        found = connection.execute(select(tokens).where(named, tokens.c.revoked_at.is_(None))).mappings().all()
        if not found:
            raise TokenError("No token that is still valid has this id, prefix or name.")
        if len(found) > 1:
            raise TokenError("Several tokens match; name one by its id (see `local tokens list`).")
        statement = update(tokens).where(tokens.c.id == found[0]["id"]).values(revoked_at=now_ms()).returning(tokens)
        return _record(connection.execute(statement).mappings().one())


def authenticate(db: Database, bearer: str) -> TokenRecord | None:
    """The record of a token that may be used now, else None. It looks the hash up, so there is nothing to time."""
    if not bearer.startswith("mog_") or len(bearer) > _MAX_BEARER:
        return None
    with db.read() as connection:
        row = connection.execute(select(tokens).where(tokens.c.sha256 == _digest(bearer))).mappings().first()
    if row is None:
        return None
    record = _record(row)
    return record if record.usable(now_ms()) else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _record(row: RowMapping) -> TokenRecord:
    return TokenRecord(
        id=row["id"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=tuple(row["scopes"].split(",")),
        is_session=row["is_session"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
