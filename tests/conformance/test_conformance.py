"""The official conformance suite against the real server: every check ends as expected.txt says."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.conformance.bearer_proxy import bearer_proxy
from tests.conformance.expected import EXPECTED, FIXTURE_TOOLS, Check, Run
from tests.node_runtime import PACKAGES, node
from tests.running_server import RunningServer, running_server

SUITE = PACKAGES / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"

SCENARIOS = {
    "server-initialize",
    "ping",
    "tools-list",
    "server-stateless",
    "caching",
    "dns-rebinding-protection",
    "http-header-validation",
    "server-session-lifecycle",
    "server-sse-multiple-streams",
}

RUN_TIMEOUT = 60.0
"""Seconds for one scenario; they take about one."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("run", EXPECTED, ids=str)
async def test_every_check_of_a_scenario_ends_as_expected(run: Run, server: RunningServer, tmp_path: Path) -> None:
    async with bearer_proxy(server.port, server.create_token()) as port:
        options = ["--url", f"http://localhost:{port}/mcp", "--scenario", run.scenario, "--spec-version", run.revision]
        with anyio.fail_after(RUN_TIMEOUT):
            done = await anyio.run_process(
                [node(), str(SUITE), "server", *options, "--output-dir", str(tmp_path)], check=False
            )
    checks = results(tmp_path)
    assert checks, done.stdout.decode() + done.stderr.decode()
    found = Counter(Check(check["id"], check["name"], check["status"]) for check in checks)
    assert sorted(found.elements()) == sorted(EXPECTED[run].checks.elements()), [
        (check["name"], check["status"], check.get("errorMessage")) for check in checks if check["status"] != "SUCCESS"
    ]
    for check in checks:
        if check["status"] == "FAILURE":
            assert re.search(r"does not list the diagnostic tool 'test_\w+' in tools/list", check["errorMessage"])


def results(directory: Path) -> list[dict[str, str]]:
    """The checks that one run of the suite has written."""
    return [check for file in directory.glob("*/checks.json") for check in json.loads(file.read_text())]


@pytest.mark.slow
def test_every_scenario_runs_in_every_revision_it_applies_to() -> None:
    listed = subprocess.run(
        [node(), str(SUITE), "list", "--server"], capture_output=True, text=True, check=True, timeout=RUN_TIMEOUT
    ).stdout
    applicable = {
        Run(scenario, revision)
        for scenario, revisions in re.findall(r"^ *- (\S+) \[([^\]]+)\]$", listed, re.MULTILINE)
        for revision in revisions.split(",")
        if scenario in SCENARIOS
    }
    assert set(EXPECTED) == applicable
    assert {run.scenario for run in EXPECTED} == SCENARIOS


def test_no_check_is_expected_to_fail_but_for_the_suites_fixture_tools() -> None:
    reasons = {
        expectation.reasons[check]
        for expectation in EXPECTED.values()
        for check in expectation.checks
        if check.status in {"FAILURE", "WARNING"}
    }
    assert reasons == {FIXTURE_TOOLS}
