"""Live runs as hosts on the TypeScript client see them: progress, changes, questions and tasks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.processes import COMMAND, clean_environment
from tests.node_runtime import report_of
from tests.running_server import RunningServer, running_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with two repositories named ``hello``."""
    other = tmp_path_factory.mktemp("other")
    made = (
        ("init", "-q"),
        ("-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "--allow-empty", "-m", "x"),
    )
    for arguments in made:
        subprocess.run(["git", "-C", str(other), *arguments], check=True, timeout=30)
    with running_server(MOGPLEX_LOCAL_RATE_LIMIT="0", MOGPLEX_API_RATE_LIMIT="100000") as server:
        subprocess.run(
            [*COMMAND, "local", "repos", "add", str(other), "--name", "other/hello"],
            env=clean_environment({"MOGPLEX_HOME": str(server.home)}),
            check=True,
            capture_output=True,
            timeout=60,
        )
        yield server


def run_program(file: str, server: RunningServer, mode: object = None) -> dict[str, Any]:
    """What a client's program reports; it fails when the client rejects an answer."""
    job = {"url": server.url, "token": server.create_token(), "mode": mode}
    return report_of(Path(__file__).with_name(file), job)


@pytest.fixture(scope="module", params=["legacy", "auto"])
def live(request: pytest.FixtureRequest, server: RunningServer) -> dict[str, Any]:
    found = run_program("live.mjs", server, request.param)
    assert found["modern"] == (request.param == "auto")
    return found


def test_every_event_is_told_as_progress_in_words(live: dict[str, Any]) -> None:
    followed, words = live["followed"], live["words"]
    assert followed["ended"]
    assert followed["run"]["status"] == "success"
    assert [each["progress"] for each in words] == list(range(1, len(followed["events"]) + 1))
    assert all(each["message"] for each in words)


def test_changes_of_a_run_and_of_the_list_are_told(live: dict[str, Any]) -> None:
    assert set(live["updated"]) >= set(live["uris"])
    assert live["listChanged"] > 0
    assert live["read"]["status"] == "success"
    if live["modern"]:
        assert set(live["honoured"]["resourceSubscriptions"]) == set(live["uris"])


def test_the_person_is_asked_which_repository_and_which_run(live: dict[str, Any]) -> None:
    repo, run = live["asked"]
    assert repo["argument"] == "repoId"
    assert len(repo["choices"]) == 2
    assert run["argument"] == "runId"
    assert live["cancelled"]["alreadyTerminal"]


def test_a_start_that_is_waited_for_is_a_task(server: RunningServer) -> None:
    found = run_program("tasks.mjs", server)
    assert found["kind"] == "task"
    assert [each["argument"] for each in found["asked"]] == ["repoId"]
    assert "working" in found["seen"]
    assert found["outcome"]["status"] == "completed"
    result = found["outcome"]["result"]["structuredContent"]
    assert result["ended"]
    assert result["run"]["status"] == "success"
    assert result["events"]
    assert found["resumed"]["status"] == "cancelled"
