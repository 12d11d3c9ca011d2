"""Both generations of the TypeScript SDK's client, as in the hosts people use, against the real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.node_runtime import report_of
from tests.running_server import RunningServer, running_server

pytestmark = pytest.mark.slow

ERROR_CODES = {
    "mogplex_list_repos": "BAD_REQUEST",
    "mogplex_list_sandboxes": "BAD_REQUEST",
    "mogplex_list_runs": "BAD_REQUEST",
    "mogplex_export_run": "BAD_REQUEST",
    "mogplex_start_agent_run": "NOT_FOUND",
    "mogplex_get_run": "NOT_FOUND",
    "mogplex_get_run_events": "NOT_FOUND",
    "mogplex_follow_run": "NOT_FOUND",
    "mogplex_cancel_run": "NOT_FOUND",
}


@dataclass(frozen=True)
class Program:
    """One client: its program, its version negotiation, and the revision it must end up with."""

    file: str
    mode: object
    revision: str

    def __str__(self) -> str:
        return f"{self.file} {self.mode}"


PROGRAMS = [
    Program("sdk1.mjs", None, "2025-11-25"),
    Program("client2.mjs", "legacy", "2025-11-25"),
    Program("client2.mjs", "auto", "2026-07-28"),
    Program("client2.mjs", {"pin": "2026-07-28"}, "2026-07-28"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module", params=PROGRAMS, ids=str)
def program(request: pytest.FixtureRequest) -> Program:
    assert isinstance(request.param, Program)
    return request.param


@pytest.fixture(scope="module")
def report(program: Program, server: RunningServer) -> dict[str, Any]:
    """What the client's program reports; it fails when the client rejects an answer."""
    job = {"url": server.url, "token": server.create_token(), "mode": program.mode}
    return report_of(Path(__file__).with_name(program.file), job)


def test_a_client_negotiates_the_newest_revision_it_speaks(program: Program, report: dict[str, Any]) -> None:
    assert report["revision"] == program.revision
    assert report["session"] == (program.revision == "2025-11-25")


def test_a_client_sees_every_tool_with_its_output_schema(report: dict[str, Any]) -> None:
    assert {tool["name"] for tool in report["tools"]} == set(ERROR_CODES)
    assert all(tool["outputSchema"]["type"] == "object" for tool in report["tools"])


def test_a_client_accepts_the_success_of_every_tool(report: dict[str, Any]) -> None:
    assert set(report["successes"]) == set(ERROR_CODES)
    for result in report["successes"].values():
        assert not result.get("isError")
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    repos = report["successes"]["mogplex_list_repos"]["structuredContent"]["repos"]
    assert [repo["full_name"] for repo in repos] == ["demo/hello"]
    run = report["successes"]["mogplex_get_run"]["structuredContent"]["run"]
    assert run["runId"] == report["successes"]["mogplex_start_agent_run"]["structuredContent"]["run"]["runId"]


def test_a_client_accepts_the_error_of_every_tool(report: dict[str, Any]) -> None:
    assert all(result["isError"] for result in report["errors"].values())
    codes = {name: result["structuredContent"]["error"]["code"] for name, result in report["errors"].items()}
    assert codes == ERROR_CODES


def test_a_client_is_told_that_a_tool_is_unknown(report: dict[str, Any]) -> None:
    assert report["unknownTool"] == -32602
