"""Grants: what an account allowed a client to do, from its authorization code to its end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, insert, select, update

from mogplex_mcp.store import audit
from mogplex_mcp.store.accounts import lock_account
from mogplex_mcp.store.bounds import CODE_LIFE, MAX_GRANTS_PER_ACCOUNT
from mogplex_mcp.store.clients import note_authorized
from mogplex_mcp.store.credentials import Credential, has_usable_credential, take_credential
from mogplex_mcp.store.errors import NoCredentialError, StoreFullError, UnknownAccountError
from mogplex_mcp.store.opaque import CODE_PREFIX, digest, new_id, new_opaque
from mogplex_mcp.store.requests import AuthorizationRequest
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import clients, codes, grants, refresh_tokens
from mogplex_mcp.store.texts import from_words, is_storable, storable, to_words

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Grant:
    """What one account allowed one client at one authorization. Times in milliseconds since 1970."""

    id: str
    account_id: str
    client_id: str
    redirect_uri: str
    resource: str
    requested: tuple[str, ...]
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int
    """When its code or refresh token lapses, whichever it has."""
    last_used_at: int | None
    last_used_from: str | None
    revoked_at: int | None

    def is_live(self, now: int) -> bool:
        return self.revoked_at is None and now < self.expires_at


@dataclass(frozen=True, slots=True)
class ConnectedAgent:
    """A live grant and the client it was given to, for the connections page."""

    grant: Grant
    client_name: str
    """Chosen by the client; not trusted."""
    client_kind: str


@dataclass(frozen=True, slots=True)
class SpentCode:
    """A code that this transaction spent: its tokens may be issued if the rest of the request is right."""

    grant: Grant
    code_challenge: str
    redirect_uri_given: bool


@dataclass(frozen=True, slots=True)
class ReusedCode:
    """A code that came a second time (RFC 6749 section 4.1.2): its grant is revoked."""

    grant_id: str
    credential: Credential | None = field(default=None)
    """What the account's last grant left: to be revoked upstream."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a revocation ended."""

    grant_ids: tuple[str, ...] = ()
    credential: Credential | None = None
    """Deleted with the account's last grant: to be revoked upstream."""


def create_grant_with_code(
    store: Store,
    account_id: str,
    request: AuthorizationRequest,
    scopes: Iterable[str],
    *,
    address: str | None = None,
) -> str:
    """Makes the grant that a person just allowed and returns its code: one use, 60 s, kept only hashed.

    Raises:
        UnknownAccountError: the account is gone.
        NoCredentialError: the account holds nothing that Mogplex accepts; the person has to sign in again.
        UnknownClientError: the client is gone.
        StoreFullError: the account has ``MAX_GRANTS_PER_ACCOUNT`` live grants.
        ValueError: no scope.
    """
    granted = to_words(scopes)
    if not granted:
        raise ValueError("A grant has at least one scope.")
    now = store.now()
    code = new_opaque(CODE_PREFIX)
    grant = {
        "id": new_id(),
        "account_id": account_id,
        "client_id": request.client_id,
        "redirect_uri": request.redirect_uri,
        "resource": request.resource,
        "requested": to_words(request.scopes),
        "scopes": granted,
        "created_at": now,
        "expires_at": now + CODE_LIFE,
    }
    row = {
        "code_hash": digest(code),
        "grant_id": grant["id"],
        "code_challenge": request.code_challenge,
        "redirect_uri_given": request.redirect_uri_given,
        "created_at": now,
    }
    with store.db.write() as conn:
        lock_account(conn, account_id)
        if not has_usable_credential(conn, account_id):
            raise NoCredentialError("Sign in again: nothing is kept that Mogplex accepts for this account.")
        if _count_live(conn, account_id, now) >= MAX_GRANTS_PER_ACCOUNT:
            raise StoreFullError(f"{MAX_GRANTS_PER_ACCOUNT} agents are connected; revoke some first.")
        note_authorized(store, conn, request.client_id)
        conn.execute(insert(grants).values(grant))
        conn.execute(insert(codes).values(row))
        _audit(store, conn, "grant_created", grant, address, scopes=granted)
    return code


