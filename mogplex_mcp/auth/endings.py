"""What follows when a grant ends or changes: its tokens are looked up anew, its streams end, its credential goes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from mogplex_mcp.api import MogplexError
from mogplex_mcp.auth.access import AccessTokens
from mogplex_mcp.auth.credentials import Credentials
from mogplex_mcp.auth.streams import OpenStreams
from mogplex_mcp.store.grants import Grant, Revoked, live_among
from mogplex_mcp.store.pruning import prune
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.vault import VaultError

HOUSEKEEPING_SECONDS = 60.0

_log = structlog.get_logger()


class Endings:
    """Carries out what a change of grants means for this process.

    Args:
        store: Where grants are.
        access: Tokens seen lately.
        streams: What is under way.
        credentials: What is revoked upstream with an account's last grant.
    """

    def __init__(self, store: Store, access: AccessTokens, streams: OpenStreams, credentials: Credentials) -> None:
        self._store = store
        self._access = access
        self._streams = streams
        self._credentials = credentials
        self._tasks: set[asyncio.Task[None]] = set()

    def changed(self, grant: Grant) -> None:
        """Scopes changed: felt by the next request, and at once by what needs one that was taken away."""
        self._access.forget((grant.id,))
        self._streams.narrow(grant.id, grant.scopes)

    async def ended(self, revoked: Revoked) -> None:
        """Grants were revoked: felt at once. Revoking upstream is not waited for."""
        self._access.forget(revoked.grant_ids)
        self._streams.end(revoked.grant_ids)
        self._start(self._credentials.revoke(revoked.credential))

    async def keep(self) -> None:
        """Notice what other processes revoke, and keep house; for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._streams.watch(self._live))
            tasks.create_task(self._housekeeping())

    async def finish(self) -> None:
        """Wait for revocations under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _live(self, grant_ids: Collection[str]) -> Mapping[str, Collection[str]] | None:
        try:
            return await self._store.db.call(live_among, self._store, grant_ids)
        except SQLAlchemyError as error:
            # The next look, seconds later, sees what this one missed.
            _log.warning("grants_not_watched", reason=type(error).__name__)
            return None

    async def _housekeeping(self) -> None:
        while True:
            try:
                pruned = await self._store.db.call(prune, self._store)
                for credential in pruned.credentials:
                    await self._credentials.revoke(credential)
            except (SQLAlchemyError, VaultError, MogplexError) as error:
                _log.warning("housekeeping_failed", reason=type(error).__name__)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
