"""The same on uvloop, which `serve` runs on where it installs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.local.hosting import API, Host, alive, eventually


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


def pid_file(host: Host) -> Path:
    return host.settings.data_dir / "pid"


async def test_a_run_works_and_another_is_cancelled(host: Host) -> None:
    run = await host.start("commit('a.txt', 'A')\nsay(type='turn.completed', usage={})", createBranch=True)
    assert (await host.ended(run["runId"]))["status"] == "success"
    pid = pid_file(host)
    script = f"import os, time\nPath({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    endless = await host.start(script, createBranch=True)
    await eventually(lambda: pid.exists() and pid.read_text())
    await host.cancel(endless["runId"])
    assert (await host.ended(endless["runId"]))["status"] == "cancelled"
    assert not alive(int(pid.read_text()))


async def test_the_socket_answers(host: Host) -> None:
    transport = httpx2.AsyncHTTPTransport(uds=str(host.settings.data_dir / "daemon.sock"))
    async with httpx2.AsyncClient(transport=transport, base_url="http://mogplex") as client:
        assert (await client.get(f"{API}/repos")).status_code == 401
