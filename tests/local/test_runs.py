"""What a run does: real worktrees, real children, real commits, and every way it may end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mogplex_mcp.local.database import Database
from mogplex_mcp.local.tables import events, runs
from tests.local.hosting import Host, alive, eventually, hosting, run_git

FOREVER = "import time\nmessage('working')\nwhile True: time.sleep(1)"


def subjects(host: Host, branch: str) -> list[str]:
    return run_git(host.repo.path, "log", "--format=%s", branch).splitlines()


def pid_of(db: Database, run_id: str) -> int:
    with db.read() as connection:
        pid = connection.execute(runs.select().where(runs.c.id == run_id)).mappings().one()["pid"]
    assert isinstance(pid, int)
    return pid


async def gated(host: Host, name: str, **body: object) -> tuple[dict[str, Any], Path]:
    """A run that works until its gate is opened."""
    gate = host.settings.data_dir / f"gate-{name}"
    run = await host.start(f"message('waiting')\nwait_for({str(gate)!r})", **body)
    return run, gate


async def test_a_run_leaves_its_commits_on_its_branch_and_nothing_else(host: Host) -> None:
    before = run_git(host.repo.path, "status", "--porcelain=v1", "--branch")
    run = await host.start("commit('a.txt', 'Add a')\nPath('b.txt').write_text('b')", createBranch=True)
    ended = await host.ended(run["runId"])
    assert ended["status"] == "success", ended
    assert subjects(host, run["branch"]["working"])[:2] == ["Keep what the agent left uncommitted", "Add a"]
    assert run_git(host.repo.path, "status", "--porcelain=v1", "--branch") == before
    assert run_git(host.repo.path, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert list((host.settings.data_dir / "worktrees").iterdir()) == []


async def test_an_agent_can_commit_where_nobody_has_told_git_a_name(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    commands = "['git', '-c', 'user.useConfigOnly=true', 'commit', '--quiet', '--allow-empty', '-m', 'By the agent']"
    run = await host.start(f"subprocess.run({commands}, check=True)", createBranch=True)
    ended = await host.ended(run["runId"])
    assert ended["status"] == "success", ended
    line = run_git(host.repo.path, "log", "-1", "--format=%an: %s", run["branch"]["working"])
    assert line.strip() == "Mogplex: By the agent"


async def test_a_server_that_the_agent_left_in_its_own_session_ends_with_the_run(host: Host) -> None:
    marker = host.settings.data_dir / "pid"
    quiet = "stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    left = f"subprocess.Popen(['sleep', '600'], start_new_session=True, {quiet})"
    run = await host.start(f"Path({str(marker)!r}).write_text(str({left}.pid))", createBranch=True)
    assert (await host.ended(run["runId"]))["status"] == "success"
    assert not alive(int(marker.read_text()))
    assert list((host.settings.data_dir / "worktrees").iterdir()) == []


async def test_the_last_event_names_the_branch_and_the_commits(host: Host) -> None:
    run = await host.start("commit('a.txt', 'Add a')", createBranch=True)
    await host.ended(run["runId"])
    last = (await host.events(run["runId"]))[-1]
    assert last["type"] == "finished"
    assert last["payload"]["branch"] == run["branch"]["working"]
    assert [commit["subject"] for commit in last["payload"]["commits"]] == ["Add a"]


async def test_events_come_oldest_first_and_bounded_by_limit(host: Host) -> None:
    run = await host.start("for n in range(10): message(str(n))", createBranch=True)
    await host.ended(run["runId"])
    all_events = await host.events(run["runId"])
    assert [e["message"] for e in all_events if e["type"] == "assistant_message"] == [str(n) for n in range(10)]
    assert await host.events(run["runId"], limit=3) == all_events[:3]
    assert len({event["id"] for event in all_events}) == len(all_events)


async def test_activity_shows_in_the_sandbox_record(host: Host) -> None:
    run, gate = await gated(host, "a", createBranch=True)
    await host.until(run["runId"], "streaming")
    (sandbox,) = (await host.data("/sandboxes", status="running"))["sandboxes"]
    assert sandbox["id"] == run["sandboxRecordId"]
    assert sandbox["sandbox_id"] == (await host.run(run["runId"]))["sandboxId"] is not None
    gate.touch()
    await host.ended(run["runId"])
    (after,) = (await host.data("/sandboxes"))["sandboxes"]
    assert after["status"] == "stopped"
    assert after["last_active_at"] > sandbox["created_at"]


async def test_a_harness_that_fails_fails_the_run_with_its_words(host: Host) -> None:
    run = await host.start("sys.exit('no credit left')", createBranch=True)
    ended = await host.ended(run["runId"])
    assert ended["status"] == "failed"
    assert "no credit left" in ended["error"]
    assert (await host.event_types(run["runId"]))[-1] == "failed"
    (sandbox,) = (await host.data("/sandboxes"))["sandboxes"]
    assert sandbox["status"] == "error"


async def test_a_killed_harness_fails_the_run(host: Host) -> None:
    run = await host.start(FOREVER, createBranch=True)
    await host.until(run["runId"], "streaming")
    os.kill(pid_of(host.db, run["runId"]), signal.SIGKILL)
    ended = await host.ended(run["runId"])
    assert ended["status"] == "failed"
    assert "signal 9" in ended["error"]


async def test_at_most_so_many_runs_work_at_once_and_the_others_in_their_order(data_dir: Path) -> None:
    async with hosting(data_dir, local_max_concurrent_runs=2) as host:
        started = [await gated(host, str(number), createBranch=True) for number in range(4)]
        ids, gates = [run["runId"] for run, _ in started], [gate for _, gate in started]
        for run_id in ids[:2]:
            await host.until(run_id, "streaming")
        assert [(await host.run(run_id))["status"] for run_id in ids[2:]] == ["pending", "pending"]
        gates[1].touch()
        await host.until(ids[2], "streaming")
        assert (await host.run(ids[3]))["status"] == "pending"
        for gate in gates:
            gate.touch()
        assert {(await host.ended(run_id))["status"] for run_id in ids} == {"success"}


async def test_a_run_that_takes_too_long_fails_and_says_so(data_dir: Path) -> None:
    async with hosting(data_dir, local_run_timeout=0.7) as host:
        run = await host.start(FOREVER, createBranch=True)
        ended = await host.ended(run["runId"])
        assert ended["status"] == "failed"
        assert ended["error"] == "The run took longer than 0.7 s and was stopped."


async def test_nothing_but_error_lines_ends_the_run_with_the_last_of_them(data_dir: Path) -> None:
    async with hosting(data_dir, local_stall_timeout=0.5) as host:
        noise = (
            "import time\nn = 0\nwhile True:\n"
            "  say(type='error', message=f'Reconnecting {n}')\n  n += 1\n  time.sleep(.05)"
        )
        run = await host.start(noise, createBranch=True)
        ended = await host.ended(run["runId"])
        assert ended["status"] == "failed"
        assert "Reconnecting" in ended["error"]


async def test_one_error_line_and_then_silence_ends_the_run_too(data_dir: Path) -> None:
    async with hosting(data_dir, local_stall_timeout=0.5) as host:
        run = await host.start(
            "say(type='error', message='no network')\nimport time\ntime.sleep(600)", createBranch=True
        )
        assert "no network" in (await host.ended(run["runId"]))["error"]


async def test_silence_without_error_lines_is_work(data_dir: Path) -> None:
    async with hosting(data_dir, local_stall_timeout=0.2) as host:
        script = "say(type='error', message='once')\nmessage('back')\nimport time\ntime.sleep(1)\nmessage('done')"
        run = await host.start(script, createBranch=True)
        ended = await host.ended(run["runId"])
        assert "Nothing but error lines" not in (ended["error"] or "")
        assert "done" in [event["message"] for event in await host.events(run["runId"])]


async def test_cancelling_a_working_run_ends_its_whole_group_and_keeps_its_work(host: Host) -> None:
    marker = host.settings.data_dir / "grandchild"
    script = f"Path('half.txt').write_text('half')\nstart_sleeper({str(marker)!r})\n{FOREVER}"
    run = await host.start(script, createBranch=True)
    await eventually(lambda: marker.exists() and marker.read_text())
    answer = await host.cancel(run["runId"])
    assert (answer["status"], answer["alreadyTerminal"]) == ("cancellation_requested", False)
    ended = await host.ended(run["runId"])
    assert (ended["status"], ended["error"]) == ("cancelled", None)
    assert not alive(int(marker.read_text()))
    assert (await host.event_types(run["runId"]))[-2:] == ["cancel_requested", "cancelled"]
    assert run_git(host.repo.path, "show", f"{run['branch']['working']}:half.txt") == "half"


async def test_a_harness_that_ignores_sigterm_is_killed_after_the_grace(data_dir: Path) -> None:
    async with hosting(data_dir, local_cancel_grace=0.3) as host:
        run = await host.start(
            "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER, createBranch=True
        )
        await eventually_message(host, run["runId"], "working")
        pid = pid_of(host.db, run["runId"])
        await host.cancel(run["runId"])
        assert (await host.ended(run["runId"]))["status"] == "cancelled"
        assert not alive(pid)


async def eventually_message(host: Host, run_id: str, message: str) -> None:
    async with asyncio.timeout(30):
        while message not in [event["message"] for event in await host.events(run_id)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_cancel_is_answered_before_the_child_is_gone(data_dir: Path) -> None:
    async with hosting(data_dir, local_cancel_grace=60) as host:
        script = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER
        run = await host.start(script, createBranch=True)
        await eventually_message(host, run["runId"], "working")
        assert (await host.cancel(run["runId"]))["run"]["status"] == "streaming"
        os.kill(pid_of(host.db, run["runId"]), signal.SIGKILL)
        assert (await host.ended(run["runId"]))["status"] == "cancelled"


async def test_cancelling_a_waiting_run_ends_it_at_once(data_dir: Path) -> None:
    async with hosting(data_dir, local_max_concurrent_runs=1) as host:
        first, gate = await gated(host, "first", createBranch=True)
        waiting = await host.start("message('never')", createBranch=True)
        answer = await host.cancel(waiting["runId"])
        assert answer["run"]["status"] == "cancelled"
        gate.touch()
        await host.ended(first["runId"])
        assert await host.event_types(waiting["runId"]) == ["cancel_requested", "cancelled"]


async def test_cancelling_again_changes_nothing(host: Host) -> None:
    run = await host.start(FOREVER, createBranch=True)
    await host.until(run["runId"], "streaming")
    answers = await asyncio.gather(*[host.cancel(run["runId"]) for _ in range(8)])
    assert {answer["status"] for answer in answers} <= {"cancellation_requested", "already_terminal"}
    ended = await host.ended(run["runId"])
    again = await host.cancel(run["runId"])
    assert (again["status"], again["alreadyTerminal"], again["run"]) == ("already_terminal", True, ended)
    types = await host.event_types(run["runId"])
    assert (types.count("cancel_requested"), types.count("cancelled")) == (1, 1)


async def test_cancelling_a_finished_run_leaves_it_as_it_is(host: Host) -> None:
    run = await host.start("message('done')\nsay(type='turn.completed', usage={})", createBranch=True)
    ended = await host.ended(run["runId"])
    assert ended["status"] == "success"
    answer = await host.cancel(run["runId"])
    assert (answer["status"], answer["run"]) == ("already_terminal", ended)
    assert "cancel_requested" not in await host.event_types(run["runId"])


async def test_a_run_cancelled_in_any_moment_of_its_start_ends_cancelled(host: Host) -> None:
    started = [await host.start(FOREVER, createBranch=True) for _ in range(4)]

    async def cancel_after(run_id: str, turns: int) -> str:
        for _ in range(turns):
            await host.run(run_id)
        await host.cancel(run_id)
        return str((await host.ended(run_id))["status"])

    results = await asyncio.gather(*[cancel_after(run["runId"], n * 3) for n, run in enumerate(started)])
    assert results == ["cancelled"] * 4


async def test_the_prompt_is_nowhere_but_on_stdin(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOGPLEX_API_KEY", "mog_secretsecretsecretsecretsecret12")
    seen = host.settings.data_dir / "seen"
    script = (
        "import os\n# a-word-that-is-only-in-the-prompt\n"
        f"Path({str(seen)!r}).write_text(' '.join(sys.argv) + ' '.join(os.environ) + sys.stdin.read())"
    )
    run = await host.start(script, createBranch=True)
    await host.ended(run["runId"])
    assert "a-word" not in seen.read_text()
    assert "MOGPLEX_" not in seen.read_text()


async def test_a_root_directory_is_where_the_harness_works(host: Host) -> None:
    (host.repo.path / "services" / "api").mkdir(parents=True)
    (host.repo.path / "services" / "api" / "x").touch()
    run_git(host.repo.path, "add", ".")
    run_git(host.repo.path, "commit", "--quiet", "-m", "Add services")
    run = await host.start("import os\nmessage(os.getcwd())", rootDirectory="services/api", createBranch=True)
    await host.ended(run["runId"])
    messages = [event["message"] for event in await host.events(run["runId"])]
    assert any(text and text.endswith("/services/api") for text in messages)
    assert (await host.run(run["runId"]))["rootDirectory"] == "services/api"


async def test_secrets_in_events_are_redacted(host: Host) -> None:
    token = "ghp_" + "a1B2" * 9
    item = {"id": "1", "type": "command_execution", "command": f"push {token}", "env": {"A": "b"}}
    script = f"say(type='item.completed', item={item!r})"
    run = await host.start(script, createBranch=True)
    await host.ended(run["runId"])
    text = (await host.get(f"/runs/{run['runId']}/events")).text
    assert token not in text
    assert "[redacted]" in text
    with host.db.read() as connection:
        assert all(token not in row.payload for row in connection.execute(events.select()))


async def test_a_repository_that_is_gone_fails_the_run_and_not_the_server(data_dir: Path) -> None:
    async with hosting(data_dir, local_max_concurrent_runs=1) as host:
        first, gate = await gated(host, "first", createBranch=True)
        await host.until(first["runId"], "streaming")
        second = await host.start("message('x')", createBranch=True)
        host.repo.path.rename(data_dir / "moved")
        await host.cancel(first["runId"])
        gate.touch()
        assert (await host.ended(second["runId"]))["status"] == "failed"
        assert (await host.get("/repos")).status_code == 200


async def test_a_background_process_of_the_harness_does_not_hold_the_run(host: Host) -> None:
    marker = host.settings.data_dir / "grandchild"
    script = f"start_sleeper({str(marker)!r})\nmessage('done')\nsay(type='turn.completed', usage={{}})"
    run = await host.start(script, createBranch=True)
    assert (await host.ended(run["runId"]))["status"] == "success"
    assert not alive(int(marker.read_text()))
