"""The readers on what the real CLIs printed (Codex 0.169.0, Claude Code 2.1.197), and on what no CLI should print."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogplex_mcp.local.harness_events import MAX_ERROR, MAX_MESSAGE, HarnessEvent, Outcome, Reader
from mogplex_mcp.local.harnesses.claude_code import ClaudeCodeReader
from mogplex_mcp.local.harnesses.codex import CodexReader

FIXTURES = Path(__file__).with_name("fixtures")
DOCUMENTED = {"stream_started", "tool_call", "tool_result", "assistant_message", "log"}
READERS: list[Callable[[], Reader]] = [CodexReader, ClaudeCodeReader]


def read(reader: Reader, name: str, exit_code: int, stderr: str = "") -> tuple[list[HarnessEvent], Outcome]:
    lines = (FIXTURES / name).read_text("utf-8").splitlines()
    return [event for line in lines for event in reader.feed(line)], reader.finish(exit_code, stderr)


def shown(events: list[HarnessEvent]) -> list[tuple[str, str | None]]:
    return [(event.type, event.tool_name) for event in events if event.type != "log"]


def told(reader: Reader, *lines: object, exit_code: int = 0) -> Outcome:
    for line in lines:
        reader.feed(json.dumps(line))
    return reader.finish(exit_code, "")


def test_a_codex_run_is_told_call_by_call_with_its_usage() -> None:
    events, outcome = read(CodexReader(), "codex_success.jsonl", 0)
    assert shown(events) == [
        ("stream_started", None),
        ("tool_call", "shell"),
        ("tool_result", "shell"),
        ("tool_call", "edit_file"),
        ("tool_result", "edit_file"),
        ("tool_call", "shell"),
        ("tool_result", "shell"),
        ("tool_call", "shell"),
        ("tool_result", "shell"),
        ("assistant_message", None),
    ]
    assert [event.message for event in events if event.type == "tool_call"][1] == "Editing /repo/a.txt"
    assert not any(event.stalled for event in events)
    assert outcome == Outcome(
        True,
        None,
        {
            "threadId": "00000000-0000-4000-8000-000000000001",
            "usage": {
                "input_tokens": 600,
                "cached_input_tokens": 60,
                "cache_write_input_tokens": 0,
                "output_tokens": 120,
                "reasoning_output_tokens": 30,
            },
        },
    )


def test_codex_without_a_network_stalls_for_ever_and_its_last_words_are_kept() -> None:
    events, outcome = read(CodexReader(), "codex_no_network.jsonl", -15)
    after_start = events[2:]
    assert len(after_start) > 5
    assert all(event.stalled and event.type == "log" for event in after_start)
    assert not any(event.stalled for event in events[:2])
    assert not outcome.success
    assert outcome.error == "Reconnecting... waiting for network (Connection failed: error sending request)"


def test_codex_without_a_valid_key_says_how_to_sign_in_and_what_it_was_told() -> None:
    _, outcome = read(CodexReader(), "codex_unauthorized.jsonl", 1)
    assert not outcome.success
    assert outcome.error is not None
    assert outcome.error.startswith("Codex is not signed in: run `codex login`")
    assert "Incorrect API key provided" in outcome.error


def test_a_codex_turn_that_failed_fails_in_its_own_words_even_with_exit_0() -> None:
    for exit_code in (0, 1):
        _, outcome = read(CodexReader(), "codex_refused.jsonl", exit_code)
        assert (outcome.success, outcome.error) == (False, "This prompt was refused.")


def test_codex_that_reconnected_and_went_on_succeeds() -> None:
    reconnect = {"type": "error", "message": "Reconnecting... 1/5 (stream disconnected)"}
    answer = {"type": "item.completed", "item": {"id": "1", "type": "agent_message", "text": "done"}}
    completed = {"type": "turn.completed", "usage": {}}
    assert told(CodexReader(), reconnect, answer, completed).success
    assert not told(CodexReader(), answer, reconnect).success
    assert not told(CodexReader(), answer, {"type": "error", "message": "quota"}).success


def test_a_codex_tool_that_is_only_reported_when_done_is_a_call_and_a_result() -> None:
    item = {"id": "7", "type": "mcp_tool_call", "server": "docs", "tool": "find", "error": {"message": "no such page"}}
    events = CodexReader().feed(json.dumps({"type": "item.completed", "item": item}))
    assert shown(events) == [("tool_call", "docs.find"), ("tool_result", "docs.find")]
    assert events[1].message == "no such page"


def test_a_claude_run_is_told_call_by_call_with_its_cost_and_model() -> None:
    events, outcome = read(ClaudeCodeReader(), "claude_success.jsonl", 0)
    assert shown(events) == [
        ("stream_started", None),
        ("assistant_message", None),
        ("tool_call", "Read"),
        ("tool_result", "Read"),
        ("tool_call", "Edit"),
        ("tool_result", "Edit"),
        ("tool_call", "Bash"),
        ("tool_result", "Bash"),
        ("tool_call", "Write"),
        ("tool_call", "Read"),
        ("tool_result", "Write"),
        ("tool_result", "Read"),
        ("assistant_message", None),
    ]
    assert not any(event.stalled for event in events)
    assert outcome.success
    assert outcome.error is None
    assert outcome.payload["total_cost_usd"] == 0.006
    assert str(outcome.payload["model"]).startswith("claude-")
    usage = outcome.payload["usage"]
    assert isinstance(usage, dict)
    assert usage["output_tokens"] == 150


def test_claude_that_is_not_signed_in_says_how_to_sign_in() -> None:
    events, outcome = read(ClaudeCodeReader(), "claude_not_signed_in.jsonl", 1)
    assert not any(event.type == "assistant_message" for event in events), "an error is not the model's answer"
    assert outcome.error is not None
    assert outcome.error.startswith("Claude Code is not signed in: run `claude` and sign in")
    assert "Not logged in" in outcome.error


def test_claude_without_a_network_stalls_and_ends_in_its_own_words() -> None:
    events, outcome = read(ClaudeCodeReader(), "claude_no_network.jsonl", 1)
    assert [event.stalled for event in events[:-1]] == [False, *([True] * (len(events) - 2))]
    assert events[1].message == "Retrying the API, attempt 1/10 (unknown)"
    assert (outcome.success, outcome.error) == (False, "API Error: Unable to connect to API (ConnectionRefused)")


@pytest.mark.parametrize("exit_code", [0, 1])
def test_claude_fails_by_is_error_though_its_subtype_is_success(exit_code: int) -> None:
    lines = (FIXTURES / "claude_refused.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[-1])["subtype"] == "success"
    _, outcome = read(ClaudeCodeReader(), "claude_refused.jsonl", exit_code)
    assert (outcome.success, outcome.error) == (False, "Credit balance is too low")


def test_claude_that_was_ended_while_it_retried_gives_the_last_retry_as_reason() -> None:
    _, outcome = read(ClaudeCodeReader(), "claude_unauthorized.jsonl", 143)
    assert outcome.error is not None
    assert "HTTP 401" in outcome.error or "authenticat" in outcome.error


def test_claude_that_ran_out_of_turns_fails_and_says_so() -> None:
    result = {"type": "result", "subtype": "error_max_turns", "is_error": True, "errors": ["Reached 3 turns"]}
    assert told(ClaudeCodeReader(), result, exit_code=1).error == "Reached 3 turns"
    bare = {"type": "result", "subtype": "error_max_turns", "is_error": True}
    assert told(ClaudeCodeReader(), bare, exit_code=1).error == "error_max_turns"


@pytest.mark.parametrize("make", READERS)
def test_exit_0_alone_is_a_success_and_any_other_exit_alone_is_not(make: Callable[[], Reader]) -> None:
    assert make().finish(0, "").success
    silent = make().finish(3, "")
    assert not silent.success
    assert silent.error is not None
    assert silent.error.endswith("ended with exit code 3 and said nothing")
    killed = make().finish(-9, "noise\n\x1b[31mNot inside a trusted directory\x1b[0m\n")
    assert killed.error is not None
    assert "was ended by signal 9" in killed.error
    assert killed.error.endswith("Not inside a trusted directory")


@pytest.mark.parametrize("make", READERS)
@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        "plain words",
        "{",
        "[]",
        "null",
        "3",
        '"text"',
        "{}",
        '{"type": null}',
        '{"type": ["error"]}',
        '{"type": {"a": 1}}',
        '{"type": "error"}',
        '{"type": "error", "message": {"deep": [1]}}',
        '{"type": "turn.failed", "error": "text"}',
        '{"type": "turn.completed", "usage": "none"}',
        '{"type": "item.completed", "item": []}',
        '{"type": "item.completed", "item": {"type": ["command_execution"]}}',
        '{"type": "item.completed", "item": {"type": "file_change", "changes": [null, 1, {"path": 3}]}}',
        '{"type": "item.started", "item": {"type": "mcp_tool_call", "server": 1, "tool": null}}',
        '{"type": "assistant", "message": "text"}',
        '{"type": "assistant", "message": {"content": "text"}}',
        '{"type": "assistant", "message": {"content": [1, null, {"type": 2}, {"type": "tool_use", "input": 3}]}}',
        '{"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": [], "content": 5}]}}',
        '{"type": "result", "is_error": "no", "result": []}',
        '{"type": "result", "usage": [[]], "errors": {"a": 1}}',
        '{"type": "system", "subtype": {"x": 1}}',
        '{"type": "system", "subtype": "api_retry", "attempt": {}, "error": []}',
        '{"type": "error", "message": "half a pair \\ud800 and \\u0000"}',
        '{"type": "x", "n": NaN}',
        '{"type": "x", "n": ' + "9" * 5_000 + "}",
        '{"type": "x", "deep": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"type": "x", "deep": ' + '{"a":' * 500 + "1" + "}" * 500 + "}",
        "\x00\x01\x02",
        "�" * 1_000,
        "x" * (1024 * 1024),
    ],
    ids=lambda line: line[:40] or "empty",
)
def test_no_line_breaks_a_reader(make: Callable[[], Reader], line: str) -> None:
    reader = make()
    check(reader.feed(line), reader.finish(1, ""))


def check(events: list[HarnessEvent], outcome: Outcome) -> None:
    for event in events:
        assert event.type in DOCUMENTED
        assert len(event.message or "") <= MAX_MESSAGE
        assert "\x00" not in (event.message or "")
        # What is stored and sent must be JSON and UTF-8.
        json.dumps([event.message, event.tool_name, event.payload], ensure_ascii=False, allow_nan=False).encode()
    json.dumps(outcome.payload, ensure_ascii=False, allow_nan=False).encode()
    assert not outcome.success
    assert outcome.error
    assert len(outcome.error) <= MAX_ERROR


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=15,
)
TYPES = st.sampled_from(
    [
        *("thread.started", "turn.failed", "turn.completed", "error", "item.started", "item.completed"),
        *("system", "assistant", "user", "result"),
    ]
)
ITEMS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["command_execution", "file_change", "agent_message", "error", "init", "api_retry"])
        | JSON
    },
    optional=dict.fromkeys(["id", "text", "changes", "message", "command", "aggregated_output", "error"], JSON),
)
LINES = st.fixed_dictionaries(
    {"type": TYPES},
    optional={"item": ITEMS | JSON, "message": st.fixed_dictionaries({"content": st.lists(ITEMS) | JSON}) | JSON}
    | dict.fromkeys(["subtype", "error", "usage", "is_error", "result", "errors", "thread_id", "attempt"], JSON),
)


@pytest.mark.parametrize("make", READERS)
@given(lines=st.lists(LINES | JSON, max_size=5))
def test_no_json_breaks_a_reader(make: Callable[[], Reader], lines: list[object]) -> None:
    reader = make()
    events = [event for line in lines for event in reader.feed(json.dumps(line))]
    check(events, reader.finish(1, ""))


@pytest.mark.parametrize("make", READERS)
def test_an_unknown_type_is_passed_on_with_what_came(make: Callable[[], Reader]) -> None:
    line = {"type": "brand.new", "answer": 42}
    assert make().feed(json.dumps(line)) == [HarnessEvent("log", "brand.new", payload=line)]


@pytest.mark.parametrize("make", READERS)
def test_words_that_are_no_json_are_a_bounded_log(make: Callable[[], Reader]) -> None:
    (event,) = make().feed("\x1b[1mwarning\x1b[0m: " + "x" * 100_000)
    assert event.type == "log"
    assert event.message is not None
    assert event.message.startswith("warning: xxx")
    assert len(event.message) == 2_000
