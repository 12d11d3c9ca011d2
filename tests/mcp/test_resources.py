"""What a host reads without calling a tool: repositories, runs, their events and transcripts; and only its own."""

import json
from dataclasses import replace

import pytest

from mogplex_mcp.auth.scopes import TOOLS_READ
from tests.mcp.conftest import Host, Json
from tests.mcp.test_access import Person, person  # noqa: F401 - a fixture
from tests.mcp.test_tools import call, demo_repo


async def start(host: Host) -> str:
    repo = await demo_repo(host)
    done = await call(host, "mogplex_start_agent_run", repoId=repo, prompt="Repair it", createBranch=True, wait=True)
    assert done["ended"] is True
    run_id: str = done["run"]["runId"]
    return run_id


async def read(host: Host, uri: str) -> Json:
    """The content in both eras, which must be the same."""
    old = await host.rpc("resources/read", {"uri": uri})
    new = (await host.post_modern("resources/read", {"uri": uri})).json()["result"]
    assert new["contents"] == old["result"]["contents"]
    assert (new["cacheScope"], new["ttlMs"]) == ("private", 0)
    (content,) = new["contents"]
    assert content["uri"] == uri
    return dict(content)


async def listed(host: Host, **headers: str) -> list[str]:
    """The URIs of all pages."""
    uris: list[str] = []
    params: Json = {}
    for _ in range(10):
        page = (await host.rpc("resources/list", params, **headers))["result"]
        uris += [resource["uri"] for resource in page["resources"]]
        if "nextCursor" not in page:
            return uris
        params = {"cursor": page["nextCursor"]}
    raise AssertionError("the list has no end")


async def test_a_run_is_read_as_state_events_and_transcript(host: Host, other_token: str) -> None:
    run_id = await start(host)
    uri = f"mogplex://runs/{run_id}"
    assert uri in await listed(host)
    assert json.loads((await read(host, uri))["text"])["status"] == "success"
    assert [run["runId"] for run in json.loads((await read(host, "mogplex://runs"))["text"])["runs"]] == [run_id]

    events = await read(host, f"{uri}/events")
    assert events["mimeType"] == "application/jsonl"
    assert events["_meta"]["eventsTruncated"] is False
    known = (await call(host, "mogplex_get_run_events", runId=run_id, detail="full"))["events"]
    assert [json.loads(line) for line in events["text"].splitlines()] == known

    page = await read(host, f"{uri}/transcript")
    assert page["mimeType"] == "text/markdown"
    assert "| Status | success |" in page["text"]
    assert page["text"].count("\n- ") == len(known)

    other = replace(host, token=other_token)
    assert uri not in await listed(other)
    assert json.loads((await read(other, "mogplex://runs"))["text"])["runs"] == []


async def test_repositories_are_read_as_a_list_and_one_by_one(host: Host) -> None:
    (repo,) = json.loads((await read(host, "mogplex://repos"))["text"])["repos"]
    assert repo["full_name"] == "demo/hello"
    assert json.loads((await read(host, f"mogplex://repos/{repo['id']}"))["text"]) == repo


@pytest.mark.parametrize(
    "uri",
    [
        "mogplex://runs/00000000-0000-0000-0000-000000000000",
        "mogplex://runs/00000000-0000-0000-0000-000000000000/events",
        "mogplex://runs/00000000-0000-0000-0000-000000000000/transcript",
        "mogplex://repos/none",
        "mogplex://repos/none/events",
        "mogplex://runs/..",
        "mogplex://runs/%2e%2e/events",
        "mogplex://runs/a/other",
        "mogplex://runs/a/export/full.pdf",
        "mogplex://runs/a/export/full",
        "mogplex://runs/" + "x" * 700,
        "file:///etc/passwd",
    ],
)
async def test_what_is_not_there_is_not_found(host: Host, uri: str) -> None:
    assert (await host.rpc("resources/read", {"uri": uri}))["error"]["code"] == -32002


async def test_the_attached_run_comes_first_and_once(host: Host) -> None:
    first, second = await start(host), await start(host)
    uris = await listed(host, Mogplex_Attach_Run=first)
    assert uris[0] == f"mogplex://runs/{first}"
    assert uris.count(uris[0]) == 1
    assert f"mogplex://runs/{second}" in uris
    assert "mogplex://guide" in uris


async def test_an_unknown_cursor_is_invalid_params(host: Host) -> None:
    assert (await host.rpc("resources/list", {"cursor": "e30"}))["error"]["code"] == -32602


async def test_who_may_not_read_sees_the_guide_in_the_list_and_nothing_else(person: Person) -> None:  # noqa: F811
    agent, _ = await person.connect("agents:run")
    assert await listed(agent) == ["mogplex://guide"]
    body = {"jsonrpc": "2.0", "id": 1, "method": "completion/complete", "params": {}}
    refused = await agent.post(body)
    assert refused.status_code == 403
    assert f'scope="{TOOLS_READ}"' in refused.headers["www-authenticate"]
