"""What passes through the pipe, in both eras and both directions."""

from __future__ import annotations

import json
from pathlib import Path

from tests.shim.pipe.scripted_server import Legacy, Received, Reply, scripted_server
from tests.shim.pipe.shim_process import MODERN, running_shim


def echo(request: Received, reply: Reply) -> None:
    reply.result({"echo": request.message["params"]})


def test_a_modern_request_carries_the_headers_its_body_mirrors(tmp_path: Path) -> None:
    with scripted_server(echo) as server, running_shim(tmp_path / "h", server.url) as shim:
        for method, params, name in (
            ("tools/call", {"name": "plain", "arguments": {}}, "plain"),
            ("prompts/get", {"name": "Grüße"}, "=?base64?R3LDvMOfZQ==?="),
            ("resources/read", {"uri": "mogplex://runs/1"}, "mogplex://runs/1"),
            ("tasks/get", {"taskId": "t-1"}, "t-1"),
            ("tools/list", {}, None),
            ("x/unheard-of", {"name": "not a name", "new": [1]}, None),
        ):
            answer = shim.answer(shim.modern(method, params))
            assert answer["result"]["echo"] == {**params, "_meta": MODERN}
            headers = server.requests[-1].headers
            assert headers["mcp-protocol-version"] == "2026-07-28"
            assert headers["mcp-method"] == method
            assert headers.get("mcp-name") == name
            assert headers["accept"] == "application/json, text/event-stream"
            assert "mcp-session-id" not in headers


def test_the_body_is_the_hosts_own_line_byte_for_byte(tmp_path: Path) -> None:
    line = b'{ "id":1.50,"jsonrpc":"2.0", "method":"x", "params":{"big":12345678901234567890,"e":1e400,"a":1,"a":2}}'
    with scripted_server(echo) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.send_line(line)
        shim.receive()
        assert server.requests[0].body == line


def test_an_answer_keeps_its_bytes_but_for_line_breaks_between_values(tmp_path: Path) -> None:
    def pretty(_: Received, reply: Reply) -> None:
        body = b'{\r\n  "jsonrpc": "2.0",\n "id": 1, "result": {"n": 1.10, "t": "a\\nb"}\n}\n'
        reply.send(200, body, Content_Type="application/json; charset=utf-8")

    with scripted_server(pretty) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.request("x", id=1)
        assert shim._lines.get(timeout=10) == (
            b'{    "jsonrpc": "2.0",  "id": 1, "result": {"n": 1.10, "t": "a\\nb"} }\n'
        )


def test_a_session_is_named_in_every_request_after_initialize(tmp_path: Path) -> None:
    with scripted_server(Legacy()) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        shim.call("tools/list")
        first, *others = server.requests
        assert "mcp-session-id" not in first.headers
        assert "mcp-protocol-version" not in first.headers
        assert {each.headers["mcp-session-id"] for each in others} == {"session-1"}
        assert {each.headers["mcp-protocol-version"] for each in others} == {"2025-11-25"}


def test_what_a_host_writes_ahead_waits_for_the_session(tmp_path: Path) -> None:
    with scripted_server(Legacy()) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.request("initialize", {"protocolVersion": "2025-11-25"})
        shim.notify("notifications/initialized")
        listed = shim.request("tools/list")
        shim.answer(listed)
        order = [each.rpc for each in server.requests if each.method == "POST"]
        assert order == ["initialize", "notifications/initialized", "tools/list"]


