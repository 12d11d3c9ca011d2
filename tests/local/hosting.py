"""A data directory with an owner in this process, a repository, a token, and a client that uses it as anybody would."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from mogplex_mcp.local.database import Database, open_database
from mogplex_mcp.local.embedded import EmbeddedTransport, embedded_transport
from mogplex_mcp.local.repos import Repo, add_repo
from mogplex_mcp.local.tokens import create_token
from mogplex_mcp.settings import Settings

API = "/api/v1/mogplex"
FAKE_CLI = Path(__file__).with_name("fake_cli.py")
DEADLINE = 30.0
"""Seconds after which something that was waited for is taken never to come."""
ORDINARY_PERMISSIONS = (
    ("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner") if os.geteuid() == 0 else ()
)
"""What goes before a command that must obey the permissions of files also where root runs the tests."""
TERMINAL = ("success", "failed", "cancelled")


def settings_for(data_dir: Path, **changes: Any) -> Settings:
    """Settings whose codex is the fake CLI and whose limits are off, unless a test sets them."""
    values: dict[str, Any] = {
        "home": data_dir,
        "mcp_data_dir": data_dir,
        "local_codex_command": shlex.join([sys.executable, "-I", "-S", str(FAKE_CLI)]),
        "local_claude_command": "no-such-program-anywhere",
        "local_rate_limit": 0,
        "local_run_starts_per_minute": 0,
        "local_run_starts_per_hour": 0,
        "local_run_starts_per_day": 0,
    }
    return Settings(**values | changes)


def run_git(path: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Person", "-c", "user.email=person@localhost", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=path, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def make_repository(path: Path, *, branch: str = "main", commits: int = 1) -> Path:
    """A git repository with ``branch`` checked out."""
    path.mkdir(parents=True)
    run_git(path, "init", "--quiet", f"--initial-branch={branch}")
    for number in range(commits):
        (path / "file.txt").write_text(f"{number}\n")
        run_git(path, "add", ".")
        run_git(path, "commit", "--quiet", "-m", f"Commit {number}")
    return path


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie: not every container has somebody who reaps."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def daemons_of(data_dir: Path) -> list[psutil.Process]:
    """The daemons that were started on a data directory."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "mogplex_mcp.local" in (line := process.cmdline()) and str(data_dir) in line:
                found.append(process)
    return found


async def eventually(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Waits until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        await asyncio.sleep(0.01)


@dataclass
class Caller:
    """Somebody with a token who calls the API."""

    client: httpx2.AsyncClient
    repo: Repo

    async def get(self, path: str, **query: str | int) -> httpx2.Response:
        return await self.client.get(API + path, params=query)

    async def data(self, path: str, **query: str | int) -> dict[str, Any]:
        answer = (await self.get(path, **query)).json()
        assert answer["ok"], answer
        data: dict[str, Any] = answer["data"]
        return data

    async def post_run(self, key: str | None = None, **body: Any) -> httpx2.Response:
        headers = {"idempotency-key": key or str(uuid.uuid4())}
        return await self.client.post(
            f"{API}/runs", json={"repoId": self.repo.id, "prompt": ""} | body, headers=headers
        )

    async def start(self, prompt: str, **body: Any) -> dict[str, Any]:
        answer = await self.post_run(prompt=prompt, **body)
        assert answer.status_code == 202, answer.text
        run: dict[str, Any] = answer.json()["data"]
        return run

    async def run(self, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = (await self.data(f"/runs/{run_id}"))["run"]
        return run

    async def until(self, run_id: str, *statuses: str) -> dict[str, Any]:
        """The run once it has one of these statuses."""
        end = time.monotonic() + DEADLINE
        while (run := await self.run(run_id))["status"] not in statuses:
            assert run["status"] not in TERMINAL, run
            assert time.monotonic() < end, run
            await asyncio.sleep(0.01)
        return run

    async def ended(self, run_id: str) -> dict[str, Any]:
        return await self.until(run_id, *TERMINAL)

    async def events(self, run_id: str, limit: int = 200) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = (await self.data(f"/runs/{run_id}/events", limit=limit))["events"]
        return events

    async def event_types(self, run_id: str) -> list[str]:
        return [event["type"] for event in await self.events(run_id)]

    async def cancel(self, run_id: str) -> dict[str, Any]:
        answer = (await self.client.post(f"{API}/runs/{run_id}/cancel")).json()
        assert answer["ok"], answer
        data: dict[str, Any] = answer["data"]
        return data


@dataclass
class Answering(Caller):
    """The same with the database behind it."""

    db: Database


@dataclass
class Host(Answering):
    """The same with what executes runs."""

    settings: Settings
    transport: EmbeddedTransport

    def owns(self) -> bool:
        """Whether runs are executed in this process."""
        return self.transport.owns


def client_for(transport: httpx2.AsyncBaseTransport, token: str) -> httpx2.AsyncClient:
    headers = {"authorization": f"Bearer {token}"}
    return httpx2.AsyncClient(transport=transport, base_url="http://mogplex", headers=headers, timeout=30)


def caller(transport: httpx2.AsyncBaseTransport, token: str, repo: Repo) -> Caller:
    return Caller(client_for(transport, token), repo)


@asynccontextmanager
async def hosting(data_dir: Path, *, may_own: bool = True, **changes: Any) -> AsyncIterator[Host]:
    """An owner (or, with ``may_own`` false, a user of a background daemon) on a data directory with one repository."""
    settings = settings_for(data_dir, **changes)
    db = open_database(settings)
    path = data_dir / "person" / "project"
    repo = _registered(db, path) or add_repo(db, make_repository(path, commits=2), "person/project")
    token, _ = create_token(db, "test")
    try:
        async with embedded_transport(settings, may_own=may_own) as transport:
            assert isinstance(transport, EmbeddedTransport)
            user = caller(transport, token, repo)
            async with user.client:
                yield Host(user.client, repo, db, settings, transport)
    finally:
        db.close()


def _registered(db: Database, path: Path) -> Repo | None:
    from mogplex_mcp.local.repos import list_repos

    return next((repo for repo in list_repos(db) if repo.path == path), None)
