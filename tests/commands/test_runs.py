"""Runs from the command line: the documentation's words, its JSON, and its exit codes, over a real embedded Mogplex."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bench.processes import COMMAND
from tests.commands.conftest import START, Json, Mogplex, Terminal, read_until
from tests.daemons import end_daemons

MANY = 450
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def waiting(tmp_path: Path, *after: str) -> tuple[str, Path]:
    """A prompt whose agent says ``first``, then waits for a file, then goes on."""
    gate = tmp_path / "gate"
    return "; ".join(["message('first')", f"wait_for({str(gate)!r})", "message('last')", *after]), gate


@pytest.fixture(scope="module")
def records(mogplex: Mogplex) -> list[Json]:
    """What a run prints for programs that was followed from its start; it said more than one page of events holds."""
    prompt = f"message('é'); [message(f'{{number:04}}') for number in range({MANY})]"
    return mogplex.records(*START, "--follow", prompt)


@pytest.fixture(scope="module")
def finished(records: list[Json]) -> str:
    """The id of that run."""
    run_id: str = records[0]["runId"]
    return run_id


def test_repositories_are_listed_for_people_and_for_programs(mogplex: Mogplex) -> None:
    (repo,) = mogplex.records("repos", "list")
    assert (repo["full_name"], repo["default_branch"]) == ("demo/hello", "main")
    done = mogplex("repos", "list", "--query", "HELLO")
    assert (done.returncode, done.stderr) == (0, "")
    heading, row = done.stdout.splitlines()
    assert heading.split("  ")[0] == "ID"
    assert row.split() == [repo["id"], "demo/hello", "main", "-"]


def test_a_run_is_started_followed_and_shown_in_the_documentations_words(mogplex: Mogplex) -> None:
    started = mogplex(*START, "message('hello there')")
    assert (started.returncode, started.stderr) == (0, "")
    first, repo, harness, branch, tail = started.stdout.splitlines()
    found = re.fullmatch(r"started run ([0-9a-f-]{36}) \((pending|streaming)\)", first)
    assert found is not None, first
    run_id = found[1]
    assert re.fullmatch(r"repo [0-9a-f-]{36}", repo)
    assert harness == "harness codex"
    assert re.fullmatch(r"branch mogplex/run/\S+ \(base main, created\)", branch)
    assert tail.startswith("tail events: ")
    assert tail.endswith(f"mogplex-mcp runs events {run_id} --follow")

    followed = mogplex("runs", "events", run_id[:8], "--follow")
    assert (followed.returncode, followed.stderr) == (0, "")
    *events, end = followed.stdout.splitlines()
    assert end == f"--- run {run_id} success ---"
    assert [line for line in events if re.fullmatch(rf"{TIME} assistant_message hello there", line)]
    assert all(re.match(rf"{TIME} \S+", line) for line in events)

    shown = mogplex("runs", "get", run_id).stdout.splitlines()
    assert [line.split()[0] for line in shown] == [
        *("run", "status", "harness", "repo", "branch", "sandbox", "events", "cancel", "created", "updated")
    ]
    assert shown[:2] == [f"run {run_id}", "status success"]


def test_programs_get_one_flat_object_a_line(mogplex: Mogplex, records: list[Json], finished: str) -> None:
    started, *events, last = records
    assert started["branch"]["createBranch"] is True
    assert started["replayed"] is False
    assert [event["message"] for event in events if event["type"] == "assistant_message"] == [
        "é",
        *(f"{number:04}" for number in range(MANY)),
    ]
    assert last == {"runId": finished, "status": "success"}
    assert mogplex.records("runs", "events", finished) == events
    (shown,) = mogplex.records("runs", "get", finished)
    assert (shown["runId"], shown["status"]) == (finished, "success")
    assert shown in mogplex.records("runs", "list", "--repo", "demo/hello", "--limit", "1000")
    table = mogplex("runs", "list", "--status", "success", "--limit", "1000").stdout
    assert [line.split()[:3] for line in table.splitlines() if finished in line] == [[finished, "success", "codex"]]


def test_the_same_key_starts_one_run_and_another_prompt_with_it_is_refused(mogplex: Mogplex) -> None:
    key = str(uuid.uuid4())
    start = (*START, "--idempotency-key", key)
    run_id = mogplex.records(*start, "message('once')")[0]["runId"]
    again = mogplex(*start, "message('once')")
    assert re.match(rf"matched existing run {run_id} \(", again.stdout)
    conflict = mogplex(*start, "message('twice')", "--json")
    assert (conflict.returncode, conflict.stdout) == (1, "")
    refused = json.loads(conflict.stderr)
    assert (refused["ok"], refused["error"]["code"]) == (False, "IDEMPOTENCY_CONFLICT")


def test_a_run_that_fails_is_a_failure_of_who_follows_it(mogplex: Mogplex) -> None:
    done = mogplex(*START, "--wait", "-", stdin="message('hi'); sys.exit(3)")
    assert (done.returncode, done.stderr) == (1, "")
    assert "assistant_message hi" in done.stdout
    assert re.fullmatch(r"--- run \S+ failed ---", done.stdout.splitlines()[-1])


def test_a_follow_that_takes_too_long_ends_and_goes_on_from_where_it_was(mogplex: Mogplex, tmp_path: Path) -> None:
    prompt, gate = waiting(tmp_path)
    run_id = mogplex.start(prompt)
    done = mogplex("runs", "events", run_id, "--follow", "--timeout", "1")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error == "error: --follow timed out after 1s waiting for terminal status"
    command = shlex.split(hint.partition("To follow on: ")[2])
    gate.touch()
    went_on = mogplex(*command[1:])
    assert went_on.returncode == 0
    # In a second it may not have come to the first one; nothing is lost, and nothing comes twice.
    assert re.findall(r"assistant_message (\w+)", done.stdout + went_on.stdout) == ["first", "last"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_whoever_leaves_a_run_leaves_it_alone_and_is_told_how_to_come_back(
    mogplex: Mogplex, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    prompt, gate = waiting(tmp_path)
    process = mogplex.begin(*START, "--follow", prompt)
    run_id = read_until(process, "assistant_message first").split()[2]
    process.send_signal(number)
    _, told = process.communicate(timeout=20)
    assert process.returncode == code
    (note,) = told.splitlines()
    assert note.startswith(f"Left run {run_id}, which goes on. To come back: ")
    gate.touch()
    if number == signal.SIGINT:
        back = mogplex(*shlex.split(note.partition("To come back: ")[2])[1:])
        assert (back.returncode, back.stderr) == (0, "")
        assert re.findall(r"assistant_message (\w+)", back.stdout) == ["last"]


def test_a_run_is_cancelled_by_its_beginning_only_when_the_person_confirms_it(mogplex: Mogplex, tmp_path: Path) -> None:
    run_id = mogplex.start(waiting(tmp_path)[0])
    unsure = mogplex("runs", "cancel", run_id[:8])
    assert unsure.returncode == 2
    assert unsure.stderr.startswith("error: AMBIGUOUS_RUN: ")
    assert unsure.stderr.splitlines()[-1] == f"- {run_id}"
    terminal = Terminal(mogplex, "runs", "cancel", run_id[:8])
    terminal.until(r"Go on with it\? \[y/N\]")
    terminal.type("y\n")
    code, screen = terminal.end()
    assert code == 0
    assert screen.splitlines()[-2:] == [f"cancellation requested for run {run_id}", "status: cancellation_requested"]
    assert mogplex("runs", "events", run_id, "--follow").returncode == 1
    (again,) = mogplex.records("runs", "cancel", run_id)
    assert (again["run"]["status"], again["status"], again["alreadyTerminal"]) == (
        "cancelled",
        "already_terminal",
        True,
    )


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(mogplex: Mogplex, finished: str) -> None:
    line = f"{shlex.join([*COMMAND, 'runs', 'events', finished])} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line],
        env=mogplex.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[1] == "141"


def test_output_that_cannot_be_written_is_a_failure_in_a_sentence(mogplex: Mogplex) -> None:
    with Path("/dev/full").open("w") as full:
        process = mogplex.begin("repos", "list", stdout=full)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told == "error: Standard output cannot be written: No space left on device.\n"


def test_a_person_watches_a_timeline_in_words_with_a_line_that_tells_how_the_run_stands(
    mogplex: Mogplex, tmp_path: Path
) -> None:
    prompt, gate = waiting(tmp_path)
    terminal = Terminal(mogplex, *START, "--follow", prompt)
    terminal.until(r"\d\d:\d\d:\d\d\S* \S*first")
    drawn = terminal.until(r"streaming · \d+ events · 0:0\d · Ctrl-C leaves, the run goes on")
    assert "\x1b[90m" in drawn
    gate.touch()
    code, screen = terminal.end()
    assert code == 0
    assert re.search(r"\x1b\[32m--- run \S+ success ---", screen)
    assert screen.index("last") < screen.index("success ---")


def test_colours_are_left_out_for_those_who_want_none(mogplex: Mogplex, finished: str) -> None:
    code, screen = Terminal(mogplex, "runs", "events", finished, "--follow", NO_COLOR="1").end()
    assert code == 0
    assert "0001" in screen
    assert not re.search(r"\x1b\[\d*m", screen)


def test_ctrl_c_ends_a_question(mogplex: Mogplex) -> None:
    terminal = Terminal(mogplex, "run", "--repo", "demo", "message('no')")
    terminal.until(r"Go on with it\? \[y/N\]")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end()[0] == -signal.SIGINT


def test_a_name_that_nobody_has_starts_nothing_and_shows_the_nearest(mogplex: Mogplex) -> None:
    unknown = mogplex("run", "--repo", "demo/helo", "--json", "message('no')")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    error = json.loads(unknown.stderr)["error"]
    assert (error["code"], error["candidates"][0]["full_name"]) == ("NOT_FOUND", "demo/hello")


def test_an_event_to_go_on_from_that_is_none_is_a_usage_error(mogplex: Mogplex, finished: str) -> None:
    done = mogplex("runs", "events", finished, "--since", "no-such-event")
    assert done.returncode == 2
    assert "--since" in done.stderr


def test_an_export_is_a_new_file_whose_path_is_printed(
    mogplex: Mogplex, records: list[Json], finished: str, tmp_path: Path
) -> None:
    path = Path(mogplex("runs", "export", finished).stdout.rstrip("\n"))
    assert path.is_relative_to(mogplex.home / "mcp" / "exports" / finished)
    assert path.suffix == ".md"
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"{MANY - 1:04}" in path.read_text()
    file = tmp_path / "run.jsonl"
    options = ("--format", "jsonl", "--scope", "timeline", "--output", str(file))
    (told,) = mogplex.records("runs", "export", finished, *options)
    assert told == {"runId": finished, "path": str(file), "format": "jsonl", "scope": "timeline"}
    assert [json.loads(line) for line in file.read_text().splitlines()] == records[1:-1]


async def test_what_was_started_here_is_known_to_a_host_on_standard_input(mogplex: Mogplex, finished: str) -> None:
    parameters = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "stdio"], env=mogplex.environment())
    async with Client(stdio_client(parameters)) as host:
        runs = (await host.call_tool("mogplex_list_runs", {"limit": 100})).structured_content["runs"]
    assert finished in [run["runId"] for run in runs]


def test_sandboxes_are_listed(mogplex: Mogplex, finished: str) -> None:
    sandboxes = mogplex.records("sandboxes", "list", "--repo", "demo/hello", "--limit", "5")
    assert {"id", "status", "repo_id", "working_branch", "last_active_at"} <= sandboxes[0].keys()
    shown = mogplex("sandboxes", "list", "--status", sandboxes[0]["status"])
    assert sandboxes[0]["id"] in shown.stdout
    assert "demo/hello" in shown.stdout


def test_without_git_a_command_says_so(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mm-") as home:
        gitless = Mogplex(Path(home), {"PATH": str(tmp_path)})
        try:
            listed = gitless("repos", "list")
        finally:
            end_daemons(Path(home))
    assert (listed.returncode, listed.stdout) == (0, "")
    assert "git is not installed" in listed.stderr
    assert "local repos add PATH" in listed.stderr
    assert "Traceback" not in listed.stderr