def test_the_server_can_ask_the_host_on_both_kinds_of_stream(tmp_path: Path) -> None:
    answers: list[Received] = []

    def on_get(_: Received, reply: Reply) -> None:
        reply.stream()
        reply.event({"jsonrpc": "2.0", "id": "s-1", "method": "roots/list"})
        reply.await_close()
        reply.is_open = False

    def on_call(request: Received, reply: Reply) -> None:
        reply.stream()
        progress = {"progressToken": 7, "progress": 0.5}
        reply.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})
        reply.event({"jsonrpc": "2.0", "id": "s-2", "method": "elicitation/create", "params": {}})
        server.await_requests(lambda: any(each.message.get("id") == "s-2" for each in server.requests))
        reply.event({"jsonrpc": "2.0", "id": request.message["id"], "result": {"ok": True}})
        reply.end()

    legacy = Legacy(own={"GET": on_get, "tools/call": on_call})
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        assert shim.receive()["id"] == "s-1"
        shim.send({"jsonrpc": "2.0", "id": "s-1", "result": {"roots": []}})
        called = shim.request("tools/call", {"name": "ask"})
        assert shim.receive()["params"] == {"progressToken": 7, "progress": 0.5}
        assert shim.receive()["method"] == "elicitation/create"
        shim.send({"jsonrpc": "2.0", "id": "s-2", "result": {"action": "decline"}})
        assert shim.answer(called)["result"] == {"ok": True}
        answers = [each for each in server.requests if each.message.get("id") in {"s-1", "s-2"}]
        assert len(answers) == 2
        assert all(each.headers["mcp-session-id"] == "session-1" for each in answers)


def test_a_batch_of_an_early_revision_gets_every_answer(tmp_path: Path) -> None:
    def on_batch(request: Received, reply: Reply) -> None:
        body = json.loads(request.body)
        if isinstance(body, list):
            reply.json([{"jsonrpc": "2.0", "id": each["id"], "result": {}} for each in body if each.get("id") == "a"])

    with scripted_server(on_batch) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.send([
            {"jsonrpc": "2.0", "id": "a", "method": "ping"},
            {"jsonrpc": "2.0", "method": "notifications/x"},
            {"jsonrpc": "2.0", "id": "b", "method": "ping"},
        ])  # fmt: skip
        assert "result" in shim.answer("a")
        assert "error" in shim.answer("b")


def test_lines_that_are_no_messages_are_answered_and_change_nothing(tmp_path: Path) -> None:
    with scripted_server(echo) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.send_line(b"{nonsense")
        assert shim.receive() | {"error": None} == {"jsonrpc": "2.0", "id": None, "error": None}
        assert shim.seen[-1]["error"]["code"] == -32700
        shim.send_line(b"[1]")
        assert shim.receive()["error"]["code"] == -32600
        shim.send_line(b"")
        assert "result" in shim.answer(shim.request("x"))
        assert len(server.requests) == 1


def test_nothing_but_json_rpc_reaches_stdout_whatever_the_server_sends(tmp_path: Path) -> None:
    bodies = [b"<html>", b'"text"', b"[]", b'{"hello": 1}', b'{"jsonrpc": "2.0", "id": 5', b"\xff\xfe", b"[[[["]

    def odd(_: Received, reply: Reply) -> None:
        reply.send(200, bodies[len(server.requests) - 1], Content_Type="application/json")

    with scripted_server(odd) as server, running_shim(tmp_path / "h", server.url) as shim:
        for _ in bodies:
            assert shim.answer(shim.request("x"))["error"]["code"] == -32000


def test_an_error_without_an_id_or_with_another_is_this_requests_error(tmp_path: Path) -> None:
    def refuse(_: Received, reply: Reply) -> None:
        error = {"code": -32022, "message": "version", "data": {"supported": ["2025-11-25"]}}
        reply.json({"jsonrpc": "2.0", "id": None, "error": error}, status=400)

    with scripted_server(refuse) as server, running_shim(tmp_path / "h", server.url) as shim:
        answer = shim.answer(shim.modern("server/discover", id="d"))
        assert answer["error"]["data"] == {"supported": ["2025-11-25"]}


def test_ids_differ_by_their_type_too(tmp_path: Path) -> None:
    with scripted_server(echo) as server, running_shim(tmp_path / "h", server.url) as shim:
        for request_id in (1, "1", 2**60, 'ä"'):
            answer = shim.answer(shim.request("x", id=request_id))
            assert (type(answer["id"]), answer["id"]) == (type(request_id), request_id)
