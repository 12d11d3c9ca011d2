"""The shim against a server made with the official SDK, sign-in included."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.shim.auth.conftest import HERE, World, get, until


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    command = [sys.executable, str(HERE / "sdk_server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        base = f"http://127.0.0.1:{int(process.stdout.readline())}"
        until(lambda: reaches(base), "the server listens")
        yield base
        process.kill()


def reaches(base: str) -> bool:
    try:
        return get(f"{base}/.well-known/oauth-authorization-server").status == 200
    except OSError:
        return False


def test_a_first_request_signs_in_and_tools_are_called(world: World, base: str) -> None:
    shim = world.shim(f"{base}/mcp")
    assert "result" in shim.initialize()
    assert "result" in shim.call()
    assert len(world.opened()) == 1
    assert world.grant()["scope"] == "use"


def test_an_expired_token_is_refreshed(world: World, base: str) -> None:
    shim = world.shim(f"{base}/mcp")
    assert "result" in shim.initialize()
    world.change_grant(access_token="expired")
    assert "result" in shim.call()
    assert world.grant()["access_token"] != "expired"
    assert len(world.opened()) == 1


def test_a_dead_refresh_token_means_one_new_sign_in(world: World, base: str) -> None:
    shim = world.shim(f"{base}/mcp")
    assert "result" in shim.initialize()
    world.change_grant(access_token="expired", refresh_token="dead", signed_in_at=0)
    assert "result" in shim.call()
    assert len(world.opened()) == 2


def test_logging_out_revokes_there(world: World, base: str) -> None:
    world.run("--login", f"{base}/mcp")
    token = world.grant()["access_token"]
    done = world.run("--logout", f"{base}/mcp")
    assert done.returncode == 0
    assert "may not know" not in done.stderr
    assert get(f"{base}/mcp", {"Authorization": f"Bearer {token}"}).status == 401