def spend_code(
    store: Store, conn: Connection, code: str, *, address: str | None = None
) -> SpentCode | ReusedCode | None:
    """Spends a code, by one statement, before anything is issued for it.

    Args:
        store: where.
        conn: the write transaction in which tokens will be issued. It has to be committed after ``ReusedCode`` too:
            the revocation is part of it.
        code: what the client sent, whatever that is.
        address: the client's address, for the audit.

    Returns:
        ``SpentCode`` to exactly one caller, whose check of client, redirect URI and verifier is still to come;
        ``ReusedCode`` to every other; None when it is no code, it lapsed, or its grant cannot be used.
    """
    named = codes.c.code_hash == digest(code)
    found = conn.execute(select(grants).join(codes, codes.c.grant_id == grants.c.id).where(named)).mappings().first()
    if found is None:
        return None
    lock_account(conn, found["account_id"])
    now = store.now()
    spend = update(codes).where(named, codes.c.used_at.is_(None)).values(used_at=now).returning(codes)
    spent = conn.execute(spend).mappings().first()
    if spent is None:
        _audit(store, conn, "code_reused", found, address)
        return ReusedCode(found["id"], end_grant(store, conn, found["id"], "code reused").credential)
    grant = read_grant(conn, found["id"])
    if grant is None or not grant.is_live(now) or not has_usable_credential(conn, grant.account_id):
        return None
    _audit(store, conn, "code_redeemed", found, address)
    return SpentCode(grant, spent["code_challenge"], spent["redirect_uri_given"])


def set_scopes(
    store: Store, grant_id: str, scopes: Iterable[str], *, account_id: str | None = None, address: str | None = None
) -> Grant | None:
    """Changes what a live grant allows; its tokens allow it at once. Returns the grant, None when there is none.

    Args:
        store: where.
        grant_id: which.
        scopes: all it allows from now on, at least one.
        account_id: whose it has to be; None: anybody's.
        address: who did it, for the audit.

    Raises:
        ValueError: no scope.
    """
    granted = to_words(scopes)
    if not granted:
        raise ValueError("A grant has at least one scope; revoke it instead.")
    with store.db.write() as conn:
        grant = _lock_grant(conn, grant_id, account_id)
        if grant is None or not grant.is_live(store.now()):
            return None
        conn.execute(update(grants).where(grants.c.id == grant_id).values(scopes=granted))
        facts = {"id": grant.id, "account_id": grant.account_id, "client_id": grant.client_id}
        _audit(store, conn, "scopes_changed", facts, address, before=to_words(grant.scopes), after=granted)
        return read_grant(conn, grant_id)


def revoke_grant(
    store: Store, grant_id: str, why: str, *, account_id: str | None = None, address: str | None = None
) -> Revoked:
    """Ends a grant and all its tokens, at once. With the account's last grant its credential goes.

    Args:
        store: where.
        grant_id: which.
        why: for the audit.
        account_id: whose it has to be; None: anybody's.
        address: who did it, for the audit.
    """
    with store.db.write() as conn:
        if _lock_grant(conn, grant_id, account_id) is None:
            return Revoked()
        return end_grant(store, conn, grant_id, why, address=address)


def revoke_grants_of(store: Store, account_id: str, *, why: str = "all revoked", address: str | None = None) -> Revoked:
    """Ends every grant of an account; its credential goes with them."""
    with store.db.write() as conn:
        try:
            lock_account(conn, account_id)
        except UnknownAccountError:
            return Revoked()
        live = select(grants.c.id).where(grants.c.account_id == account_id, is_live(store.now()))
        ended = [end_grant(store, conn, row.id, why, address=address) for row in conn.execute(live).all()]
        left = take_credential(store, conn, account_id)
    last = next((each.credential for each in ended if each.credential is not None), left)
    return Revoked(tuple(grant_id for each in ended for grant_id in each.grant_ids), last)


