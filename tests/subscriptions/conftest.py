"""A server over the embedded Mogplex, one over a Mogplex that tells callers apart, and hosts that hear of changes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.mcp.conftest import home, host, other_token, settings
from tests.mcp.test_access import person
from tests.subscriptions.hosting import PrivateHost, private_host

__all__ = ["home", "host", "other_token", "person", "private", "settings"]


@pytest.fixture
async def private(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PrivateHost]:
    """Two hosts, of which one sees runs and the other none."""
    async with private_host(home, monkeypatch) as made:
        yield made
