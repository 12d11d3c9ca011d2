"""Faults of the network and the server: every request gets exactly one answer, and nothing unsafe happens twice."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.shim.pipe.scripted_server import Handler, Legacy, Received, Reply, ScriptedServer, scripted_server
from tests.shim.pipe.shim_process import INITIALIZE, running_shim


def failing_first(fault: Handler, times: int = 1) -> Handler:
    """The fault for the first requests, an echo of the method for those after them."""
    left = [times]

    def handler(request: Received, reply: Reply) -> None:
        if left[0]:
            left[0] -= 1
            fault(request, reply)
        else:
            reply.result({"method": request.rpc})

    return handler


def test_a_server_that_forgot_the_session_gets_the_hosts_own_initialize_again(tmp_path: Path) -> None:
    legacy = Legacy()
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        shim.call("resources/subscribe", {"uri": "mogplex://runs/1"})
        shim.call("logging/setLevel", {"level": "debug"})
        legacy.sessions.clear()
        assert shim.call("tools/call", {"name": "x"})["echo"] == {"name": "x"}
        first, second = server.of("initialize")
        assert first.body == second.body
        assert first.message["params"] == INITIALIZE
        assert "mcp-session-id" not in second.headers
        last = [each for each in server.requests if each.method == "POST"][-4:]
        assert [each.rpc for each in last[:3]] == [
            "notifications/initialized",
            "resources/subscribe",
            "logging/setLevel",
        ]
        assert {each.headers["mcp-session-id"] for each in last} == {"session-2"}


def test_calls_that_find_the_session_gone_together_begin_one_new_one(tmp_path: Path) -> None:
    legacy = Legacy()
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        shim.call("ping")
        legacy.sessions.clear()
        asked = [shim.request("tools/call", {"name": "x"}) for _ in range(30)]
        assert {shim.receive()["id"] for _ in asked} == set(asked)
        assert all("result" in each for each in shim.seen)
        assert legacy.begun == 2


def test_an_idle_host_hears_a_server_that_has_restarted(tmp_path: Path) -> None:
    """The standalone stream finds the session gone, and is there again in the next one."""
    streams: list[str] = []

    def on_get(request: Received, reply: Reply) -> None:
        streams.append(request.headers["mcp-session-id"])
        reply.stream()
        reply.event(retry=50)
        if len(streams) == 2:
            reply.event({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        reply.await_close(30)
        reply.is_open = False

    legacy = Legacy(own={"GET": on_get})
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        server.await_requests(lambda: len(streams) == 1)
        server.stop()
        legacy.sessions.clear()
        server.start()
        assert shim.receive()["method"] == "notifications/tools/list_changed"
        assert streams == ["session-1", "session-2"]


def test_a_request_is_sent_again_after_a_reset_only_if_that_is_safe(tmp_path: Path) -> None:
    listed = {
        "tools": [
            {"name": "read", "inputSchema": {}, "annotations": {"readOnlyHint": True}},
            {"name": "write", "inputSchema": {}, "annotations": {"readOnlyHint": False}},
        ]
    }

    def handler(request: Received, reply: Reply) -> None:
        if request.rpc == "tools/list":
            reply.result(listed)
        elif len([each for each in server.requests if each.body == request.body]) == 1:
            reply.reset()
        else:
            reply.result({})

    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.call("tools/list")
        assert shim.call("resources/read", {"uri": "a:b"}) == {}
        assert shim.call("tools/call", {"name": "read"}) == {}
        error = shim.answer(shim.request("tools/call", {"name": "write"}))["error"]
        assert "unknown" in error["message"]
        assert len(server.of("tools/call")) == 3


def test_a_connection_that_the_server_closed_while_idle_is_not_used(tmp_path: Path) -> None:
    closed = threading.Semaphore(0)

    def handler(_: Received, reply: Reply) -> None:
        reply.result({})
        reply.cut()
        closed.release()

    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url) as shim:
        for _ in range(20):
            assert shim.call("tools/call", {"name": "write"}) == {}
            assert closed.acquire(timeout=10)
        assert len(server.requests) == 20


def test_one_connection_serves_calls_after_each_other(tmp_path: Path) -> None:
    def handler(request: Received, reply: Reply) -> None:
        reply.stream()
        reply.event({"jsonrpc": "2.0", "id": request.message["id"], "result": {}})
        reply.end()

    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url) as shim:
        for _ in range(20):
            shim.call("x")
        assert server.connections <= 3


def test_a_stream_that_breaks_off_is_resumed_where_it_was(tmp_path: Path) -> None:
    def on_call(_: Received, reply: Reply) -> None:
        reply.stream()
        reply.event(id="e-1", retry=20)
        reply.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}, id="e-2")
        reply.cut()

    def on_get(request: Received, reply: Reply) -> None:
        last = request.headers.get("last-event-id")
        if last is None:
            reply.send(405)
            return
        reply.stream()
        if last == "e-2":
            reply.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 2}}, id="e-3")
            reply.end()
        else:
            reply.event({"jsonrpc": "2.0", "id": called, "result": {"done": True}}, id="e-4")
            reply.end()

    legacy = Legacy(own={"tools/call": on_call, "GET": on_get})
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        called = shim.request("tools/call", {"name": "x"}, id="c")
        assert [shim.receive()["params"]["progress"] for _ in range(2)] == [1, 2]
        assert shim.receive()["result"] == {"done": True}
        assert [each.headers.get("last-event-id") for each in server.requests if each.method == "GET"] == [
            None,
            "e-2",
            "e-3",
        ]
        assert len(server.of("tools/call")) == 1


@pytest.mark.parametrize("era", ["modern", "session"])
def test_a_stream_that_cannot_be_resumed_ends_in_one_error(era: str, tmp_path: Path) -> None:
    def on_call(_: Received, reply: Reply) -> None:
        reply.stream()
        # An event id is no promise in 2026-07-28, and there was none here before.
        reply.event(
            {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}, id="1" if era == "modern" else None
        )
        reply.cut()

    handler: Handler = on_call if era == "modern" else Legacy(own={"tools/call": on_call})
    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url) as shim:
        if era == "session":
            shim.initialize()
        asked = (shim.modern if era == "modern" else shim.request)("tools/call", {"name": "x"})
        error = shim.answer(asked)["error"]
        assert error["code"] == -32000
        assert "broke off" in error["message"]
        assert shim.is_silent(0.2)
        assert len(server.of("tools/call")) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(status: int, tmp_path: Path) -> None:
    def busy(_: Received, reply: Reply) -> None:
        reply.send(status, b"busy", Retry_After="1")

    with scripted_server(failing_first(busy)) as server, running_shim(tmp_path / "h", server.url) as shim:
        started = time.monotonic()
        assert shim.call("tools/call", {"name": "write"}) == {"method": "tools/call"}
        assert 1.0 <= time.monotonic() - started < 4.0
        assert len(server.requests) == 2


def test_a_server_that_is_busy_for_long_is_an_error_that_says_until_when(tmp_path: Path) -> None:
    with (
        scripted_server(lambda _, reply: reply.send(429, b"", Retry_After="3600")) as server,
        running_shim(tmp_path / "h", server.url) as shim,
    ):
        error = shim.answer(shim.request("tools/call", {"name": "x"}))["error"]
        assert error["data"] == {"status": 429, "retryAfter": "3600"}
        assert "3600 s" in error["message"]
        assert len(server.requests) == 1


def test_waiting_for_a_busy_server_ends_with_the_cancellation(tmp_path: Path) -> None:
    with (
        scripted_server(lambda _, reply: reply.send(429, b"", Retry_After="15")) as server,
        running_shim(tmp_path / "h", server.url) as shim,
    ):
        asked = shim.modern("tools/call", {"name": "x"})
        server.await_requests(lambda: len(server.requests) == 1)
        shim.notify("notifications/cancelled", {"requestId": asked})
        assert shim.is_silent(0.2)
        assert shim.close() < 1.0


def test_a_name_that_does_not_resolve_is_an_error_that_names_it(tmp_path: Path) -> None:
    with running_shim(tmp_path / "h", "https://mogplex.invalid/mcp") as shim:
        error = shim.answer(shim.request("initialize", INITIALIZE))["error"]
        assert error["data"] == {"reason": "dns"}
        assert "mogplex.invalid" in error["message"]


def test_a_server_that_is_not_there_yet_is_waited_for_a_moment(tmp_path: Path) -> None:
    server = ScriptedServer(failing_first(lambda _, reply: reply.result({}), times=0))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server.port = taken.getsockname()[1]
    with running_shim(tmp_path / "h", server.url) as shim:
        asked = shim.request("tools/call", {"name": "write"})
        assert shim.is_silent(0.5)
        server.start()
        try:
            assert shim.answer(asked)["result"] == {"method": "tools/call"}
        finally:
            server.stop()


def test_nobody_listening_is_an_error_within_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/mcp"
    with running_shim(tmp_path / "h", url) as shim:
        assert shim.answer(shim.request("x"), timeout=8)["error"]["data"] == {"reason": "refused"}


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "no MCP server at this URL"), (500, "HTTP 500"), (202, "no answer"), (403, "refuses the credential")],
)
def test_a_status_without_a_message_becomes_this_requests_error(status: int, words: str, tmp_path: Path) -> None:
    with (
        scripted_server(
            lambda _, reply: reply.send(status, b"<html>secret-page</html>", Content_Type="text/html")
        ) as server,
        running_shim(tmp_path / "h", server.url) as shim,
    ):
        error = shim.answer(shim.request("initialize", INITIALIZE, id="i"))["error"]
        assert words in error["message"]
        assert error["data"] == {"status": status}
        assert "secret-page" not in str(error)


def test_a_redirect_is_followed_on_the_same_origin_only(tmp_path: Path) -> None:
    def target(request: Received, reply: Reply) -> None:
        reply.result({"authorization": request.headers.get("authorization")})

    with scripted_server(target) as other:

        def redirect(request: Received, reply: Reply) -> None:
            if request.target == "/mcp/":
                target(request, reply)
            else:
                location = "/mcp/" if request.rpc == "here" else other.url
                reply.send(308, Location=location)

        with (
            scripted_server(redirect) as server,
            running_shim(tmp_path / "h", server.url, variables={"MOGPLEX_API_KEY": "mog_key"}) as shim,
        ):
            assert shim.call("here") == {"authorization": "Bearer mog_key"}
            error = shim.answer(shim.request("elsewhere"))["error"]
            assert other.url in error["message"]
            assert other.requests == []


def test_an_answer_that_is_not_http_is_an_error(tmp_path: Path) -> None:
    def garbage(_: Received, reply: Reply) -> None:
        reply.connection.sendall(b"220 mail.example.com ESMTP\r\n\r\n")
        reply.cut()

    with scripted_server(garbage) as server, running_shim(tmp_path / "h", server.url) as shim:
        assert "HTTP" in shim.answer(shim.request("x"))["error"]["message"]


def test_a_header_without_end_is_given_up(tmp_path: Path) -> None:
    def endless(_: Received, reply: Reply) -> None:
        for _number in range(10_000):
            reply.connection.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")

    with scripted_server(endless) as server, running_shim(tmp_path / "h", server.url) as shim:
        assert "too long" in shim.answer(shim.request("x"))["error"]["message"]
