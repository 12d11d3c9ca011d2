"""Servers over the embedded Mogplex and over one that does as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mogplex_mcp.api import open_upstream
from mogplex_mcp.settings import Settings
from tests.api.conftest import no_embedded
from tests.api.scripted_upstream import REPO, RUN, ScriptedUpstream, ok, scripted_upstream
from tests.mcp.conftest import Host, home, host, other_token, serving, settings  # noqa: F401 - fixtures
from tests.tasks.client import TaskHost

TOKEN = "mog_tests0123456789"


@pytest.fixture
def real(host: Host) -> TaskHost:  # noqa: F811
    """A host of a server over the embedded Mogplex."""
    return TaskHost(host)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A Mogplex in which run-1 is under way."""
    async with scripted_upstream() as scripted:
        scripted.answers(ok({"repos": [REPO]}), on="GET /repos")
        scripted.answers(ok({**RUN, "replayed": False}, 202), on="POST /runs")
        scripted.answers(ok({"run": RUN}), on="GET /runs/run-1")
        scripted.answers(ok({"run": RUN, "events": []}), on="GET /runs/run-1/events")
        yield scripted


@pytest.fixture
async def agent(upstream: ScriptedUpstream, home: Path) -> AsyncIterator[TaskHost]:  # noqa: F811
    """A host of a server over that Mogplex."""
    async with (
        open_upstream(Settings(home=home, url=upstream.url, dev=True), embedded=no_embedded) as opened,
        serving(Settings(home=home, url=upstream.url, dev=True), opened, TOKEN) as made,
    ):
        yield TaskHost(made)
