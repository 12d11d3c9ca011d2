"""Tokens: issuing, refreshing, finding and revoking them (RFC 6749 sections 5 and 6, RFC 9700 section 4.14)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from sqlalchemy import Connection, RowMapping, Table, bindparam, delete, exists, insert, select, update

from mogplex_mcp.store import audit
from mogplex_mcp.store.accounts import lock_account
from mogplex_mcp.store.bounds import ACCESS_LIFE, MINUTE, REFRESH_GRACE, REFRESH_LIFE, SECOND, USE_NOTED_EVERY
from mogplex_mcp.store.credentials import Credential, has_usable_credential
from mogplex_mcp.store.grants import Grant, Revoked, end_grant, read_grant
from mogplex_mcp.store.opaque import ACCESS_PREFIX, REFRESH_PREFIX, digest, new_opaque
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import access_tokens, credentials, grants, refresh_tokens
from mogplex_mcp.store.texts import from_json, from_words, storable, to_json, to_words

_MAX_TOKEN = 100
_BATCH = 1000
_STALE = MINUTE
"""An access token that lapses sooner is not given again with a repeated answer; a new one is."""

RefusedReason = Literal[
    "unknown", "expired", "revoked", "reused", "wrong_client", "wrong_resource", "credential_refused", "scope"
]


_successor = refresh_tokens.alias("successor_token")

_FIND = (
    select(
        access_tokens.c.grant_id,
        access_tokens.c.scopes,
        access_tokens.c.expires_at,
        grants.c.account_id,
        grants.c.client_id,
        grants.c.resource,
        grants.c.scopes.label("granted"),
        grants.c.revoked_at,
        credentials.c.kind,
        credentials.c.refused_at,
    )
    .join(grants, grants.c.id == access_tokens.c.grant_id)
    .join(credentials, credentials.c.account_id == grants.c.account_id, isouter=True)
    .where(access_tokens.c.token_hash == bindparam("token_hash"))
)


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What the token endpoint answers (RFC 6749 section 5.1)."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    """Seconds."""
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a refresh token gives nothing."""

    reason: RefusedReason
    grant_id: str | None = None
    account_id: str | None = None
    credential: Credential | None = None
    """With ``reused``: deleted with the account's last grant, to be revoked upstream."""


@dataclass(frozen=True, slots=True)
class _Presented:
    client_id: str
    asked: tuple[str, ...] | None
    at: int
    is_ours: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """What an access token may do now, and whether."""

    token_hash: str
    grant_id: str
    account_id: str
    client_id: str
    scopes: tuple[str, ...]
    """Effective: the grant's, less those a down-scoped token was not asked for."""
    resource: str
    expires_at: int
    """Milliseconds since 1970."""
    revoked: bool
    credential_refused: bool
    """The account holds nothing that Mogplex accepts."""

    def is_usable(self, now: int) -> bool:
        return now < self.expires_at and not self.revoked and not self.credential_refused


