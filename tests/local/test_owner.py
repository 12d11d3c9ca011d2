"""Who executes the runs of a data directory: one process, and after it another, with nothing lost and nothing left."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2
import psutil
import pytest

from mogplex_mcp.local import embedded
from mogplex_mcp.local.daemon import AlreadyOwned, Extras, log_of, run_daemon, start_in_background
from mogplex_mcp.local.embedded import EmbeddedUnavailable, embedded_transport
from mogplex_mcp.local.listener import answers
from mogplex_mcp.local.owner import socket_of
from mogplex_mcp.local.runner_lock import RunnerLock
from mogplex_mcp.local.tokens import create_token
from tests.local.hosting import (
    API,
    ORDINARY_PERMISSIONS,
    Host,
    alive,
    caller,
    daemons_of,
    eventually,
    hosting,
    run_git,
    settings_for,
)

STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
)
FOREVER = "message('working')\nimport time\nwhile True: time.sleep(1)"


@asynccontextmanager
async def owning_process(
    data_dir: Path, *options: str, obeying_permissions: bool = False, **changes: object
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """``local daemon`` in the foreground; if asked, without root's right to pass over the permissions of files."""
    settings = settings_for(data_dir, **changes)
    local = {
        name: value for name, value in settings.model_dump().items() if name.startswith("local_") and value is not None
    }
    environment = os.environ | {f"MOGPLEX_{name.upper()}": str(value) for name, value in local.items()}
    command = [sys.executable, "-m", "mogplex_mcp.local", "daemon", "--data-dir", str(data_dir), *options]
    if obeying_permissions:
        command = [*ORDINARY_PERMISSIONS, *command]
    process = await asyncio.to_thread(subprocess.Popen, command, env=environment, stderr=subprocess.PIPE)
    try:
        await eventually(lambda: answers(socket_of(data_dir)) or process.poll() is not None)
        yield process
    finally:
        process.kill()
        if process.stderr is not None and not process.stderr.closed:
            await asyncio.to_thread(process.communicate)


@asynccontextmanager
async def working_run(host: Host, marker: str = "pid") -> AsyncIterator[tuple[str, str, int]]:
    """A run whose harness does not listen to SIGTERM and has changed a file: its id, its branch, its process."""
    path = host.settings.data_dir / marker
    script = (
        f"{STUBBORN}Path('half.txt').write_text('half')\nimport os\nPath({str(path)!r}).write_text(str(os.getpid()))\n"
    )
    run = await host.start(script + FOREVER, createBranch=True)
    await eventually(lambda: path.exists() and path.read_text())
    await host.until(run["runId"], "streaming")
    yield run["runId"], run["branch"]["working"], int(path.read_text())


def worktrees(host: Host) -> list[Path]:
    return list((host.settings.data_dir / "worktrees").iterdir())


def listed_worktrees(host: Host) -> int:
    return run_git(host.repo.path, "worktree", "list", "--porcelain").count("worktree ")


async def test_after_kill_9_the_next_owner_reclaims_the_runs_and_leaves_no_orphan(data_dir: Path) -> None:
    async with owning_process(data_dir, local_max_concurrent_runs=1) as owner, hosting(data_dir) as host:
        assert not host.owns()
        async with working_run(host) as (run_id, branch, pid):
            waiting = await host.start("message('never')", createBranch=True)
            owner.kill()
            await asyncio.to_thread(owner.wait, 10)
            assert alive(pid)
            run = await host.run(run_id)
            assert host.owns()
            assert run["status"] == "failed"
            assert run["error"] == "The server that executed this run died before the run ended."
            after = await host.run(waiting["runId"])
            assert (after["status"], after["error"]) == ("failed", "The server died before this run started.")
            assert not alive(pid)
            assert (worktrees(host), listed_worktrees(host)) == ([], 1)
            assert run_git(host.repo.path, "show", f"{branch}:half.txt") == "half"
            again = await host.start("commit('after.txt', 'After')", createBranch=True)
            assert (await host.ended(again["runId"]))["status"] == "success"


