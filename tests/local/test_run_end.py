"""The end of a run, whatever the harness has left running or in the way."""

from __future__ import annotations

from tests.local.hosting import Host


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
