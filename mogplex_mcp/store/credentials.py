"""Credentials: what calls Mogplex for an account, encrypted, one for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, or_, select, update

from mogplex_mcp.store.accounts import lock_account
from mogplex_mcp.store.bounds import SECOND
from mogplex_mcp.store.database import insert_into
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import credentials
from mogplex_mcp.store.texts import is_storable
from mogplex_mcp.store.vault import Vault

CredentialKind = Literal["local", "pat", "mogplex"]


@dataclass(frozen=True, slots=True)
class Credential:
    """What Mogplex accepts in place of a person."""

    kind: CredentialKind
    token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: int | None = None
    """Milliseconds since 1970; None: it does not lapse."""
    client_id: str | None = None
    """Our registration at Mogplex that it was given to; only that one can renew and revoke it."""
    refused: bool = False
    """Mogplex refused it for good; only a new sign-in helps."""


def put_credential(store: Store, account_id: str, credential: Credential) -> Credential | None:
    """Keeps the credential of somebody who just signed in. Returns the one it replaces, if it was another.

    Raises:
        UnknownAccountError: there is no such account.
    """
    with store.db.write() as conn:
        lock_account(conn, account_id)
        former = _read(store.vault, conn, account_id)
        values = _values(store, credential)
        statement = insert_into(conn, credentials).values(account_id=account_id, **values)
        # Whoever is refreshing the former one cannot put its successor here, so nobody need wait for him.
        anew = values | {"lease_holder": None, "lease_until": None}
        conn.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=anew))
    return former if former is not None and former.token != credential.token else None


def replace_credential(store: Store, account_id: str, old_token: str, credential: Credential) -> bool:
    """Keeps what a refresh brought, if the credential that was refreshed is still the stored one.

    Returns False when the person signed in anew meanwhile or the credential was deleted: then nothing changes, and
    what was brought is to be revoked upstream.
    """
    same = _is_still(store.vault, account_id, old_token)
    with store.db.write() as conn:
        return conn.execute(update(credentials).where(same).values(_values(store, credential))).rowcount == 1


def get_credential(store: Store, account_id: str) -> Credential | None:
    if not is_storable(account_id):
        return None
    with store.db.read() as conn:
        return _read(store.vault, conn, account_id)


def refuse_credential(store: Store, account_id: str, token: str) -> bool:
    """Notes that Mogplex refused this token for good, if it is still the stored one. Returns whether it was."""
    same = _is_still(store.vault, account_id, token)
    with store.db.write() as conn:
        return conn.execute(update(credentials).where(same).values(refused_at=store.now())).rowcount == 1


def delete_credential(store: Store, account_id: str) -> Credential | None:
    """Forgets an account's credential and returns it, so that the caller can revoke it upstream."""
    with store.db.write() as conn:
        return take_credential(store, conn, account_id)


def take_credential(store: Store, conn: Connection, account_id: str) -> Credential | None:
    """:func:`delete_credential` inside a transaction."""
    if not is_storable(account_id):
        return None
    statement = delete(credentials).where(credentials.c.account_id == account_id).returning(credentials)
    row = conn.execute(statement).mappings().first()
    return None if row is None else _credential(store.vault, row)


def lease_refresh(store: Store, account_id: str, holder: str, seconds: int) -> bool:
    """Lets one process refresh a credential at a time.

    Args:
        store: where.
        account_id: whose credential.
        holder: a random name of the process and its attempt.
        seconds: 1-300; after that another may try, whatever became of this one.

    Returns:
        Whether this holder may refresh now. Only one gets True until it releases or the time is over.
    """
    now = store.now()
    held_by_none = or_(credentials.c.lease_until.is_(None), credentials.c.lease_until <= now)
    free = or_(held_by_none, credentials.c.lease_holder == holder)
    lease = {"lease_holder": holder, "lease_until": now + max(1, min(seconds, 300)) * SECOND}
    with store.db.write() as conn:
        taken = conn.execute(update(credentials).where(credentials.c.account_id == account_id, free).values(lease))
        return taken.rowcount == 1


def release_refresh(store: Store, account_id: str, holder: str) -> None:
    """Ends a lease, if this holder still has it."""
    held = and_(credentials.c.account_id == account_id, credentials.c.lease_holder == holder)
    with store.db.write() as conn:
        conn.execute(update(credentials).where(held).values(lease_holder=None, lease_until=None))


def has_usable_credential(conn: Connection, account_id: str) -> bool:
    """Whether an account holds something that Mogplex has not refused."""
    usable = (credentials.c.account_id == account_id, credentials.c.refused_at.is_(None))
    return conn.execute(select(credentials.c.account_id).where(*usable)).first() is not None


def _is_still(vault: Vault, account_id: str, token: str) -> ColumnElement[bool]:
    return and_(credentials.c.account_id == account_id, credentials.c.token_hash == vault.keyed_hash(token))


def _values(store: Store, credential: Credential) -> dict[str, object]:
    return {
        "kind": credential.kind,
        "token": store.vault.encrypt(credential.token),
        "token_hash": store.vault.keyed_hash(credential.token),
        "refresh_token": None if credential.refresh_token is None else store.vault.encrypt(credential.refresh_token),
        "client_id": credential.client_id,
        "expires_at": credential.expires_at,
        "refused_at": store.now() if credential.refused else None,
        "updated_at": store.now(),
    }


def _read(vault: Vault, conn: Connection, account_id: str) -> Credential | None:
    row = conn.execute(select(credentials).where(credentials.c.account_id == account_id)).mappings().first()
    return None if row is None else _credential(vault, row)


def _credential(vault: Vault, row: RowMapping) -> Credential:
    return Credential(
        kind=row["kind"],
        token=vault.decrypt(row["token"]),
        refresh_token=None if row["refresh_token"] is None else vault.decrypt(row["refresh_token"]),
        expires_at=row["expires_at"],
        client_id=row["client_id"],
        refused=row["refused_at"] is not None,
    )