async def test_worktrees_that_no_unfinished_run_owns_are_removed_at_the_start(data_dir: Path) -> None:
    async with hosting(data_dir) as host:
        run = await host.start("commit('a.txt', 'A')", createBranch=True)
        before = await host.ended(run["runId"])
    # As if the owner had died after the record and before the removal; and a directory that nobody knows.
    left = data_dir / "worktrees" / run["runId"]
    run_git(host.repo.path, "worktree", "add", "--quiet", str(left), run["branch"]["working"])
    (data_dir / "worktrees" / "unknown" / "x").mkdir(parents=True)
    async with hosting(data_dir) as host:
        assert (worktrees(host), listed_worktrees(host)) == ([], 1)
        assert await host.run(run["runId"]) == before


async def test_what_lies_among_the_worktrees_keeps_no_server_from_starting(data_dir: Path) -> None:
    kept, stray = data_dir / "kept", data_dir / "worktrees"
    (kept / "inner").mkdir(parents=True)
    (stray / "read-only" / "inner").mkdir(parents=True)
    (stray / "read-only" / "inner" / "x").touch()
    for directory in (stray / "read-only" / "inner", stray / "read-only"):
        directory.chmod(0o500)
    os.mkdir(os.fsencode(stray) + b"/\xff")  # noqa: PTH102 - a name that is no text
    (stray / ".DS_Store").touch()
    (stray / "link").symlink_to(kept)
    (stray / "broken").symlink_to(data_dir / "nowhere")
    os.mkfifo(stray / "pipe")
    async with hosting(data_dir) as host:
        assert sorted(path.name for path in worktrees(host)) == [".DS_Store", "broken", "link", "pipe"]
        assert (kept / "inner").is_dir()
        run = await host.start("commit('a.txt', 'A')", createBranch=True)
        assert (await host.ended(run["runId"]))["status"] == "success"


async def test_a_worktree_that_cannot_be_removed_is_logged_and_the_server_starts(data_dir: Path) -> None:
    (data_dir / "worktrees" / "unknown").mkdir(parents=True)
    (data_dir / "worktrees").chmod(0o500)
    async with owning_process(data_dir, obeying_permissions=True) as owner:
        assert owner.poll() is None
        async with hosting(data_dir) as host:
            assert (await host.get("/repos")).status_code == 200
        owner.send_signal(signal.SIGTERM)
        said = (await asyncio.to_thread(owner.communicate))[1].decode()
    assert "worktree_not_removed" in said
    assert "Permission denied" in said


async def test_runs_are_reclaimed_although_their_repository_is_gone(data_dir: Path) -> None:
    async with owning_process(data_dir) as owner, hosting(data_dir) as host, working_run(host) as (run_id, _, pid):
        host.repo.path.rename(data_dir / "moved")
        owner.kill()
        await asyncio.to_thread(owner.wait, 10)
        run = await host.run(run_id)
        assert run["status"] == "failed"
        assert "could not be committed" in run["error"]
        assert not alive(pid)
        assert worktrees(host) == []


async def test_a_finished_run_is_not_reclaimed(data_dir: Path) -> None:
    async with hosting(data_dir) as host:
        run = await host.start("commit('a.txt', 'A')", createBranch=True)
        before = await host.ended(run["runId"])
    async with hosting(data_dir) as host:
        assert await host.run(run["runId"]) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_is_over_within_five_seconds_and_ends_the_runs(data_dir: Path, number: signal.Signals) -> None:
    async with owning_process(data_dir, local_max_concurrent_runs=1) as owner, hosting(data_dir, may_own=False) as host:
        async with working_run(host) as (run_id, branch, pid):
            waiting = await host.start("message('never')", createBranch=True)
            began = time.monotonic()
            owner.send_signal(number)
            assert await asyncio.to_thread(owner.wait, 10) == 0
            assert time.monotonic() - began < 5
            assert not alive(pid)
            assert (worktrees(host), listed_worktrees(host)) == ([], 1)
            assert not socket_of(data_dir).exists()
            assert run_git(host.repo.path, "show", f"{branch}:half.txt") == "half"
        async with hosting(data_dir) as next_host:
            run = await next_host.run(run_id)
            assert (run["status"], run["error"]) == ("failed", "The server was stopped before the run ended.")
            after = await next_host.run(waiting["runId"])
            assert (after["status"], after["error"]) == ("failed", "The server was stopped before the run started.")


