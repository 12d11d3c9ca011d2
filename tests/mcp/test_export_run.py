"""``mogplex_export_run``: a run as one text, in the result or, when it is long, where the result says."""

import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mogplex_mcp.runs.export import FORMATS, SCOPES
from mogplex_mcp.settings import Settings
from tests.local.hosting import FAKE_CLI
from tests.mcp.conftest import Host, Json
from tests.mcp.test_resources import read
from tests.mcp.test_tools import call, demo_repo

BOUND = 32 * 1024
MIME_TYPES = {"json": "application/json", "jsonl": "application/jsonl", "markdown": "text/markdown"}
SHORT = "message('<b>Done</b> ![x](http://localhost/)'); say(type='turn.completed', usage={'output_tokens': 7})"
LONG = f"for number in range(300): message(f'{{number}} ' + 'é' * 100)\n{SHORT}"


@pytest.fixture
def settings(home: Path) -> Settings:
    """A coding agent that executes its prompt, and no limits."""
    agent = shlex.join([sys.executable, "-I", "-S", str(FAKE_CLI)])
    return Settings(home=home, transport="process", local_codex_command=agent, local_rate_limit=0)


async def run_agent(host: Host, prompt: str) -> str:
    arguments = {"prompt": prompt, "harness": "codex", "createBranch": True, "wait": True}
    done = await call(host, "mogplex_start_agent_run", repoId=await demo_repo(host), **arguments)
    run_id: str = done["run"]["runId"]
    while not done["ended"]:
        done = await call(host, "mogplex_follow_run", runId=run_id, sinceEventId=done["nextEventId"])
    return run_id


async def export(host: Host, revision: str, **arguments: object) -> Json:
    """The tool result as a client of this protocol revision gets it."""
    params = {"name": "mogplex_export_run", "arguments": arguments}
    result: Json = (await host.rpc("tools/call", params, MCP_Protocol_Version=revision))["result"]
    return result


async def test_each_format_and_scope_gives_the_run_as_a_text_that_is_a_resource_too(
    host: Host, other_token: str
) -> None:
    run_id = await run_agent(host, SHORT)
    texts: dict[tuple[str, str], str] = {}
    for format_ in FORMATS:
        for scope in SCOPES:
            exported = await call(host, "mogplex_export_run", runId=run_id, format=format_, scope=scope)
            assert exported["mimeType"] == MIME_TYPES[format_]
            assert exported["eventsTruncated"] is False
            resource = await read(host, exported["resourceUri"])
            assert (resource["text"], resource["mimeType"]) == (exported["text"], exported["mimeType"])
            texts[format_, scope] = exported["text"]
    assert len(set(texts.values())) == len(texts)

    known = await call(host, "mogplex_get_run_events", runId=run_id, detail="full")
    whole = json.loads(texts["json", "full"])
    assert (whole["run"], whole["events"]) == (known["run"], known["events"])
    assert whole["figures"]["usage"] == {"output_tokens": 7}
    assert whole["lastMessage"].startswith("<b>Done</b>")
    assert "> &lt;b>Done&lt;/b> !\\[x]\\(" in texts["markdown", "result"]

    by_prefix = await call(host, "mogplex_export_run", runId=run_id[:8])
    assert by_prefix["text"] == texts["markdown", "full"]
    assert by_prefix["resourceUri"] == f"mogplex://runs/{run_id}/transcript"
    for name in (run_id[:8], "00000000-0000-0000-0000-000000000000"):
        error = (await call(replace(host, token=other_token), "mogplex_export_run", runId=name))["error"]
        assert error["code"] == "NOT_FOUND"


async def test_a_long_run_is_where_the_answer_points_to_and_its_end_in_the_answer(host: Host) -> None:
    run_id = await run_agent(host, LONG)
    for format_, scope in (("json", "full"), ("jsonl", "timeline"), ("markdown", "full"), ("markdown", "timeline")):
        result = await export(host, "2025-11-25", runId=run_id, format=format_, scope=scope)
        data: Json = result["structuredContent"]
        assert "text" not in data
        assert "Too long" in data["notice"]
        assert len(json.dumps(result)) < BOUND
        link = result["content"][1]
        assert (link["type"], link["uri"], link["mimeType"]) == ("resource_link", data["resourceUri"], data["mimeType"])
        resource = await read(host, link["uri"])
        assert resource["mimeType"] == data["mimeType"]
        assert len(resource["text"]) > BOUND
        assert all(f"{number} é" in resource["text"] for number in range(300))
    for revision, kinds in (("2025-03-26", ["text"]), ("2025-06-18", ["text", "resource_link"])):
        result = await export(host, revision, runId=run_id)
        assert [content["type"] for content in result["content"]] == kinds
    modern = await host.post_modern("tools/call", {"name": "mogplex_export_run", "arguments": {"runId": run_id}})
    assert modern.json()["result"]["content"] == result["content"]
    for format_ in FORMATS:
        exported = await call(host, "mogplex_export_run", runId=run_id, format=format_, scope="result")
        assert "299 é" not in exported["text"]
        assert "output_tokens" in exported["text"]


@pytest.mark.parametrize(("limit", "most", "events"), [("MAX_EVENTS", 2, 2), ("MAX_BYTES", 1, 1)])
async def test_of_a_run_that_is_too_long_to_keep_the_beginning_comes_and_it_is_said(
    host: Host, monkeypatch: pytest.MonkeyPatch, limit: str, most: int, events: int
) -> None:
    run_id = await run_agent(host, SHORT)
    monkeypatch.setattr(f"mogplex_mcp.runs.export.{limit}", most)
    exported = await call(host, "mogplex_export_run", runId=run_id, format="json")
    assert exported["eventsTruncated"] is True
    whole = json.loads(exported["text"])
    assert whole["truncatedReason"] == exported["truncatedReason"]
    assert f"first {events}" in whole["truncatedReason"]
    assert len(whole["events"]) == events


async def test_a_format_or_scope_that_is_none_is_refused_by_name(host: Host) -> None:
    for argument in ("format", "scope"):
        refused = await call(host, "mogplex_export_run", runId="0" * 8, **{argument: "pdf"})
        assert list(refused["error"]["fields"]) == [argument]
