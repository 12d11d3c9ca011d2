"""The official conformance suite's ``tasks-*`` scenarios against the Tasks extension with the suite's fixture tools."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import anyio
import pytest

from tests.conformance.expected import Check, Run, read_expectations
from tests.conformance.tasks_server import tasks_server
from tests.conformance.test_conformance import RUN_TIMEOUT, SUITE, results
from tests.node_runtime import node

pytestmark = pytest.mark.slow

EXPECTED = read_expectations(Path(__file__).with_name("expected_tasks.txt").read_text())
NOT_WRITTEN = Check("tasks-status-notifications", "TasksStatusNotificationsScenario", "SKIPPED")
"""The suite itself skips it."""


@pytest.mark.parametrize("run", EXPECTED, ids=str)
async def test_every_check_of_the_extension_ends_as_expected(run: Run, tmp_path: Path) -> None:
    async with tasks_server() as port:
        options = ["--url", f"http://localhost:{port}/mcp", "--scenario", run.scenario, "--spec-version", run.revision]
        # An extension belongs to no revision, so the suite has to be told that it may be tried with this one.
        command = [node(), str(SUITE), "server", *options, "--force", "--output-dir", str(tmp_path)]
        with anyio.fail_after(RUN_TIMEOUT):
            done = await anyio.run_process(command, check=False)
    checks = results(tmp_path)
    assert checks, done.stdout.decode() + done.stderr.decode()
    found = Counter(Check(check["id"], check["name"], check["status"]) for check in checks)
    assert sorted(found.elements()) == sorted(EXPECTED[run].checks.elements()), [
        (check["name"], check["status"], check.get("errorMessage")) for check in checks if check["status"] != "SUCCESS"
    ]


def test_every_scenario_of_the_extension_runs() -> None:
    listed = subprocess.run(
        [node(), str(SUITE), "list", "--server"], capture_output=True, text=True, check=True, timeout=RUN_TIMEOUT
    ).stdout
    scenarios = re.findall(r"^ *- (tasks-\S+) \[extension\]$", listed, re.MULTILINE)
    assert set(EXPECTED) == {Run(scenario, "2026-07-28") for scenario in scenarios}


def test_no_check_of_the_extension_may_fail() -> None:
    others = {check for run in EXPECTED.values() for check in run.checks if check.status != "SUCCESS"}
    assert others == {NOT_WRITTEN}
