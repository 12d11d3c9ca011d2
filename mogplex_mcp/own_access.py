"""Mogplex as this process's own person: standard input and the command line have one caller, and one way to be it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass

import httpx2

from mogplex_mcp.api import MogplexError, Upstream, open_upstream
from mogplex_mcp.auth.caller import Caller, GivenToken, fingerprint
from mogplex_mcp.runs import Watchers
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store, open_store

TOKEN_PAGE = "https://mogplex.com/settings/api-keys"  # noqa: S105 - an address


@dataclass(frozen=True)
class OwnAccess:
    """What one caller calls Mogplex with.

    Attributes:
        upstream: The way to Mogplex.
        caller: The person whose process this is.
        store: What is remembered of them; the account is the same in every process with the same credential.
        watchers: The runs that are followed in this process.
    """

    upstream: Upstream
    caller: Caller
    store: Store
    watchers: Watchers


@asynccontextmanager
async def open_own_access(settings: Settings) -> AsyncIterator[OwnAccess]:
    """Open Mogplex with ``MOGPLEX_API_KEY``, else with a token of the embedded Mogplex for as long as this lasts.

    Runs go on when it ends: the embedded Mogplex works in a daemon of its own.

    Args:
        settings: The credential, the way, and where state is kept.

    Raises:
        MogplexError: UNAUTHORIZED: hosted Mogplex, and no credential; BAD_REQUEST: a setting cannot be used.
        EmbeddedUnavailable, DatabaseError, DiskError, VaultError: The data directory or its owner cannot be used.
    """
    async with AsyncExitStack() as stack:
        opened = open_upstream(settings, embedded=lambda: embedded(settings, may_own=False))
        upstream = await stack.enter_async_context(opened)
        credential = await stack.enter_async_context(_credential(settings, upstream))
        # The embedded Mogplex's token lives as long as this process; the runs its person has seen live longer.
        account = fingerprint(credential)[:16] if settings.api_key is not None else "local"
        store = stack.enter_context(closing(await asyncio.to_thread(open_store, settings)))
        watchers = Watchers(upstream)
        stack.push_async_callback(watchers.close)
        yield OwnAccess(upstream, Caller(f"stdio-{account}", GivenToken(credential)), store, watchers)


def embedded(settings: Settings, *, may_own: bool) -> AbstractAsyncContextManager[httpx2.AsyncBaseTransport]:
    """The embedded Mogplex, loaded only when it is the way taken. Arguments as of ``embedded_transport``."""
    from mogplex_mcp.local.embedded import embedded_transport  # noqa: PLC0415

    return embedded_transport(settings, may_own=may_own)


@asynccontextmanager
async def _credential(settings: Settings, upstream: Upstream) -> AsyncIterator[str]:
    if settings.api_key is not None:
        yield settings.api_key.get_secret_value()
        return
    if upstream.route.kind == "hosted":
        suggestion = f"Set MOGPLEX_API_KEY to a Mogplex token; make one at {TOKEN_PAGE}."
        raise MogplexError("UNAUTHORIZED", "There is no Mogplex token to call it with.", suggestion=suggestion)
    from mogplex_mcp.embedded_tokens import EmbeddedTokens  # noqa: PLC0415 - only when it is the way taken

    tokens = EmbeddedTokens(settings)
    if upstream.route.kind == "embedded":
        await asyncio.to_thread(tokens.make_demo)
    async with tokens.session() as token:
        yield token
