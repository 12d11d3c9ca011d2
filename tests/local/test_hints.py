"""A hint can be typed as it is printed, and reaches the same data."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from bench.processes import COMMAND, clean_environment
from mogplex_mcp.local.tokens import create_token
from tests.local.hosting import caller, hosting, make_repository

PROGRAM = Path(COMMAND[-1]).absolute()


def typed(line: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line],
        cwd=cwd,
        env=clean_environment(variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("option", [True, False], ids=["option", "environment"])
def test_the_hints_of_the_commands_can_be_typed(data_dir: Path, option: bool) -> None:
    where = data_dir / "my data"
    variables = {} if option else {"MOGPLEX_MCP_DATA_DIR": str(where)}
    tail = f" --data-dir {shlex.quote(str(where))}" if option else ""
    program = shlex.quote(str(PROGRAM))
    made = typed(f"{program} local tokens create{tail}", data_dir, **variables)
    revoke = made.stderr.strip().partition("To revoke it: ")[2]
    assert typed(revoke, data_dir, **variables).returncode == 0, revoke
    assert typed(f"{program} local tokens list{tail}", data_dir, **variables).stdout.endswith("\trevoked\n")

    project = make_repository(data_dir / "project")
    add = typed(f"{program} local repos list{tail}", data_dir, **variables).stderr.partition("No repository yet: ")[2]
    assert typed(add.strip().replace("PATH", str(project)), data_dir, **variables).returncode == 0, add
    assert str(project) in typed(f"{program} local repos list{tail}", data_dir, **variables).stdout


async def test_the_hint_about_a_missing_scope_can_be_typed(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [str(PROGRAM), "serve"])
    async with hosting(data_dir, home=data_dir / "home") as host:
        reader = caller(host.transport, create_token(host.db, "reader", ["read"])[0], host.repo)
        message = (await reader.post_run(prompt="x")).json()["error"]["message"]
        made = typed(message.partition("scope: write. Issue a new token with the 'write' scope: ")[2], Path.cwd())
        assert made.returncode == 0, message
        writer = caller(host.transport, made.stdout.strip(), host.repo)
        assert (await writer.post_run(prompt="pass", createBranch=True)).status_code == 202
