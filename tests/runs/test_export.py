"""A run as text: what each format and scope holds, and that what an agent said stays text."""

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogplex_mcp.api import Run, RunEvent
from mogplex_mcp.runs.export import FORMATS, SCOPES, Format, Scope, export, export_aside
from tests.api.scripted_upstream import RUN

ENDED = Run.model_validate({**RUN, "status": "failed", "error": "a | b <script>", "branch": {"working": "fix/it"}})
EVENTS = [
    RunEvent.model_validate(event)
    for event in (
        {"id": "1", "type": "assistant_message", "message": "one\n<b>two</b>", "createdAt": "2026-01-01T00:00:00Z"},
        {"id": "2", "type": "tool_call", "toolName": "shell", "message": "ls", "payload": {"new": 1}},
        {"id": "3", "type": "finished", "payload": {"model": "m-1", "usage": {"in": 5}, "total_cost_usd": 0.25}},
    )
]
FIGURES = {"model": "m-1", "usage": {"in": 5}, "total_cost_usd": 0.25}
MISSING = "the window is full"


def text(format_: Format, scope: Scope, run: Run = ENDED, missing: str | None = None) -> str:
    return export(run, EVENTS, missing, format=format_, scope=scope).text


def lines(scope: Scope) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text("jsonl", scope).splitlines()]


def test_json_is_one_object_with_the_run_its_figures_and_its_events_as_mogplex_gave_them() -> None:
    assert json.loads(text("json", "full")) == {
        "run": ENDED.wire(),
        "figures": FIGURES,
        "lastMessage": "one\n<b>two</b>",
        "eventsTruncated": False,
        "events": [event.wire() for event in EVENTS],
    }
    assert set(json.loads(text("json", "timeline"))) == {"runId", "eventsTruncated", "events"}
    assert "events" not in json.loads(text("json", "result"))


def test_json_lines_are_the_events_after_one_line_for_the_run() -> None:
    events = [event.wire() for event in EVENTS]
    assert lines("timeline") == events
    about, *rest = lines("full")
    assert (about["type"], about["run"], about["figures"]) == ("run", ENDED.wire(), FIGURES)
    assert rest == events
    assert lines("result") == [about]


async def test_while_a_long_run_is_written_others_do_not_wait() -> None:
    event = RunEvent.model_validate({"id": "1", "type": "assistant_message", "message": "<&>" * 1_000})
    others = 0
    writing = asyncio.create_task(export_aside(ENDED, [event] * 2_000, None, format="markdown", scope="full"))
    while not writing.done():
        await asyncio.sleep(0)
        others += 1
    assert others > 3
    assert writing.result() == export(ENDED, [event] * 2_000, None, format="markdown", scope="full")


def test_markdown_has_metadata_timeline_and_result() -> None:
    page = text("markdown", "full")
    for part in (
        "| Working branch | fix/it |",
        "| model | m-1 |",
        '| usage | {"in": 5} |',
        "| total_cost_usd | 0.25 |",
    ):
        assert part in page
    assert page.count("\n- ") == len(EVENTS)
    assert page.index("## Timeline") < page.index("## Result")
    assert "failed: a \\| b &lt;script>" in page
    assert page.endswith("> one\n> &lt;b>two&lt;/b>\n")
    assert "<" not in page
    assert "## Result" not in text("markdown", "timeline")
    assert "## Timeline" not in text("markdown", "result")
    assert "| model | m-1 |" in text("markdown", "result")


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_missing_is_said(format_: Format) -> None:
    assert MISSING in text(format_, "full", missing=MISSING)
    assert MISSING not in text(format_, "full")


@pytest.mark.parametrize("format_", FORMATS)
def test_a_run_that_goes_on_has_no_last_words_yet(format_: Format) -> None:
    assert "two" not in text(format_, "result", run=Run.model_validate({**RUN, "status": "streaming"}))


def test_each_format_says_what_it_is() -> None:
    kinds = {f: export(ENDED, EVENTS, None, format=f, scope="full") for f in FORMATS}
    assert {f: (kind.mime_type, kind.extension) for f, kind in kinds.items()} == {
        "json": ("application/json", "json"),
        "jsonl": ("application/jsonl", "jsonl"),
        "markdown": ("text/markdown", "md"),
    }


hostile = st.lists(
    st.sampled_from(
        [
            "![",
            "[",
            "](",
            "]:",
            "][",
            "x",
            "http://evil.example/",
            ")",
            "<img src=x>",
            "\\",
            "\n",
            "!",
            "`",
            "|",
            "&lt;",
            "\x1b[2J",
            "\x9b",
            "\ud800",
            "# ",
            "> ",
            "- ",
            "```",
            "    ",
            "\t",
            "*",
        ]
    ),
    max_size=14,
).map("".join)


ACTIVE = re.compile(r"!\[|\][(:]|<|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What makes a picture, a link or a tag in Markdown, and what a terminal obeys."""


@given(message=hostile, kind=hostile.filter(bool), error=hostile, tool=hostile)
def test_what_an_agent_says_becomes_no_picture_link_or_markup(message: str, kind: str, error: str, tool: str) -> None:
    event = RunEvent.model_validate({"id": "e", "type": kind, "message": message, "toolName": tool})
    said = RunEvent.model_validate({"id": "f", "type": "assistant_message", "message": message})
    run = Run.model_validate({**RUN, "status": "failed", "error": error, "harness": message})
    for scope in SCOPES:
        page = export(run, [event, said], None, format="markdown", scope=scope).text
        assert ACTIVE.search(page) is None
        page.encode("utf-8")
