"""Runs from the command line: the documentation's words, its JSON, and its exit codes, over a real embedded Mogplex."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bench.processes import COMMAND
from tests.commands.conftest import Mogplex, Terminal, read_until

MANY = 450
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def waiting(tmp_path: Path, *after: str) -> tuple[str, Path]:
    """A prompt whose agent says ``first``, then waits for a file, then goes on."""
    gate = tmp_path / "gate"
    return "; ".join(["message('first')", f"wait_for({str(gate)!r})", "message('last')", *after]), gate


@pytest.fixture(scope="module")
def finished(mogplex: Mogplex) -> str:
    """The id of a run that said more than one page of events holds, and ended well."""
    return mogplex.start(f"message('hello'); [message(f'{{number:04}}') for number in range({MANY})]", "--follow")


def test_repositories_are_listed_for_people_and_for_programs(mogplex: Mogplex) -> None:
    (repo,) = mogplex.records("repos", "list")
    assert (repo["full_name"], repo["default_branch"]) == ("demo/hello", "main")
    done = mogplex("repos", "list", "--query", "HELLO")
    assert (done.returncode, done.stderr) == (0, "")
    heading, row = done.stdout.splitlines()
    assert heading.split("  ")[0] == "ID"
    assert row.split() == [repo["id"], "demo/hello", "main", "-"]
    none = mogplex("repos", "list", "--query", "nothing-is-called-this")
    assert (none.returncode, none.stdout) == (0, "")
    assert "the embedded Mogplex" in none.stderr


def test_a_run_is_started_followed_and_shown_in_the_documentations_words(mogplex: Mogplex) -> None:
    started = mogplex("run", "--repo", "demo/hello", "--create-branch", "message('hello there')")
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
    assert run_id in mogplex("runs", "list", "--limit", "100").stdout


def test_programs_get_one_flat_object_a_line(mogplex: Mogplex) -> None:
    *lines, last = mogplex.records("run", "--repo", "hello", "--create-branch", "--follow", "message('é')")
    started, *events = lines
    run_id = started["runId"]
    assert started["branch"]["createBranch"] is True
    assert started["replayed"] is False
    assert "é" in [event["message"] for event in events]
    assert last == {"runId": run_id, "status": "success"}
    assert mogplex.records("runs", "events", run_id) == events
    (shown,) = mogplex.records("runs", "get", run_id)
    assert (shown["runId"], shown["status"]) == (run_id, "success")
    assert shown in mogplex.records("runs", "list", "--repo", "demo/hello", "--limit", "100")


def test_more_events_than_one_page_holds_are_all_printed_and_exported(
    mogplex: Mogplex, finished: str, tmp_path: Path
) -> None:
    said = [event["message"] for event in mogplex.records("runs", "events", finished)]
    assert [text for text in said if text.isdigit()] == [f"{number:04}" for number in range(MANY)]
    file = tmp_path / "run.jsonl"
    mogplex("runs", "export", finished, "--format", "jsonl", "--scope", "timeline", "--output", str(file))
    assert [json.loads(line)["message"] for line in file.read_text().splitlines()] == said


def test_the_same_key_starts_one_run_and_another_prompt_with_it_is_refused(mogplex: Mogplex) -> None:
    key = str(uuid.uuid4())
    run_id = mogplex.start("message('once')", "--idempotency-key", key)
    start = ("run", "--repo", "demo/hello", "--create-branch", "--idempotency-key", key)
    again = mogplex(*start, "message('once')")
    assert re.match(rf"matched existing run {run_id} \(", again.stdout)
    conflict = mogplex(*start, "message('twice')", "--json")
    assert (conflict.returncode, conflict.stdout) == (1, "")
    refused = json.loads(conflict.stderr)
    assert (refused["ok"], refused["error"]["code"]) == (False, "IDEMPOTENCY_CONFLICT")


def test_a_run_that_fails_is_a_failure_of_who_follows_it(mogplex: Mogplex) -> None:
    done = mogplex("run", "--repo", "demo/hello", "--create-branch", "--wait", "-", stdin="message('hi'); sys.exit(3)")
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
    process = mogplex.begin("run", "--repo", "demo/hello", "--create-branch", "--follow", prompt)
    run_id = read_until(process, "assistant_message first").split()[2]
    process.send_signal(number)
    _, told = process.communicate(timeout=20)
    assert process.returncode == code
    (note,) = told.splitlines()
    assert note.startswith(f"Left run {run_id}, which goes on. To come back: ")
    command = shlex.split(note.partition("To come back: ")[2])
    gate.touch()
    back = mogplex(*command[1:])
    assert (back.returncode, back.stderr) == (0, "")
    assert re.findall(r"assistant_message (\w+)", back.stdout) == ["last"]


def test_a_run_is_cancelled_by_its_whole_id_only(mogplex: Mogplex, tmp_path: Path) -> None:
    run_id = mogplex.start(waiting(tmp_path)[0])
    unsure = mogplex("runs", "cancel", run_id[:8])
    assert unsure.returncode == 2
    assert unsure.stderr.splitlines()[-1] == f"- {run_id}"
    done = mogplex("runs", "cancel", run_id)
    assert done.stdout.splitlines() == [f"cancellation requested for run {run_id}", "status: cancellation_requested"]
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
    terminal = Terminal(mogplex, "run", "--repo", "demo/hello", "--create-branch", "--follow", prompt)
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
    assert "hello" in screen
    assert not re.search(r"\x1b\[\d*m", screen)


def test_a_person_at_a_terminal_is_asked_what_a_beginning_means(mogplex: Mogplex, tmp_path: Path) -> None:
    run_id = mogplex.start(waiting(tmp_path)[0])
    terminal = Terminal(mogplex, "runs", "cancel", run_id[:8])
    terminal.until(r"Go on with it\? \[y/N\]")
    terminal.type("y\n")
    code, screen = terminal.end()
    assert code == 0
    assert f"cancellation requested for run {run_id}" in screen


def test_ctrl_c_ends_a_question(mogplex: Mogplex) -> None:
    terminal = Terminal(mogplex, "run", "--repo", "demo", "message('no')")
    terminal.until(r"Go on with it\? \[y/N\]")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end()[0] == 130


def test_a_name_that_is_not_clear_starts_nothing_and_shows_what_there_is(mogplex: Mogplex) -> None:
    begun = mogplex("run", "--repo", "demo", "message('no')")
    assert begun.returncode == 2
    assert begun.stderr.startswith("error: AMBIGUOUS_REPO: ")
    assert begun.stderr.splitlines()[-1].endswith(" demo/hello")
    unknown = mogplex("run", "--repo", "demo/helo", "--json", "message('no')")
    assert unknown.returncode == 1
    error = json.loads(unknown.stderr)["error"]
    assert (error["code"], error["candidates"][0]["full_name"]) == ("NOT_FOUND", "demo/hello")


def test_an_event_to_go_on_from_that_is_none_is_a_usage_error(mogplex: Mogplex, finished: str) -> None:
    done = mogplex("runs", "events", finished, "--since", "no-such-event")
    assert done.returncode == 2
    assert "--since" in done.stderr


def test_an_export_is_a_new_file_whose_path_is_printed(mogplex: Mogplex, finished: str, tmp_path: Path) -> None:
    run_id = finished
    first, second = (mogplex("runs", "export", run_id).stdout.rstrip("\n") for _ in range(2))
    assert first != second
    for name in (first, second):
        path = Path(name)
        assert path.is_relative_to(mogplex.home / "mcp" / "exports" / run_id)
        assert path.suffix == ".md"
        assert path.stat().st_mode & 0o777 == 0o600
        assert "hello" in path.read_text()
    file = tmp_path / "run.json"
    (told,) = mogplex.records("runs", "export", run_id, "--format", "json", "--output", str(file))
    assert told == {"runId": run_id, "path": str(file), "format": "json", "scope": "full"}
    assert json.loads(file.read_text())["run"]["runId"] == run_id


async def test_what_was_started_here_is_known_to_a_host_on_standard_input(mogplex: Mogplex, finished: str) -> None:
    parameters = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "stdio"], env=mogplex.environment())
    async with Client(stdio_client(parameters)) as host:
        runs = (await host.call_tool("mogplex_list_runs", {"limit": 100})).structured_content["runs"]
    assert finished in [run["runId"] for run in runs]


def test_sandboxes_are_listed_and_stopped_elsewhere(mogplex: Mogplex, finished: str) -> None:
    sandboxes = mogplex.records("sandboxes", "list", "--repo", "demo/hello", "--limit", "5")
    assert {"id", "status", "repo_id", "working_branch", "last_active_at"} <= sandboxes[0].keys()
    shown = mogplex("sandboxes", "list", "--status", sandboxes[0]["status"])
    assert sandboxes[0]["id"] in shown.stdout
    stopped = mogplex("sandboxes", "stop", "a/../b")
    assert (stopped.returncode, stopped.stdout) == (1, "")
    assert "https://mogplex.com/sandboxes/a%2F..%2Fb" in stopped.stderr
