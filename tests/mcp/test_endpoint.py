"""One endpoint for every revision: sessions, single requests, 2026-07-28; codes and statuses of what goes wrong."""

import asyncio
import json

import httpx2
import pytest

from mogplex_mcp.auth.rpc_call import MAX_BODY_BYTES, look
from mogplex_mcp.tools.registry import TOOLS
from tests.mcp.conftest import Host, Json

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}


def request(method: str, params: Json | None = None) -> Json:
    return {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is None else {"params": params})}


def from_stream(text: str) -> Json:
    (line,) = [line for line in text.splitlines() if line.startswith("data: {")]
    message: Json = json.loads(line.removeprefix("data: "))
    return message


async def test_the_documentations_curl_of_a_tool_call_works(host: Host) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 42,
        "method": "tools/call",
        "params": {"name": "mogplex_list_repos", "arguments": {"limit": 5}},
    }
    answer = await host.http.post(
        host.url,
        content=json.dumps(body),
        headers={
            "Authorization": f"Bearer {host.token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        },
    )
    assert answer.status_code == 200
    result = answer.json()["result"]
    assert answer.json()["id"] == 42
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    assert result["structuredContent"]["repos"][0]["full_name"] == "demo/hello"


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_a_session_lives_from_initialize_to_delete(host: Host, version: str) -> None:
    opened = await host.post(request("initialize", {**INITIALIZE, "protocolVersion": version}))
    session = opened.headers["mcp-session-id"]
    assert from_stream(opened.text)["result"]["protocolVersion"] == version
    headers = {"Mcp_Session_Id": session, "MCP_Protocol_Version": version}
    noted = await host.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, **headers)
    assert noted.status_code == 202
    listed = await host.post(request("tools/list"), **headers)
    assert [tool["name"] for tool in from_stream(listed.text)["result"]["tools"]] == list(TOOLS)
    ended = await host.http.delete(host.url, headers=host.headers(**headers))
    assert ended.status_code == 200
    assert (await host.post(request("tools/list"), **headers)).status_code == 404


async def test_another_callers_session_is_not_found(host: Host, other_token: str) -> None:
    opened = await host.post(request("initialize", INITIALIZE))
    session = opened.headers["mcp-session-id"]
    foreign = await host.post(request("ping"), Mcp_Session_Id=session, Authorization=f"Bearer {other_token}")
    unknown = await host.post(request("ping"), Mcp_Session_Id="0" * 32)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() == unknown.json()


async def test_a_2026_request_needs_no_session_and_gets_none(host: Host) -> None:
    answer = await host.post_modern("tools/call", {"name": "mogplex_list_repos", "arguments": {}})
    assert answer.status_code == 200
    assert "mcp-session-id" not in answer.headers
    assert answer.json()["result"]["resultType"] == "complete"


async def test_discovery_names_the_server_and_how_to_use_it(host: Host) -> None:
    result = (await host.post_modern("server/discover")).json()["result"]
    assert "2026-07-28" in result["supportedVersions"]
    assert "createBranch" in result["instructions"]
    assert result["cacheScope"] == "private"


async def test_a_2026_client_that_accepts_json_alone_is_served_too(host: Host) -> None:
    body, headers = host.modern("tools/list")
    answer = await host.post(body, **headers, Accept="application/json")
    assert answer.status_code == 200


async def test_blanks_around_a_header_value_do_not_count(host: Host) -> None:
    body, headers = host.modern("tools/call", {"name": "mogplex_list_repos", "arguments": {}})
    content = json.dumps(body).encode()
    blank = {
        **headers,
        "Mcp_Name": "  mogplex_list_repos \t",
        "Content_Length": str(len(content)),
        "Connection": "close",
    }
    lines = [f"{name}: {value}" for name, value in host.headers(Host="localhost", **blank).items()]
    # Raw: an HTTP client refuses to send what some do send.
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(host.url).port)
    writer.write("\r\n".join(["POST /mcp HTTP/1.1", *lines, "", ""]).encode() + content)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"demo/hello" in answer


