"""The end of a run, whatever the harness has left running or in the way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mogplex_mcp.local.processes import kill_processes_in
from tests.local.hosting import Host, alive, eventually, run_git

DETACH = """
import os, time
def detach(marker, work):
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    Path(marker + ".new").write_text(str(os.getpid()))
    os.rename(marker + ".new", marker)
    while True:
        work()
        time.sleep(0.005)
"""
"""What a daemon does to leave its parent: two forks, a session of its own, no descriptor of the harness's."""

ENDINGS = {
    "success": "message('done')",
    "failed": "sys.exit(3)",
    "cancelled": "message('working')\nwhile True: time.sleep(1)",
}


async def test_a_run_ends_although_its_leftovers_cannot_be_committed(host: Host) -> None:
    script = (
        "admin = subprocess.run(['git', 'rev-parse', '--git-dir'], capture_output=True, text=True, check=True).stdout\n"
        "Path(admin.strip(), 'index.lock', 'x').mkdir(parents=True)\n"
        "Path('half.txt').write_text('half')"
    )
    run = await host.start(script, createBranch=True)
    ended = await host.ended(run["runId"])
    assert ended["status"] == "failed"
    assert "could not be committed" in ended["error"]


@pytest.mark.parametrize("status", ENDINGS)
async def test_what_a_harness_detached_ends_with_the_run_before_its_leftovers_are_committed(
    host: Host, status: str
) -> None:
    inside = host.settings.data_dir / "inside"
    below = "Path('below').mkdir()\nos.chdir('below')\n"
    script = (
        f"{DETACH}{below}ticks = os.open('ticks', os.O_CREAT | os.O_WRONLY)\n"
        f"detach({str(inside)!r}, lambda: os.write(ticks, b'tick'))\n"
        f"while not Path({str(inside)!r}).exists() or not os.path.getsize('ticks'): time.sleep(0.01)\n{ENDINGS[status]}"
    )
    bystander = await asyncio.to_thread(subprocess.Popen, ["sleep", "600"], cwd=host.repo.path)
    try:
        run = await host.start(script, createBranch=True)
        await eventually(inside.exists)
        pid = int(inside.read_text())
        if status == "cancelled":
            await host.cancel(run["runId"])
        assert (await host.ended(run["runId"]))["status"] == status
        assert not alive(pid)
        assert bystander.poll() is None
    finally:
        kill_processes_in(host.settings.data_dir / "worktrees")
        bystander.kill()
        bystander.wait()
    assert run_git(host.repo.path, "show", f"{run['branch']['working']}:below/ticks")
    assert list((host.settings.data_dir / "worktrees").iterdir()) == []


def test_processes_that_are_forked_meanwhile_are_killed_too(tmp_path: Path) -> None:
    forking = (
        "import os, time\nfor _ in range(500):\n    if not os.fork():\n        os.setsid()\n        break\n"
        "    time.sleep(0.002)\ntime.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", forking], cwd=tmp_path) as parent:
        while len(psutil.Process(parent.pid).children()) < 5:
            pass
        assert kill_processes_in(tmp_path) > 5
        assert kill_processes_in(tmp_path) == 0
