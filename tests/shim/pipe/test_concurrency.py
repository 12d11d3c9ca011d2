"""Calls beside each other, large answers, back-pressure, cancellation."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.shim.pipe.scripted_server import Legacy, Received, Reply, scripted_server
from tests.shim.pipe.shim_process import running_shim

LARGE = 10 * 2**20


def test_a_slow_call_blocks_no_other(tmp_path: Path) -> None:
    release = threading.Event()

    def handler(request: Received, reply: Reply) -> None:
        if request.rpc == "slow":
            release.wait(30)
        reply.result({})

    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url) as shim:
        slow = [shim.request("slow") for _ in range(100)]
        for _ in range(20):
            assert shim.receive_only(shim.request("quick"))
        release.set()
        assert {shim.receive()["id"] for _ in slow} == set(slow)


def test_two_thousand_calls_at_once_are_all_answered_once(tmp_path: Path) -> None:
    with (
        scripted_server(lambda _, reply: reply.result({})) as server,
        running_shim(tmp_path / "h", server.url) as shim,
    ):
        asked = [shim.request("x") for _ in range(2000)]
        assert sorted(shim.receive()["id"] for _ in asked) == asked
        assert shim.is_silent(0.1)


@pytest.mark.parametrize("kind", ["json", "stream", "chunks"])
def test_an_answer_of_ten_megabytes_passes(kind: str, tmp_path: Path) -> None:
    text = "x" * LARGE

    def handler(request: Received, reply: Reply) -> None:
        message = {"jsonrpc": "2.0", "id": request.message["id"], "result": {"text": text}}
        if kind == "json":
            reply.json(message)
            return
        reply.stream()
        if kind == "stream":
            reply.event(message)
        else:
            for part in (b'data: {"jsonrpc":"2.0",', b'"id":1,"result":{"text":"', b'"}}\n\n'):
                if part.startswith(b'"}'):
                    for _ in range(LARGE // 1024):
                        reply.raw(b"x" * 1024)
                reply.raw(part)
        reply.end()

    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url) as shim:
        assert shim.answer(shim.request("x", id=1))["result"]["text"] == text


def test_a_request_of_ten_megabytes_passes(tmp_path: Path) -> None:
    with (
        scripted_server(lambda request, reply: reply.result({"length": len(request.body)})) as server,
        running_shim(tmp_path / "h", server.url) as shim,
    ):
        assert shim.call("x", {"text": "y" * LARGE})["length"] > LARGE


def test_a_host_that_does_not_read_stops_the_server_not_the_shim(tmp_path: Path) -> None:
    """The server cannot get rid of more than the pipes between them hold."""
    sent = 0
    stop = threading.Event()

    def handler(request: Received, reply: Reply) -> None:
        nonlocal sent
        reply.stream()
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "z" * 65_536}}
        while not stop.is_set() and sent < 1000:
            reply.event(note)
            sent += 1
        reply.event({"jsonrpc": "2.0", "id": request.message["id"], "result": {}})
        reply.end()

    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url, reads=False) as shim:
        asked = shim.request("x")
        server.await_requests(lambda: sent > 0)
        before = -1
        while sent != before:  # until it stands still
            before = sent
            time.sleep(0.3)
        assert sent < 500
        stop.set()
        shim.start_reading()
        assert shim.answer(asked)["result"] == {}
        assert sum("method" in each for each in shim.seen) == sent


def test_cancelling_a_modern_call_closes_its_stream_and_says_nothing(tmp_path: Path) -> None:
    closed: list[bool] = []

    def handler(request: Received, reply: Reply) -> None:
        if request.rpc == "server/discover":
            reply.result({})
            return
        reply.stream()
        reply.event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
        closed.append(reply.await_close())
        reply.is_open = False

    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url) as shim:
        asked = shim.modern("tools/call", {"name": "long"})
        assert shim.receive()["method"] == "notifications/progress"
        shim.notify("notifications/cancelled", {"requestId": asked})
        server.await_requests(lambda: bool(closed))
        assert closed == [True]
        shim.answer(shim.modern("server/discover"))
        assert [each.rpc for each in server.requests] == ["tools/call", "server/discover"]
        assert shim.is_silent(0.1)


def test_a_listen_stream_ends_with_its_cancellation(tmp_path: Path) -> None:
    closed: list[bool] = []

    def handler(request: Received, reply: Reply) -> None:
        reply.stream()
        meta = {"io.modelcontextprotocol/subscriptionId": request.message["id"]}
        method = "notifications/subscriptions/acknowledged"
        reply.event({"jsonrpc": "2.0", "method": method, "params": {"_meta": meta, "notifications": {}}})
        reply.raw(b": keep-alive\r\n\r\n")
        closed.append(reply.await_close())
        reply.is_open = False

    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url) as shim:
        first, second = (shim.modern("subscriptions/listen", {"notifications": {}}) for _ in range(2))
        shim.receive()
        shim.receive()
        shim.notify("notifications/cancelled", {"requestId": first})
        server.await_requests(lambda: len(closed) == 1)
        assert shim.is_silent(0.2)
        shim.notify("notifications/cancelled", {"requestId": second})
        server.await_requests(lambda: closed == [True, True])


def test_cancelling_a_call_of_a_session_tells_the_server(tmp_path: Path) -> None:
    def on_call(request: Received, reply: Reply) -> None:
        server.await_requests(lambda: bool(server.of("notifications/cancelled")))
        reply.error(200, -32800, "cancelled")

    legacy = Legacy(own={"tools/call": on_call})
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        asked = shim.request("tools/call", {"name": "long"})
        server.await_requests(lambda: bool(server.of("tools/call")))
        shim.notify("notifications/cancelled", {"requestId": asked, "reason": "no more"})
        assert shim.answer(asked)["error"]["message"] == "cancelled"
        assert server.of("notifications/cancelled")[0].message["params"]["reason"] == "no more"
