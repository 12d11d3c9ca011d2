"""A client against a scripted upstream."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest
from tenacity.wait import wait_random

from mogplex_mcp.api import MogplexApi, Upstream, open_upstream, retry
from mogplex_mcp.settings import Settings
from tests.api.scripted_upstream import ScriptedUpstream, scripted_upstream

TOKEN = "mog_AbCdEf1234567890aBcDeF1234567890"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MOGPLEX_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits without a Retry-After are random anyway; here they are short."""
    monkeypatch.setattr(retry, "_backoff", wait_random(0, 0.02))
    monkeypatch.setattr(retry, "_spread", wait_random(0, 0.01))


def no_embedded() -> AbstractAsyncContextManager[httpx2.AsyncBaseTransport]:
    """The embedded Mogplex where it must not be asked for."""
    raise AssertionError("the embedded Mogplex was opened")


def open_hosted(url: str, **changes: Any) -> AbstractAsyncContextManager[Upstream]:
    """The way to a server on loopback."""
    return open_upstream(Settings(url=url, dev=True, **changes), embedded=no_embedded)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as server:
        yield server


@pytest.fixture
async def api(upstream: ScriptedUpstream) -> AsyncIterator[MogplexApi]:
    async with open_hosted(upstream.url) as way:
        yield MogplexApi(way, TOKEN)