async def test_an_owner_in_this_process_ends_its_runs_when_it_is_closed(data_dir: Path) -> None:
    async with hosting(data_dir) as host, working_run(host) as (run_id, _, pid):
        assert host.owns()
        began = time.monotonic()
        await host.transport.close()
        assert time.monotonic() - began < 5
        assert not alive(pid)
    async with hosting(data_dir) as host:
        assert (await host.run(run_id))["status"] == "failed"


async def test_two_hosts_on_one_directory_share_its_runs_and_the_second_takes_over(data_dir: Path) -> None:
    async with hosting(data_dir) as first, hosting(data_dir) as second:
        assert (first.owns(), second.owns()) == (True, False)
        run = await second.start("commit('a.txt', 'A')", createBranch=True)
        assert (await first.ended(run["runId"]))["status"] == "success"
        await first.transport.close()
        answered = await asyncio.gather(*[second.run(run["runId"]) for _ in range(20)])
        assert {each["status"] for each in answered} == {"success"}
        assert second.owns()


async def test_closing_a_host_ends_no_run(data_dir: Path) -> None:
    gate = data_dir / "gate"
    async with hosting(data_dir, may_own=False) as host:
        assert not host.owns()
        run = await host.start(f"message('waiting')\nwait_for({str(gate)!r})\ncommit('a.txt', 'A')", createBranch=True)
        await host.until(run["runId"], "streaming")
    gate.touch()
    async with hosting(data_dir, may_own=False) as host:
        assert (await host.ended(run["runId"]))["status"] == "success"
    assert len(daemons_of(data_dir)) == 1


async def test_a_daemon_that_was_killed_is_replaced_at_the_next_request(data_dir: Path) -> None:
    async with hosting(data_dir, may_own=False) as host:
        (daemon,) = daemons_of(data_dir)
        run = await host.start(FOREVER, createBranch=True)
        await host.until(run["runId"], "streaming")
        daemon.kill()
        daemon.wait(10)
        assert (await host.run(run["runId"]))["status"] == "failed"
        assert [each.pid for each in daemons_of(data_dir)] != [daemon.pid]


async def test_hosts_that_start_at_once_share_one_daemon(data_dir: Path) -> None:
    async def use() -> int:
        async with embedded_transport(settings, may_own=False) as transport:
            user = caller(transport, token, host.repo)
            async with user.client:
                return (await user.get("/repos")).status_code

    async with hosting(data_dir) as host:
        settings, (token, _) = host.settings, create_token(host.db, "others")
    assert await asyncio.gather(*[use() for _ in range(4)]) == [200] * 4
    await eventually(lambda: len(daemons_of(data_dir)) == 1)


async def test_a_background_daemon_that_comes_second_ends_quietly(data_dir: Path) -> None:
    async with owning_process(data_dir):
        second = start_in_background(settings_for(data_dir))
        assert await asyncio.to_thread(second.wait, 30) == 0
        assert log_of(data_dir).read_text() == ""
        assert stat.S_IMODE(log_of(data_dir).stat().st_mode) == 0o600


async def test_a_second_daemon_in_the_foreground_says_who_serves(data_dir: Path) -> None:
    async with owning_process(data_dir), owning_process(data_dir) as second:
        _, said = await asyncio.to_thread(second.communicate)
        assert second.returncode == 1
        assert b"serves" in said
        assert b"Traceback" not in said


