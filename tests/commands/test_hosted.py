"""Commands over a hosted Mogplex that does as it is told: credentials, exit codes, outcomes that nobody knows."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.scripted_upstream import REPO, RUN, Answer, Connection, ScriptedUpstream, drop, error, hang, ok
from tests.commands.conftest import Mogplex, Terminal, read_until, typed

TOKEN = "mog_environment0123456789"
STORED = "mog_stored0123456789"
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\u202eevil\x9b1A\r\nforged line"
REPO_ID = "8f3a2b1c-1234-4abc-9def-1234567890ab"
START = ("run", "--repo", REPO_ID, "Fix it")


def store(home: Path, whole: object, mode: int = 0o600) -> Path:
    """Write ``auth.json``; text as it is."""
    home.mkdir(exist_ok=True)
    file = home / "auth.json"
    file.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    file.chmod(mode)
    return file


def used(upstream: ScriptedUpstream) -> list[str]:
    """The tokens that arrived."""
    return [request.headers["authorization"].removeprefix("Bearer ") for request in upstream.requests]


@pytest.mark.parametrize(
    ("answer", "code", "named"),
    [
        (error(403, "FORBIDDEN", "Missing required scope: write."), 65, "FORBIDDEN: Missing required scope: write."),
        (error(503, "SERVICE_UNAVAILABLE", retry_after="60"), 69, "Try again in 60 seconds"),
    ],
)
async def test_what_mogplex_refuses_ends_with_the_documented_code(
    hosted: Mogplex, upstream: ScriptedUpstream, answer: Answer, code: int, named: str
) -> None:
    upstream.answers(answer)
    done = await typed(hosted, "runs", "cancel", "run-1", MOGPLEX_API_KEY=TOKEN)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert named in done.stderr
    assert TOKEN not in done.stderr


async def test_programs_get_the_documented_envelope_on_standard_error(
    hosted: Mogplex, upstream: ScriptedUpstream
) -> None:
    upstream.answers(error(429, "RATE_LIMITED", retry_after="60", headers={"x-request-id": "req-7"}))
    done = await typed(hosted, "runs", "cancel", "run-1", "--json", MOGPLEX_API_KEY=TOKEN)
    assert (done.returncode, done.stdout) == (75, "")
    told = json.loads(done.stderr)
    assert told["ok"] is False
    assert told["error"]["message"]
    kept = {name: told["error"][name] for name in ("code", "status", "retryAfter", "requestId")}
    assert kept == {"code": "RATE_LIMITED", "status": 429, "retryAfter": 60, "requestId": "req-7"}


def test_a_mogplex_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    person = Mogplex(tmp_path, {"MOGPLEX_URL": address, "MOGPLEX_DEV": "1", "MOGPLEX_MCP_CALL_TIMEOUT": "1"})
    done = person("repos", "list", MOGPLEX_API_KEY=TOKEN)
    assert done.returncode == 69
    assert "UNREACHABLE" in done.stderr


async def test_without_a_credential_a_command_says_how_to_get_one(hosted: Mogplex, upstream: ScriptedUpstream) -> None:
    done = await typed(hosted, "repos", "list")
    assert (done.returncode, done.stdout) == (64, "")
    assert "MOGPLEX_API_KEY" in done.stderr
    assert "/login" in done.stderr
    assert upstream.requests == []


async def test_the_environments_token_goes_before_the_stored_one(hosted: Mogplex, upstream: ScriptedUpstream) -> None:
    store(hosted.home, {"mogplex": {"type": "oauth", "access": STORED}, "openai": {"key": "sk-secret"}})
    upstream.answers(ok({**RUN, "replayed": False}, 202), on="POST /runs")
    stored = await typed(hosted, "repos", "list", "--json")
    given = await typed(hosted, *START, MOGPLEX_API_KEY=TOKEN)
    assert used(upstream) == [STORED, TOKEN]
    assert (stored.returncode, json.loads(stored.stdout), stored.stderr) == (0, REPO, "")
    assert (given.returncode, given.stderr) == (0, "")


async def test_a_stored_token_that_others_may_read_is_not_used(hosted: Mogplex, upstream: ScriptedUpstream) -> None:
    file = store(hosted.home, {"mogplex": STORED}, 0o640)
    done = await typed(hosted, "repos", "list")
    assert (done.returncode, done.stdout) == (64, "")
    assert f"chmod 600 {file}" in done.stderr
    assert STORED not in done.stderr
    assert upstream.requests == []


async def test_a_start_whose_outcome_is_unknown_names_the_key_to_repeat_it_with(
    hosted: Mogplex, upstream: ScriptedUpstream
) -> None:
    upstream.answers(drop(), on="POST /runs")
    done = await typed(hosted, *START, MOGPLEX_API_KEY=TOKEN, MOGPLEX_MCP_CALL_TIMEOUT="1")
    assert done.stdout == ""
    key = re.search(r"--idempotency-key (\S+), which never starts a second run", done.stderr)
    assert key is not None, done.stderr
    assert {request.headers["idempotency-key"] for request in upstream.requests} == {key[1]}


async def test_ctrl_c_while_a_run_starts_names_that_key_too(hosted: Mogplex, upstream: ScriptedUpstream) -> None:
    upstream.answers(hang(), on="POST /runs")
    process = hosted.begin(*START, "--json", variables={"MOGPLEX_API_KEY": TOKEN})
    (start,) = await upstream.received(1)
    process.send_signal(signal.SIGINT)
    shown, told = await asyncio.to_thread(process.communicate, timeout=20)
    assert (process.returncode, shown) == (130, "")
    assert json.loads(told)["idempotencyKey"] == start.headers["idempotency-key"]


async def test_a_run_that_was_started_is_told_of_before_anything_that_ctrl_c_may_end(
    hosted: Mogplex, upstream: ScriptedUpstream
) -> None:
    await typed(hosted, "runs", "list", MOGPLEX_API_KEY=TOKEN)
    with closing(sqlite3.connect(hosted.home / "mcp" / "store.db", isolation_level=None)) as busy:

        async def started(connection: Connection) -> None:
            # What the command would remember of the run has to wait.
            busy.execute("BEGIN IMMEDIATE")
            await ok(RUN, 202)(connection)

        upstream.answers(started, on="POST /runs")
        process = hosted.begin(*START, variables={"MOGPLEX_API_KEY": TOKEN})
        told = await asyncio.wait_for(asyncio.to_thread(read_until, process, "^started run run-1 "), 5)
        process.send_signal(signal.SIGINT)
    await asyncio.to_thread(process.communicate, timeout=20)
    assert told
    assert process.returncode == 130


async def test_what_a_shell_passes_that_is_no_text_is_a_usage_error(
    hosted: Mogplex, upstream: ScriptedUpstream
) -> None:
    done = await typed(hosted, "run", "--repo", REPO_ID, "caf\udce9", MOGPLEX_API_KEY=TOKEN)
    assert (done.returncode, done.stdout) == (2, "")
    assert "prompt: is not UTF-8" in done.stderr
    assert upstream.requests == []


async def test_a_failure_of_the_moment_without_a_known_code_says_to_try_again(
    hosted: Mogplex, upstream: ScriptedUpstream
) -> None:
    upstream.answers(error(504, "GATEWAY"))
    done = await typed(hosted, "runs", "cancel", "run-1", MOGPLEX_API_KEY=TOKEN)
    assert done.returncode == 69
    assert "Try again in a minute" in done.stderr


async def test_lists_name_repositories_where_that_costs_little(hosted: Mogplex, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({"run": {**RUN, "status": "success"}}), on="GET /runs/run-1")
    upstream.answers(ok({"repos": [REPO]}), error(500, "INTERNAL_ERROR"), on="GET /repos")
    await typed(hosted, "runs", "get", "run-1", MOGPLEX_API_KEY=TOKEN)
    named = await typed(hosted, "runs", "list", MOGPLEX_API_KEY=TOKEN)
    assert "acme/web" in named.stdout
    nameless = await typed(hosted, "runs", "list", MOGPLEX_API_KEY=TOKEN)
    assert (nameless.returncode, nameless.stderr) == (0, "")
    assert "repo-1" in nameless.stdout


async def test_a_setting_that_makes_no_sense_is_told_to_programs_too(hosted: Mogplex) -> None:
    wrong = await typed(hosted, "repos", "list", "--json", MOGPLEX_API_KEY=TOKEN, MOGPLEX_API_RATE_LIMIT="many")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    error = json.loads(wrong.stderr)["error"]
    assert error["code"] == "BAD_SETTING"
    assert "MOGPLEX_API_RATE_LIMIT" in error["message"]


async def test_every_documented_option_reaches_mogplex(hosted: Mogplex, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({**RUN, "replayed": False}, 202), on="POST /runs")
    options = ("--harness", "claude-code", "--base-branch", "main", "--branch", "fix", "--create-branch", "--root", "a")
    done = await typed(hosted, *START, *options, "--json", MOGPLEX_API_KEY=TOKEN)
    assert json.loads(done.stdout)["runId"] == "run-1"
    assert json.loads(upstream.requests[-1].body) == {
        "repoId": REPO_ID,
        "prompt": "Fix it",
        "harness": "claude-code",
        "baseBranch": "main",
        "workingBranch": "fix",
        "createBranch": True,
        "rootDirectory": "a",
    }


async def test_what_an_agent_says_stays_on_its_line_and_commands_no_terminal(
    hosted: Mogplex, upstream: ScriptedUpstream
) -> None:
    event = {"id": "e1", "type": "tool_call", "toolName": HOSTILE, "message": HOSTILE, "createdAt": HOSTILE}
    run = {**RUN, "status": "success", "error": HOSTILE}
    upstream.answers(ok({"run": run, "events": [event]}), on="GET /runs/run-1/events")
    upstream.answers(ok({"repos": [{**REPO, "full_name": HOSTILE}]}), on="GET /repos")
    upstream.answers(error(404, "NOT_FOUND", HOSTILE), on="POST /runs/run-1/cancel")
    person = Mogplex(hosted.home, {**hosted.variables, "MOGPLEX_API_KEY": TOKEN})
    events = ("runs", "events", "run-1", "--follow")
    (_, screen), shown, refused, for_programs = await asyncio.gather(
        asyncio.to_thread(lambda: Terminal(person, *events).end()),
        typed(person, "repos", "list"),
        typed(person, "runs", "cancel", "run-1"),
        typed(person, *events, "--json"),
    )
    # What this program itself draws: colours, and the erasing of its own line.
    drawn = re.sub(r"\x1b\[(2K|\d*m)", "", screen).replace("\r", "")
    for text in (drawn, shown.stdout, refused.stderr):
        assert "evil" in text
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
        assert not re.search("^forged", text, re.MULTILINE)
    assert for_programs.stdout.isascii()
    assert [json.loads(line) for line in for_programs.stdout.splitlines()] == [
        event,
        {"runId": "run-1", "status": "success"},
    ]


async def test_events_that_hosted_mogplex_does_not_show_are_told_of(
    hosted: Mogplex, upstream: ScriptedUpstream
) -> None:
    events = [{"id": f"e{number}", "type": "log", "message": str(number)} for number in range(200)]
    upstream.answers(ok({"run": RUN, "events": events}), on="GET /runs/run-1/events")
    done = await typed(hosted, "runs", "events", "run-1", MOGPLEX_API_KEY=TOKEN)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 200)
    assert "first 200 events only" in done.stderr


async def test_a_person_at_a_terminal_chooses_among_repositories_of_one_name(
    hosted: Mogplex, upstream: ScriptedUpstream
) -> None:
    both = [{**REPO, "id": "r1", "full_name": "acme/web"}, {**REPO, "id": "r2", "full_name": "other/web"}]
    upstream.answers(ok({"repos": both}), on="GET /repos")
    upstream.answers(ok({**RUN, "replayed": False}, 202), on="POST /runs")

    def choose() -> tuple[int, str]:
        terminal = Terminal(hosted, "run", "--repo", "web", "Fix it", MOGPLEX_API_KEY=TOKEN)
        terminal.until(r"1\. acme/web\r\n  2\. other/web\r\nNumber: ")
        terminal.type("2\n")
        return terminal.end()

    code, screen = await asyncio.to_thread(choose)
    assert code == 0, screen
    assert json.loads(upstream.requests[-1].body)["repoId"] == "r2"
