"""How the shim ends: with its host, within two seconds, its session deleted."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.shim.pipe.scripted_server import Legacy, Received, Reply, scripted_server
from tests.shim.pipe.shim_process import EXIT_LIMIT, INITIALIZE, running_shim


@pytest.mark.parametrize("way", ["stdin", "SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_the_session_is_deleted_and_the_process_gone_in_time(way: str, busy: bool, tmp_path: Path) -> None:
    release = threading.Event()

    def on_get(_: Received, reply: Reply) -> None:
        reply.stream()
        release.wait(30)
        reply.is_open = False

    def on_slow(_: Received, reply: Reply) -> None:
        release.wait(30)
        reply.is_open = False

    legacy = Legacy(own={"GET": on_get, "slow": on_slow})
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        shim.call("ping")
        if busy:
            shim.request("slow")
            server.await_requests(lambda: bool(server.of("slow")))
        started = time.monotonic()
        if way == "stdin":
            shim.close()
        else:
            shim.process.send_signal(getattr(signal, way))
            shim.process.wait(10)
        assert time.monotonic() - started < EXIT_LIMIT
        assert server.ended == ["session-1"]
        assert legacy.sessions == []
        release.set()


def test_a_server_that_does_not_answer_delays_the_end_no_further(tmp_path: Path) -> None:
    release = threading.Event()

    def hang(_: Received, reply: Reply) -> None:
        release.wait(30)
        reply.is_open = False

    legacy = Legacy(own={"DELETE": hang, "slow": hang})
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        shim.request("slow")
        server.await_requests(lambda: bool(server.of("slow")))
        assert shim.close() < EXIT_LIMIT
        release.set()


def test_a_server_that_is_gone_delays_the_end_no_further(tmp_path: Path) -> None:
    with scripted_server(Legacy()) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        shim.call("ping")
        server.stop()
        assert shim.close() < EXIT_LIMIT


def test_a_session_that_is_just_beginning_is_deleted_too(tmp_path: Path) -> None:
    legacy = Legacy()

    def slowly(request: Received, reply: Reply) -> None:
        if request.rpc == "initialize":
            time.sleep(0.3)  # the fault itself: a server that takes its time
        legacy(request, reply)

    with scripted_server(slowly) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.request("initialize", INITIALIZE)
        server.await_requests(lambda: bool(server.requests))
        shim.process.send_signal(signal.SIGTERM)
        shim.process.wait(10)
        assert legacy.begun == 1
        assert legacy.sessions == []


def test_what_was_asked_before_stdin_closed_is_still_answered(tmp_path: Path) -> None:
    def handler(_: Received, reply: Reply) -> None:
        time.sleep(0.2)  # the fault itself
        reply.result({})

    with scripted_server(handler) as server, running_shim(tmp_path / "h", server.url) as shim:
        asked = [shim.request("x") for _ in range(5)]
        assert shim.process.stdin is not None
        shim.process.stdin.write(b'{"jsonrpc":"2.0","id":"last","method":"x"}')  # no line end
        assert shim.close() < EXIT_LIMIT
        assert {shim.receive()["id"] for _ in range(6)} == {*asked, "last"}
        assert shim.process.returncode == 0


def test_a_host_that_died_ends_the_shim(tmp_path: Path) -> None:
    """Its stdin may live on in another process of the host's; the broken stdout tells."""
    with scripted_server(Legacy()) as server, running_shim(tmp_path / "h", server.url, reads=False) as shim:
        shim.request("initialize", INITIALIZE)
        server.await_requests(lambda: bool(server.requests))
        assert shim.process.stdout is not None
        shim.process.stdout.close()
        shim.notify("notifications/initialized")
        shim.request("ping")
        shim.process.wait(10)
        assert server.ended == ["session-1"]


def test_a_host_that_does_not_read_cannot_keep_the_shim(tmp_path: Path) -> None:
    with (
        scripted_server(lambda _, reply: reply.result({"text": "x" * 2**20})) as server,
        running_shim(tmp_path / "h", server.url, reads=False) as shim,
    ):
        for _ in range(10):
            shim.request("x")
        server.await_requests(lambda: len(server.requests) == 10)
        started = time.monotonic()
        shim.process.send_signal(signal.SIGTERM)
        shim.process.wait(10)
        assert time.monotonic() - started < EXIT_LIMIT


def test_no_process_is_left(tmp_path: Path) -> None:
    with scripted_server(Legacy()) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        pid = shim.process.pid
        children = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True, check=False)
        assert children.stdout.strip() == ""
        shim.close()
