"""Which way to Mogplex the settings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mogplex_mcp.api import MogplexError, choose_route
from mogplex_mcp.settings import Settings

URL = "https://mogplex.example"


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "embedded"),
        ({"transport": "process"}, "embedded"),
        ({"transport": "live"}, "embedded"),
        ({"transport": " Live "}, "embedded"),
        ({"transport": "process", "url": URL, "api_key": "mog_x"}, "embedded"),
        ({"transport": "daemon", "url": URL}, "daemon"),
        ({"transport": "hosted"}, "hosted"),
        ({"url": URL}, "hosted"),
        ({"api_key": "mog_x"}, "hosted"),
        ({"daemon_socket": Path("/tmp/d.sock")}, "embedded"),
    ],
)
def test_the_settings_decide_the_way(settings: dict[str, Any], kind: str) -> None:
    route = choose_route(Settings(**settings))
    assert (route.kind, route.transport_fallback) == (kind, False)
    assert route.reason


@pytest.mark.parametrize("transport", ["stdio", "https", "embedded", "x" * 1000])
def test_an_unknown_transport_falls_to_the_daemon_and_says_so(transport: str) -> None:
    route = choose_route(Settings(transport=transport, url=URL))
    assert (route.kind, route.transport_fallback) == ("daemon", True)


def test_the_daemons_socket_is_the_one_set_else_that_of_the_data_directory(tmp_path: Path) -> None:
    named = Settings(transport="daemon", daemon_socket=tmp_path / "d.sock")
    assert choose_route(named).socket == tmp_path / "d.sock"
    assert choose_route(Settings(transport="daemon", home=tmp_path)).socket == tmp_path / "mcp" / "daemon.sock"


def test_hosted_is_the_apex_unless_told_otherwise() -> None:
    assert choose_route(Settings(transport="hosted")).base_url == "https://mogplex.com"
    assert choose_route(Settings(url="HTTPS://Mogplex.Example/base/")).base_url == "https://mogplex.example/base"


@pytest.mark.parametrize(
    "url",
    [
        "mogplex.com",
        "ftp://mogplex.com",
        "https://",
        "https:///path",
        "https://me:secret@mogplex.com",
        "https://me@mogplex.com",
        "https://mogplex.com?token=secret",
        "https://mogplex.com?",
        "https://mogplex.com#secret",
        "https://mogplex.com:port",
        "https://mogplex.com:99999999",
        "https://[secret",
        "https://mog plex.com",
        "https://mogplex.com\\@evil.example",
        "https://mögplex.com",
        "http://mogplex.com",
        "http://127.0.0.1.evil.example",
    ],
)
def test_an_address_that_a_token_must_not_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(MogplexError) as caught:
        choose_route(Settings(url=url, dev=True))
    assert caught.value.code == "BAD_REQUEST"
    assert "MOGPLEX_URL" in caught.value.message
    assert "https://mogplex.com" in caught.value.suggestion
    assert "secret" not in str(caught.value) + repr(caught.value.__context__)


@pytest.mark.parametrize("url", ["http://127.0.0.1:3000", "http://localhost:3000", "http://[::1]:3000"])
def test_plain_http_is_for_this_machine_when_developing(url: str) -> None:
    assert choose_route(Settings(url=url, dev=True)).base_url == url
    with pytest.raises(MogplexError, match="MOGPLEX_DEV=1"):
        choose_route(Settings(url=url))