def grants_of(store: Store, account_id: str) -> list[ConnectedAgent]:
    """An account's live grants with their clients, newest first."""
    if not is_storable(account_id):
        return []
    statement = (
        select(grants, clients.c.name.label("client_name"), clients.c.kind.label("client_kind"))
        .join(clients, clients.c.client_id == grants.c.client_id)
        .where(grants.c.account_id == account_id, is_live(store.now()))
        .order_by(grants.c.created_at.desc(), grants.c.id)
    )
    with store.db.read() as conn:
        rows = conn.execute(statement).mappings().all()
    return [ConnectedAgent(_grant(row), row["client_name"], row["client_kind"]) for row in rows]


def get_grant(store: Store, grant_id: str) -> Grant | None:
    """A grant, live or not."""
    if not is_storable(grant_id):
        return None
    with store.db.read() as conn:
        return read_grant(conn, grant_id)


def held_scopes(store: Store, account_id: str, client_id: str) -> tuple[str, ...]:
    """What the live grants of an account allow a client already, together."""
    held = (agent.grant for agent in grants_of(store, account_id) if agent.grant.client_id == client_id)
    return from_words(to_words(scope for grant in held for scope in grant.scopes))


def live_among(store: Store, grant_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What each of these grants allows; those that are revoked, have lapsed or were never there are left out."""
    asked = list(dict.fromkeys(grant_ids))
    live: dict[str, tuple[str, ...]] = {}
    with store.db.read() as conn:
        for start in range(0, len(asked), _CHUNK):
            some = grants.c.id.in_(asked[start : start + _CHUNK])
            rows = conn.execute(select(grants.c.id, grants.c.scopes).where(some, is_live(store.now())))
            live.update((row.id, from_words(row.scopes)) for row in rows)
    return live


def is_live(now: int) -> ColumnElement[bool]:
    """In a query: that a grant can be used."""
    return and_(grants.c.revoked_at.is_(None), grants.c.expires_at > now)


def read_grant(conn: Connection, grant_id: str) -> Grant | None:
    row = conn.execute(select(grants).where(grants.c.id == grant_id)).mappings().first()
    return None if row is None else _grant(row)


def end_grant(store: Store, conn: Connection, grant_id: str, why: str, *, address: str | None = None) -> Revoked:
    """:func:`revoke_grant` inside a transaction that has locked the account."""
    now = store.now()
    unrevoked = (grants.c.id == grant_id, grants.c.revoked_at.is_(None))
    ended = update(grants).where(*unrevoked).values(revoked_at=now, revoked_why=storable(why)).returning(grants)
    row = conn.execute(ended).mappings().first()
    if row is None:
        return Revoked()
    conn.execute(update(refresh_tokens).where(refresh_tokens.c.grant_id == grant_id).values(successor=None))
    _audit(store, conn, "grant_revoked", row, address, why=why)
    last = _count_live(conn, row["account_id"], now) == 0
    return Revoked((grant_id,), take_credential(store, conn, row["account_id"]) if last else None)


def _lock_grant(conn: Connection, grant_id: str, account_id: str | None) -> Grant | None:
    grant = read_grant(conn, grant_id) if is_storable(grant_id) else None
    if grant is None or account_id not in (None, grant.account_id):
        return None
    lock_account(conn, grant.account_id)
    return read_grant(conn, grant_id)


def _count_live(conn: Connection, account_id: str, now: int) -> int:
    mine = select(func.count()).select_from(grants).where(grants.c.account_id == account_id, is_live(now))
    return conn.execute(mine).scalar_one()


def _audit(
    store: Store,
    conn: Connection,
    event: str,
    grant: Mapping[str, object] | RowMapping,
    address: str | None,
    **facts: str,
) -> None:
    audit.record(
        store,
        event,
        conn=conn,
        account_id=str(grant["account_id"]),
        client_id=str(grant["client_id"]),
        grant_id=str(grant["id"]),
        address=address,
        **facts,
    )


def _grant(row: RowMapping) -> Grant:
    return Grant(
        id=row["id"],
        account_id=row["account_id"],
        client_id=row["client_id"],
        redirect_uri=row["redirect_uri"],
        resource=row["resource"],
        requested=from_words(row["requested"]),
        scopes=from_words(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        last_used_from=row["last_used_from"],
        revoked_at=row["revoked_at"],
    )
