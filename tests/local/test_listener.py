"""Sockets: private from the first moment, never stolen from somebody who listens."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path

import httpx2
import pytest
import uvloop
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mogplex_mcp.local.listener import MAX_SOCKET_PATH, Listener, ListenError, answers, bind_unix

APP = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"))])


async def ask(path: Path) -> str:
    async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(path)), base_url="http://x") as client:
        return (await client.get("/")).text


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_it_listens_stops_and_listens_again(data_dir: Path, run: object) -> None:
    path = data_dir / "a.sock"

    async def work() -> None:
        listener = Listener(APP, lambda: [bind_unix(path)])
        for _ in range(2):
            await listener.start()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert await ask(path) == "here"
            await listener.stop()
            assert not path.exists()
        await listener.stop()

    assert callable(run)
    run(work())


def test_nobody_can_connect_before_it_listens(data_dir: Path) -> None:
    path = data_dir / "a.sock"
    with bind_unix(path) as bound:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not answers(path)
        bound.listen()
        assert answers(path)


def test_a_stale_file_is_replaced(data_dir: Path) -> None:
    path = data_dir / "a.sock"
    bind_unix(path).close()
    assert path.is_socket()
    bind_unix(path).close()


def test_a_socket_that_somebody_listens_on_is_left(data_dir: Path) -> None:
    path = data_dir / "a.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ListenError, match="Another program"):
            bind_unix(path)
        assert answers(path)


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_is_no_socket_is_left(data_dir: Path, kind: str) -> None:
    path = data_dir / "a.sock"
    {"file": path.touch, "link": lambda: path.symlink_to("elsewhere"), "directory": path.mkdir}[kind]()
    with pytest.raises(ListenError, match="no socket"):
        bind_unix(path)


def test_a_path_longer_than_the_system_takes_is_refused(data_dir: Path) -> None:
    fits = data_dir / ("s" * (MAX_SOCKET_PATH - len(str(data_dir)) - 1))
    bind_unix(fits).close()
    with pytest.raises(ListenError, match=f"takes {MAX_SOCKET_PATH}"):
        bind_unix(fits.with_name(fits.name + "s"))


async def test_stopping_leaves_a_file_that_another_has_put_in_its_place(data_dir: Path) -> None:
    path = data_dir / "a.sock"
    listener = Listener(APP, lambda: [bind_unix(path)])
    await listener.start()
    path.unlink()
    path.touch()
    await listener.stop()
    assert path.is_file()
