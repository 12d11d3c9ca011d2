"""Tokens of the embedded Mogplex for this program's own use: standard input, and people who sign in here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog

from mogplex_mcp.local.database import Database, open_database
from mogplex_mcp.local.git import GitError
from mogplex_mcp.local.repos import RepoError, ensure_demo
from mogplex_mcp.local.tokens import TokenError, create_token, mint_session_token, revoke_token
from mogplex_mcp.settings import Settings

log = structlog.get_logger(__name__)

PREFIX = 12
"""Characters by which a stored token is found again."""


class EmbeddedTokens:
    """Makes and revokes tokens in the data directory's database.

    Args:
        settings: The data directory.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def mint(self) -> str:
        """A token for a person who signs in; it lasts until it is revoked with the last agent's access."""
        return await asyncio.to_thread(self._mint)

    async def revoke(self, token: str) -> None:
        """Revoke a token that ``mint`` made. One that is gone already is fine."""
        await asyncio.to_thread(self._revoke, token)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[str]:
        """A token for as long as this process serves standard input."""
        token, identifier = await asyncio.to_thread(self._begin)
        try:
            yield token
        finally:
            self._revoke(identifier)

    def make_demo(self) -> None:
        """Something to work on from the first minute, as ``serve`` makes it: a daemon alone makes nothing."""
        with self._database() as database:
            try:
                ensure_demo(database, self._settings.data_dir)
            except (RepoError, GitError) as error:
                # Without git, say. As for ``serve``, there is then nothing to work on, and whoever lists it is told.
                log.warning("demo_not_made", reason=str(error))

    def _mint(self) -> str:
        with self._database() as database:
            return create_token(database, "signed in")[0]

    def _begin(self) -> tuple[str, str]:
        with self._database() as database:
            token, record = mint_session_token(database, f"stdio {os.getpid()}")
            return token, record.id

    def _revoke(self, which: str) -> None:
        with self._database() as database:
            try:
                revoke_token(database, which[:PREFIX] if which.startswith("mog_") else which)
            except TokenError:
                return  # revoked on the command line meanwhile

    @contextmanager
    def _database(self) -> Iterator[Database]:
        database = open_database(self._settings)
        try:
            yield database
        finally:
            database.close()
