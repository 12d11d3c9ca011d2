"""Housekeeping: what lapsed is deleted, so that every table stays bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, or_, select

from mogplex_mcp.store.accounts import lock_account
from mogplex_mcp.store.audit import prune_audit
from mogplex_mcp.store.bounds import (
    DEAD_GRANT_LIFE,
    IDLE_ACCOUNT_LIFE,
    UNAUTHORIZED_CLIENT_LIFE,
    UNUSED_CREDENTIAL_LIFE,
)
from mogplex_mcp.store.clients import prune_clients
from mogplex_mcp.store.credentials import Credential, take_credential
from mogplex_mcp.store.errors import UnknownAccountError
from mogplex_mcp.store.grants import is_live
from mogplex_mcp.store.known_runs import prune_known_runs
from mogplex_mcp.store.requests import prune_requests
from mogplex_mcp.store.sessions import prune_sessions
from mogplex_mcp.store.signin_codes import prune_signin_codes
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import accounts, credentials, grants, sessions
from mogplex_mcp.store.tasks import prune_tasks
from mogplex_mcp.store.tokens import prune_tokens
from mogplex_mcp.store.upstream_signins import prune_upstream_signins

_MAX_CREDENTIALS = 100


@dataclass(frozen=True, slots=True)
class Pruned:
    """What housekeeping found."""

    credentials: tuple[Credential, ...]
    """Deleted because nothing used them any more: to be revoked upstream."""


def prune(store: Store) -> Pruned:
    """Deletes everything whose time is over. Meant for once a minute; several processes may do it at once."""
    steps: tuple[Callable[[Store], object], ...] = (
        prune_requests,
        prune_upstream_signins,
        prune_signin_codes,
        prune_sessions,
        prune_tokens,
        _prune_grants,
        prune_known_runs,
        prune_tasks,
        prune_audit,
    )
    for step in steps:
        step(store)
    left = _unused_credentials(store)
    _prune_accounts(store)
    prune_clients(store, store.now() - UNAUTHORIZED_CLIENT_LIFE)
    return Pruned(left)


def _prune_grants(store: Store) -> None:
    """Grants that ended long ago, with their codes and tokens. Until then a replayed code is still recognised."""
    before = store.now() - DEAD_GRANT_LIFE
    with store.db.write() as conn:
        conn.execute(delete(grants).where(or_(grants.c.expires_at <= before, grants.c.revoked_at <= before)))


def _unused_credentials(store: Store) -> tuple[Credential, ...]:
    """Takes the credentials of accounts with no live grant and no session: of grants that lapsed, of sign-ins that
    led to none."""
    now = store.now()
    unused = (
        credentials.c.updated_at <= now - UNUSED_CREDENTIAL_LIFE,
        credentials.c.account_id.not_in(select(grants.c.account_id).where(is_live(now))),
        credentials.c.account_id.not_in(
            select(sessions.c.account_id).where(sessions.c.account_id.is_not(None), sessions.c.expires_at > now)
        ),
    )
    with store.db.read() as conn:
        found = conn.execute(select(credentials.c.account_id).where(*unused).limit(_MAX_CREDENTIALS)).scalars().all()
    taken = []
    for account_id in found:
        with store.db.write() as conn:
            try:
                lock_account(conn, account_id)
            except UnknownAccountError:
                continue  # another process was faster
            # Asked again: a grant or a sign-in may have come since.
            if conn.execute(
                select(credentials.c.account_id).where(credentials.c.account_id == account_id, *unused)
            ).first():
                taken.append(take_credential(store, conn, account_id))
    return tuple(credential for credential in taken if credential is not None)


def _prune_accounts(store: Store) -> None:
    idle = (
        accounts.c.signed_in_at <= store.now() - IDLE_ACCOUNT_LIFE,
        *(
            accounts.c.id.not_in(select(table.c.account_id).where(table.c.account_id.is_not(None)))
            for table in (grants, credentials, sessions)
        ),
    )
    with store.db.write() as conn:
        conn.execute(delete(accounts).where(*idle))