async def test_a_daemon_listens_where_it_is_told_and_for_its_owner_alone(data_dir: Path) -> None:
    extra = data_dir / "extra" / "x.sock"
    async with hosting(data_dir) as host:
        token, _ = create_token(host.db, "tcp")
    async with owning_process(data_dir, "--socket", str(extra), "--port", "0") as owner:
        assert owner.stderr is not None
        line = (await asyncio.to_thread(owner.stderr.readline)).decode()
        url = next(part for part in line.split() if part.startswith("http://"))
        headers = {"authorization": f"Bearer {token}"}
        for transport in (httpx2.AsyncHTTPTransport(), httpx2.AsyncHTTPTransport(uds=str(extra))):
            async with httpx2.AsyncClient(transport=transport, base_url=url, headers=headers) as client:
                assert (await client.get(f"{API}/repos")).json()["ok"] is True
        for path in (extra, socket_of(data_dir)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(extra.parent.stat().st_mode) == 0o700
        owner.terminate()
        assert await asyncio.to_thread(owner.wait, 10) == 0
    assert not extra.exists()


async def test_an_idle_daemon_ends_by_itself_and_a_working_one_does_not(data_dir: Path) -> None:
    gate = data_dir / "gate"
    settings = settings_for(data_dir)
    daemon = asyncio.create_task(run_daemon(settings, Extras(), idle_exit=0.6))
    await eventually(lambda: answers(socket_of(data_dir)))
    async with hosting(data_dir, may_own=False) as host:
        assert daemons_of(data_dir) == []
        run = await host.start(f"wait_for({str(gate)!r})", createBranch=True)
        await asyncio.wait({daemon}, timeout=2)
        assert not daemon.done()
        gate.touch()
        await host.ended(run["runId"])
        await asyncio.wait_for(daemon, 20)
        # Whoever comes after it finds another.
        assert (await host.run(run["runId"]))["status"] in {"success", "failed"}
        assert len(daemons_of(data_dir)) == 1


async def test_requests_around_the_end_of_an_idle_daemon_are_all_answered(data_dir: Path) -> None:
    settings = settings_for(data_dir)

    async def short_lived() -> None:
        while True:
            with suppress(AlreadyOwned):  # a host was faster and has started one
                await run_daemon(settings, Extras(), idle_exit=0.06)

    daemons = asyncio.create_task(short_lived())
    try:
        await eventually(lambda: answers(socket_of(data_dir)))
        async with hosting(data_dir, may_own=False) as host:
            for pause in range(12):
                await asyncio.sleep(pause * 0.012)
                run = await host.start("pass", createBranch=True)
                assert (await host.ended(run["runId"]))["status"] in {"success", "failed"}
                assert "stopped" not in ((await host.run(run["runId"]))["error"] or "")
    finally:
        daemons.cancel()
        await asyncio.gather(daemons, return_exceptions=True)


async def test_the_reason_why_a_daemon_does_not_start_is_told(data_dir: Path) -> None:
    async with hosting(data_dir) as host:
        with host.db.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(EmbeddedUnavailable, match="made by a newer mogplex-mcp"):
        async with embedded_transport(host.settings, may_own=False):
            pass


async def test_an_owner_that_does_not_answer_is_an_error_within_bounds(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "DECISION_TIMEOUT", 0.5)
    lock = RunnerLock(data_dir)
    assert lock.acquire()
    with pytest.raises(EmbeddedUnavailable, match="does not answer"):
        async with embedded_transport(settings_for(data_dir), may_own=True):
            pass
    lock.release()


async def test_a_request_that_is_given_up_while_the_owner_is_sought_harms_nobody(data_dir: Path) -> None:
    async with hosting(data_dir) as first, hosting(data_dir) as second:
        await first.transport.close()
        impatient = asyncio.create_task(second.get("/repos"))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        assert (await second.get("/repos")).status_code == 200


async def test_a_closed_transport_refuses_and_says_so(data_dir: Path) -> None:
    for may_own in (True, False):
        async with hosting(data_dir, may_own=may_own) as host:
            await host.transport.close()
            if may_own:
                with pytest.raises(EmbeddedUnavailable, match="closed"):
                    await host.get("/repos")


async def test_a_process_that_cannot_own_says_why(data_dir: Path) -> None:
    (data_dir / "local.db").write_text("no database at all, though it has the name of one" * 50)
    with pytest.raises(EmbeddedUnavailable, match="not a database"):
        async with embedded_transport(settings_for(data_dir), may_own=True):
            pass
    lock = RunnerLock(data_dir)
    assert lock.acquire()
    lock.release()


async def test_the_end_of_an_owner_can_begin_before_it_is_waited_for(data_dir: Path) -> None:
    async with hosting(data_dir) as host, working_run(host) as (run_id, _, pid):
        host.transport.begin_close()
        await eventually(lambda: not alive(pid))
        await host.transport.close()
    async with hosting(data_dir) as host:
        assert (await host.run(run_id))["error"] == "The server was stopped before the run ended."


async def test_the_lock_dies_with_its_holder(data_dir: Path) -> None:
    async with owning_process(data_dir) as owner:
        lock = RunnerLock(data_dir)
        assert not lock.acquire()
        psutil.Process(owner.pid).kill()
        await asyncio.to_thread(owner.wait, 10)
        assert lock.acquire()
        lock.release()