def issue_tokens(store: Store, conn: Connection, grant: Grant, scopes: Iterable[str] | None = None) -> TokenAnswer:
    """The first tokens of a grant, in the transaction that spent its code.

    Args:
        store: where.
        conn: that transaction.
        grant: ``SpentCode.grant``.
        scopes: what the access token is limited to; None: all of the grant's.
    """
    refresh_token = _new_refresh(store, conn, grant.id)
    access_token = _new_access(store, conn, grant.id, digest(refresh_token), scopes)
    return TokenAnswer(access_token, refresh_token, ACCESS_LIFE // SECOND, _effective(grant, scopes))


def rotate_refresh(
    store: Store,
    refresh_token: str,
    client_id: str,
    scopes: Iterable[str] | None = None,
    *,
    address: str | None = None,
    is_ours: Callable[[str], bool] = lambda _: True,
) -> TokenAnswer | Refused:
    """Exchanges a refresh token for new tokens, or repeats an answer that was lost.

    The token is spent by one statement, before its successor exists. A spent one gives the same successor again for
    30 s, and after that until either token of that answer is first used; later it revokes the grant. An access token
    that would lapse within a minute is made anew, so that a repeated answer is of use.

    Args:
        store: where.
        refresh_token: what the client sent, whatever that is.
        client_id: who sent it, authenticated as its kind demands.
        scopes: what the new access token is limited to (RFC 6749 section 6), None: all of the grant's. Those the
            grant does not hold are left out. A repeated answer keeps its first scopes.
        address: the client's address, for the audit.
        is_ours: whether the grant's resource is the one that is served here: several servers may share a database.
    """
    asked = None if scopes is None else tuple(scopes)
    account_id = _account_of(store, refresh_tokens, refresh_token, REFRESH_PREFIX)
    if account_id is None:
        return Refused("unknown")
    with store.db.write() as conn:
        lock_account(conn, account_id)
        row = _refresh_row(conn, digest(refresh_token))
        grant = None if row is None else read_grant(conn, row["grant_id"])
        if row is None or grant is None:
            return Refused("unknown")
        where = {"account_id": account_id, "client_id": client_id, "grant_id": grant.id, "address": address}
        why = _refusal(conn, row, grant, _Presented(client_id, asked, store.now(), is_ours))
        if why is None:
            event = "token_refreshed" if row["spent_at"] is None else "token_repeated"
            audit.record(store, event, conn=conn, **where)
            return _answer(store, conn, row, grant, asked)
        audit.record(store, "refresh_refused", conn=conn, why=why, **where)
        refused = Refused(why, grant.id, account_id)
        if why != "reused":
            return refused
        ended = end_grant(store, conn, grant.id, "refresh token reused", address=address)
        return replace(refused, credential=ended.credential)


def find_access_token(store: Store, token: str) -> AccessRecord | None:
    """What an access token may do as of now, None for anything that is none. One indexed read."""
    if not _looks_like(token, ACCESS_PREFIX):
        return None
    token_hash = digest(token)
    with store.db.read() as conn:
        row = conn.execute(_FIND, {"token_hash": token_hash}).mappings().first()
    if row is None:
        return None
    granted = from_words(row["granted"])
    limit = None if row["scopes"] is None else from_words(row["scopes"])
    return AccessRecord(
        token_hash=token_hash,
        grant_id=row["grant_id"],
        account_id=row["account_id"],
        client_id=row["client_id"],
        scopes=granted if limit is None else tuple(scope for scope in granted if scope in limit),
        resource=row["resource"],
        expires_at=row["expires_at"],
        revoked=row["revoked_at"] is not None,
        credential_refused=row["kind"] is None or row["refused_at"] is not None,
    )


def note_use(store: Store, grant_id: str, token_hash: str, at: int, address: str | None) -> None:
    """Notes that an access token was used: its grant's last use, and the end of its refresh token's grace.

    It writes only at a token's first use and once a minute for a grant, so it may be called for every request.

    Args:
        store: where.
        grant_id: ``AccessRecord.grant_id``.
        token_hash: ``AccessRecord.token_hash``.
        at: when, in milliseconds since 1970.
        address: from where.
    """
    known = (
        select(access_tokens.c.refresh_hash, refresh_tokens.c.used_at, grants.c.last_used_at, grants.c.account_id)
        .join(grants, grants.c.id == access_tokens.c.grant_id)
        .join(refresh_tokens, refresh_tokens.c.token_hash == access_tokens.c.refresh_hash, isouter=True)
        .where(access_tokens.c.token_hash == token_hash, access_tokens.c.grant_id == grant_id)
    )
    with store.db.read() as conn:
        row = conn.execute(known).mappings().first()
    if row is None:
        return
    noted = row["last_used_at"] is not None and row["last_used_at"] > at - USE_NOTED_EVERY
    if noted and row["used_at"] is not None:
        return
    with store.db.write() as conn:
        lock_account(conn, row["account_id"])
        _mark_used(conn, row["refresh_hash"], at)
        used = {"last_used_at": at, "last_used_from": None if address is None else storable(address)}
        conn.execute(update(grants).where(grants.c.id == grant_id).values(used))


def revoke_token(store: Store, token: str, client_id: str, *, address: str | None = None) -> Revoked:
    """Ends the grant of an access or refresh token, spent ones too (RFC 7009 section 2.1).

    Another client's token, or none at all, ends nothing.
    """
    for table, prefix in ((refresh_tokens, REFRESH_PREFIX), (access_tokens, ACCESS_PREFIX)):
        account_id = _account_of(store, table, token, prefix)
        if account_id is not None:
            break
    else:
        return Revoked()
    with store.db.write() as conn:
        lock_account(conn, account_id)
        named = select(table.c.grant_id).where(table.c.token_hash == digest(token))
        grant_id = conn.execute(named).scalar()
        grant = None if grant_id is None else read_grant(conn, grant_id)
        if grant is None or grant.client_id != client_id:
            return Revoked()
        return end_grant(store, conn, grant.id, "by the client", address=address)


def prune_tokens(store: Store) -> int:
    """Deletes lapsed tokens and the kept answers whose time is over. Returns how many tokens went."""
    now = store.now()
    done = exists().where(_successor.c.token_hash == refresh_tokens.c.successor_hash, _successor.c.used_at.is_not(None))
    over = (refresh_tokens.c.successor.is_not(None), refresh_tokens.c.spent_at <= now - REFRESH_GRACE, done)
    with store.db.write() as conn:
        conn.execute(update(refresh_tokens).where(*over).values(successor=None))
    gone = 0
    for table in (access_tokens, refresh_tokens):
        some = select(table.c.token_hash).where(table.c.expires_at <= now).limit(_BATCH)
        deleted = _BATCH
        while deleted == _BATCH:  # in small transactions: nobody waits long for the write lock
            with store.db.write() as conn:
                deleted = conn.execute(delete(table).where(table.c.token_hash.in_(some))).rowcount
            gone += deleted
    return gone


def _answer(
    store: Store, conn: Connection, row: RowMapping, grant: Grant, asked: tuple[str, ...] | None
) -> TokenAnswer:
    """What a refresh token gives that is not refused."""
    if row["spent_at"] is not None:
        return _repeat(store, conn, grant, row)
    return _exchange(store, conn, grant, row["token_hash"], asked)


def _refusal(conn: Connection, row: RowMapping, grant: Grant, presented: _Presented) -> RefusedReason | None:
    """Why a refresh token gives nothing, in the order in which it matters."""
    spent = row["spent_at"] is not None
    reasons: tuple[tuple[RefusedReason, Callable[[], bool]], ...] = (
        ("wrong_client", lambda: grant.client_id != presented.client_id),
        ("wrong_resource", lambda: not presented.is_ours(grant.resource)),
        ("revoked", lambda: grant.revoked_at is not None),
        ("expired", lambda: row["expires_at"] <= presented.at),
        ("reused", lambda: spent and not _may_repeat(conn, row, presented.at)),
        ("credential_refused", lambda: not has_usable_credential(conn, grant.account_id)),
        ("scope", lambda: not spent and presented.asked is not None and not set(presented.asked) & set(grant.scopes)),
    )
    return next((reason for reason, holds in reasons if holds()), None)


def _may_repeat(conn: Connection, row: RowMapping, now: int) -> bool:
    if row["successor"] is None:
        return False
    if now < row["spent_at"] + REFRESH_GRACE:
        return True
    successor = _refresh_row(conn, row["successor_hash"])
    return successor is not None and successor["used_at"] is None


def _exchange(
    store: Store, conn: Connection, grant: Grant, token_hash: str, asked: tuple[str, ...] | None
) -> TokenAnswer:
    mine = (refresh_tokens.c.token_hash == token_hash, refresh_tokens.c.spent_at.is_(None))
    spend = update(refresh_tokens).where(*mine).values(spent_at=store.now())
    if conn.execute(spend).rowcount == 0:
        raise RuntimeError("A refresh token was spent while its account was locked.")
    _mark_used(conn, token_hash, store.now())
    answer = issue_tokens(store, conn, grant, asked)
    _keep_answer(store, conn, token_hash, answer, asked)
    return answer


def _repeat(store: Store, conn: Connection, grant: Grant, row: RowMapping) -> TokenAnswer:
    kept = from_json(store.vault.decrypt(row["successor"]))
    asked = None if kept["asked"] is None else tuple(kept["asked"])
    left = _seconds_left(store, conn, kept["access_token"])
    answer = TokenAnswer(kept["access_token"], kept["refresh_token"], left, _effective(grant, asked))
    if left >= _STALE // SECOND:
        return answer
    fresh = _new_access(store, conn, grant.id, row["successor_hash"], asked)
    answer = replace(answer, access_token=fresh, expires_in=ACCESS_LIFE // SECOND)
    _keep_answer(store, conn, row["token_hash"], answer, asked)
    return answer


def _keep_answer(
    store: Store, conn: Connection, token_hash: str, answer: TokenAnswer, asked: tuple[str, ...] | None
) -> None:
    kept = {"access_token": answer.access_token, "refresh_token": answer.refresh_token, "asked": asked}
    values = {"successor": store.vault.encrypt(to_json(kept)), "successor_hash": digest(answer.refresh_token)}
    conn.execute(update(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash).values(values))


def _seconds_left(store: Store, conn: Connection, access_token: str) -> int:
    named = select(access_tokens.c.expires_at).where(access_tokens.c.token_hash == digest(access_token))
    expires_at = conn.execute(named).scalar()
    return 0 if expires_at is None else max(0, math.ceil((expires_at - store.now()) / SECOND))


def _mark_used(conn: Connection, refresh_hash: str, at: int) -> None:
    """Notes the first use of an answer; the exchange that gave it can then not be repeated beyond its 30 s."""
    first = (refresh_tokens.c.token_hash == refresh_hash, refresh_tokens.c.used_at.is_(None))
    conn.execute(update(refresh_tokens).where(*first).values(used_at=at))
    over = (refresh_tokens.c.successor_hash == refresh_hash, refresh_tokens.c.spent_at <= at - REFRESH_GRACE)
    conn.execute(update(refresh_tokens).where(*over).values(successor=None))


def _new_refresh(store: Store, conn: Connection, grant_id: str) -> str:
    token = new_opaque(REFRESH_PREFIX)
    now = store.now()
    row = {
        "token_hash": digest(token),
        "grant_id": grant_id,
        "created_at": now,
        "expires_at": now + REFRESH_LIFE,
    }
    conn.execute(insert(refresh_tokens).values(row))
    conn.execute(update(grants).where(grants.c.id == grant_id).values(expires_at=row["expires_at"]))
    return token


def _new_access(store: Store, conn: Connection, grant_id: str, refresh_hash: str, asked: Iterable[str] | None) -> str:
    token = new_opaque(ACCESS_PREFIX)
    now = store.now()
    row = {
        "token_hash": digest(token),
        "grant_id": grant_id,
        "refresh_hash": refresh_hash,
        "scopes": None if asked is None else storable(to_words(asked)),
        "created_at": now,
        "expires_at": now + ACCESS_LIFE,
    }
    conn.execute(insert(access_tokens).values(row))
    return token


def _effective(grant: Grant, asked: Iterable[str] | None) -> tuple[str, ...]:
    limit = None if asked is None else set(asked)
    return grant.scopes if limit is None else tuple(scope for scope in grant.scopes if scope in limit)


def _refresh_row(conn: Connection, token_hash: str) -> RowMapping | None:
    named = select(refresh_tokens).where(refresh_tokens.c.token_hash == token_hash)
    return conn.execute(named).mappings().first()


def _account_of(store: Store, table: Table, token: str, prefix: str) -> str | None:
    """Whose token it is, if it is one; without waiting for anybody who writes."""
    if not _looks_like(token, prefix):
        return None
    owner = select(grants.c.account_id).join(table, table.c.grant_id == grants.c.id)
    with store.db.read() as conn:
        return conn.execute(owner.where(table.c.token_hash == digest(token))).scalar()


def _looks_like(token: str, prefix: str) -> bool:
    return len(token) <= _MAX_TOKEN and token.startswith(prefix)