async def test_a_name_in_the_header_over_another_in_the_body_is_refused(host: Host) -> None:
    body, headers = host.modern("tools/call", {"name": "mogplex_cancel_run", "arguments": {"runId": "x"}})
    answer = await host.post(body, **{**headers, "Mcp_Name": "mogplex_list_repos"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32020


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, -32700),
        (b"", 400, -32700),
        (b"[]", 400, -32600),
        (b'"text"', 400, -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 400, -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', 400, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', 400, -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', 400, -32600),
        (b'{"jsonrpc":"2.0","id":1}', 400, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"no/such"}', 200, -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}', 200, -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"no_such"}}', 200, -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x"}}', 200, -32602),
        (b"[" * 100_000, 400, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":' + b"9" * 5000 + b"}}", 400, -32700),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_2025_request_is_said_in_the_documentations_codes(
    host: Host, body: bytes, status: int, code: int
) -> None:
    answer = await host.http.post(host.url, content=body, headers=host.headers())
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(("method", "status", "code"), [("no/such", 404, -32601), ("initialize", 404, -32601)])
async def test_an_unknown_method_of_2026_is_404(host: Host, method: str, status: int, code: int) -> None:
    answer = await host.post_modern(method)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


async def test_an_unknown_tool_of_2026_is_an_error_and_no_result(host: Host) -> None:
    answer = await host.post_modern("tools/call", {"name": "no_such", "arguments": {}})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32602


async def test_a_body_over_the_limit_is_refused_unread(host: Host) -> None:
    answer = await host.http.post(host.url, content=b" " * (MAX_BODY_BYTES + 1), headers=host.headers())
    assert answer.status_code == 413


async def test_a_get_without_a_session_is_refused(host: Host) -> None:
    answer = await host.http.get(host.url, headers=host.headers(Accept="text/event-stream"))
    assert answer.status_code == 400


async def test_the_guide_and_the_prompts_are_there_in_both_eras(host: Host) -> None:
    resources = (await host.rpc("resources/list"))["result"]["resources"]
    for uri in [resource["uri"] for resource in resources]:
        old = (await host.rpc("resources/read", {"uri": uri}))["result"]["contents"][0]["text"]
        new = (await host.post_modern("resources/read", {"uri": uri})).json()["result"]["contents"][0]["text"]
        assert old == new
        assert uri != "mogplex://guide" or "createBranch" in old
    prompts = (await host.rpc("prompts/list"))["result"]["prompts"]
    for prompt in prompts:
        arguments = {argument["name"]: "a {curly} value" for argument in prompt["arguments"]}
        rendered = (await host.rpc("prompts/get", {"name": prompt["name"], "arguments": arguments}))["result"]
        assert "a {curly} value" in rendered["messages"][0]["content"]["text"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("prompts/get", {"name": "no_such"}),
        ("prompts/get", {"name": "review_run"}),
        ("prompts/get", {"name": "review_run", "arguments": {"run_id": "r", "other": "x"}}),
        ("prompts/get", {"name": "review_run", "arguments": {"run_id": "r" * 20_001}}),
    ],
)
async def test_a_prompt_that_cannot_be_made_is_invalid_params(host: Host, method: str, params: Json) -> None:
    assert (await host.rpc(method, params))["error"]["code"] == -32602


async def test_an_unknown_resource_has_the_code_of_the_callers_revision(host: Host) -> None:
    assert (await host.rpc("resources/read", {"uri": "mogplex://no"}))["error"]["code"] == -32002
    assert (await host.post_modern("resources/read", {"uri": "mogplex://no"})).json()["error"]["code"] == -32602


def test_the_look_into_a_body_never_raises_and_names_only_tools() -> None:
    assert look(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}').name == "x"
    assert look(b'{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"x"}}').name is None
    assert look(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}').name is None
    assert look(b"\xff").method is None
    assert look(b'{"jsonrpc":"2.0","id":1,"result":{}}').wellformed
