"""Signing in: one shim, one person, one server."""

from __future__ import annotations

import os
import signal
import stat
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.shim.auth.conftest import Json, World, callback_of, get, until


def error_of(answer: Json) -> str:
    error = answer["error"]
    assert isinstance(error, dict), answer
    return str(error["message"])


def test_a_first_request_signs_in_and_is_answered(world: World) -> None:
    site = world.site()
    shim = world.shim(site.url)
    assert "result" in shim.initialize()
    assert "result" in shim.call()
    assert len(world.opened()) == 1
    [registration] = site.log("registration")
    asked = registration["asked"]
    assert isinstance(asked, dict)
    assert asked["application_type"] == "native"
    assert asked["grant_types"] == ["authorization_code", "refresh_token"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(world.opened()[0]).query).items()}
    assert query["resource"] == site.url
    assert query["scope"] == "read"
    assert query["code_challenge_method"] == "S256"
    assert [each["resource"] for each in site.log("token")] == [site.url]


def test_the_files_are_for_their_owner_alone(world: World) -> None:
    site = world.site()
    world.shim(site.url).initialize()
    assert stat.S_IMODE(world.home.stat().st_mode) == 0o700
    for path in [world.home / "auth.json", *(world.home / "mcp-shim").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_second_shim_needs_no_sign_in(world: World) -> None:
    site = world.site()
    world.shim(site.url).initialize()
    assert "result" in world.shim(site.url).initialize()
    assert len(world.opened()) == 1


def test_a_request_waits_no_longer_than_eight_seconds_and_names_the_link(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url)
    shim.send("initialize", {})
    until(lambda: site.log("unauthorized"), "the shim has been refused")
    began = time.monotonic()
    message = error_of(shim.answer())
    assert 6 < time.monotonic() - began < 8
    assert "Sign in, then reconnect this server" in message
    assert world.opened()[0] in message


def test_the_sign_in_outlives_its_shim(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url)
    shim.send("initialize", {})
    until(world.opened, "the browser is opened")
    os.killpg(shim.process.pid, signal.SIGKILL)
    assert "You are signed in" in world.follow(world.opened()[0])
    until(lambda: not world.signin_processes(), "the sign-in process ends")
    assert "result" in world.shim(site.url).initialize()
    assert len(world.opened()) == 1


def test_the_sign_in_process_holds_nothing_of_the_host(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url)
    shim.send("initialize", {})
    until(world.opened, "the browser is opened")
    [process] = world.signin_processes()
    assert shim.process.stdin is not None
    shim.process.stdin.close()
    assert shim.process.wait(5) is not None
    assert shim.process.stdout is not None
    until(lambda: not shim._readers[0].is_alive(), "stdout is at its end", 5)
    assert process.is_running()
    assert os.getsid(process.pid) == process.pid


def test_a_running_shim_goes_on_when_the_person_has_signed_in(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url)
    error_of(shim.initialize())
    world.follow(world.opened()[0])
    until(lambda: (world.home / "auth.json").exists() and "grants" in str(world.auth()), "the token is kept")
    assert "result" in shim.initialize()


def test_the_link_is_printed_instead_of_opened(world: World) -> None:
    site = world.site()
    shim = world.shim(site.url, "--no-browser")
    shim.send("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})
    until(lambda: any("/authorize?" in line for line in shim.errors), "the link is printed")
    [line] = [line for line in shim.errors if "/authorize?" in line]
    world.follow(line.split()[-1])
    assert "result" in shim.answer()
    assert world.opened() == []


def test_nobody_is_asked_when_nobody_may_be(world: World) -> None:
    site = world.site()
    shim = world.shim(site.url, "--no-interactive")
    assert "--login" in error_of(shim.initialize(5))
    assert world.opened() == []
    assert world.signin_processes() == []


def test_a_declined_sign_in_is_said_at_once(world: World) -> None:
    site = world.site(denies=True)
    assert "declined" in error_of(world.shim(site.url).initialize(5))


def test_a_server_that_registers_nobody_says_what_to_set(world: World) -> None:
    site = world.site(registers=False)
    assert "MOGPLEX_OAUTH_CLIENT_ID" in error_of(world.shim(site.url).initialize(5))


def test_a_server_without_pkce_is_refused(world: World) -> None:
    site = world.site(code_challenge_methods=["plain"])
    assert "PKCE" in error_of(world.shim(site.url).initialize(5))
    assert site.log("registration") == []


def test_a_metadata_url_on_plain_http_elsewhere_is_not_fetched(world: World) -> None:
    site = world.site(authorization_server="http://auth.example.com")
    assert "https" in error_of(world.shim(site.url).initialize(5))


def test_a_token_request_follows_no_redirect(world: World) -> None:
    other = world.site()
    site = world.site(redirects_tokens_to=f"{other.base}/token")
    assert "307" in error_of(world.shim(site.url).initialize(5))
    assert other.log("token") == []


@pytest.mark.parametrize("changes", [{"state": "wrong"}, {"state": ""}, {"iss": "https://evil.example"}, {"code": ""}])
def test_a_wrong_answer_is_refused_and_the_sign_in_goes_on(world: World, changes: dict[str, str]) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url)
    shim.send("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})
    until(world.opened, "the browser is opened")
    link = world.opened()[0]
    answer = get(callback_of(link, **changes))
    assert answer.status == 400
    text = str(answer.text)  # type: ignore[attr-defined]
    assert not any(value in text for value in changes.values() if value)
    assert "You are signed in" in world.follow(link)
    assert "result" in shim.answer()


def test_an_answer_without_the_promised_issuer_is_refused(world: World) -> None:
    world.browse("hold")
    site = world.site(sends_issuer=True)
    shim = world.shim(site.url)
    shim.send("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})
    until(world.opened, "the browser is opened")
    assert get(callback_of(world.opened()[0])).status == 400
    assert "You are signed in" in world.follow(world.opened()[0])
    assert "result" in shim.answer()


def test_the_listener_serves_one_path_one_method_and_one_host(world: World) -> None:
    world.browse("hold")
    site = world.site()
    world.shim(site.url).send("initialize", {})
    until(world.opened, "the browser is opened")
    callback = callback_of(world.opened()[0])
    port = urlsplit(callback).port
    assert get(callback, {"Host": "evil.example"}).status == 400
    assert get(callback, {"Host": f"localhost:{port}"}).status == 400
    assert get(callback, method="POST").status == 405
    assert get(f"http://127.0.0.1:{port}/").status == 404
    assert world.pending() is not None


def test_no_secret_is_an_argument_or_reaches_the_browser(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url, MOGPLEX_OAUTH_CLIENT_SECRET="s3cret")
    shim.send("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})
    until(world.opened, "the browser is opened")
    pending = world.pending()
    assert pending is not None
    [process] = world.signin_processes()
    for secret in ("s3cret", pending["verifier"], pending["state"], site.url):
        assert str(secret) not in " ".join(process.cmdline())
    until((world.folder / "links.env").exists, "the browser has ended")
    assert "MOGPLEX_OAUTH_CLIENT_SECRET" not in (world.folder / "links.env").read_text()
    world.follow(world.opened()[0])
    assert "result" in shim.answer()
    token, refresh = world.grant()["access_token"], world.grant()["refresh_token"]
    shim.close()
    said = "".join(shim.errors)
    for secret in (token, refresh, pending["verifier"], pending["state"]):
        assert str(secret) not in said


def test_a_client_that_the_server_forgot_is_registered_anew_once(world: World) -> None:
    site = world.site(gives_refresh_tokens=False)
    assert "result" in world.shim(site.url).initialize()
    site.set(forget_clients=True, expire_access=True)
    world.change_grant(signed_in_at=0)
    whole = (world.home / "auth.json").read_text()
    # As if it had registered long ago: then the shim asks before it opens a page that could only be an error.
    old = whole.replace('"confirmed_at": 1', '"confirmed_at": 0.1')
    assert old != whole
    (world.home / "auth.json").write_text(old)
    assert "result" in world.shim(site.url).initialize()
    assert len(site.log("registration")) == 2
    assert len(world.opened()) == 2


def test_a_client_forgotten_between_page_and_token_is_registered_anew_in_the_same_page(world: World) -> None:
    site = world.site(gives_refresh_tokens=False)
    assert "result" in world.shim(site.url).initialize()
    site.set(expire_access=True)
    world.change_grant(signed_in_at=0)
    world.browse("hold")
    shim = world.shim(site.url)
    shim.send("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {}})
    until(lambda: len(world.opened()) == 2, "the browser is opened again")
    answer = get(world.opened()[1])
    site.set(forget_clients=True)
    assert "You are signed in" in world.follow(answer.headers["Location"])
    assert "result" in shim.answer()
    assert len(site.log("registration")) == 2
    assert len(world.opened()) == 2


def test_a_client_that_the_server_forgot_is_registered_anew_when_a_refresh_finds_out(world: World) -> None:
    site = world.site()
    shim = world.shim(site.url)
    assert "result" in shim.initialize()
    site.set(forget_clients=True, expire_access=True)
    assert "result" in shim.call()
    assert len(site.log("registration")) == 2
    assert len(world.opened()) == 2


def test_a_token_refused_at_once_begins_no_loop(world: World) -> None:
    site = world.site(refuses_every_token=True, gives_refresh_tokens=False)
    shim = world.shim(site.url)
    assert "refuses the token" in error_of(shim.initialize())
    assert "refuses the token" in error_of(shim.initialize())
    assert "refuses the token" in error_of(world.shim(site.url).initialize())
    assert len(world.opened()) == 1


def test_a_token_that_expires_at_once_begins_no_loop(world: World) -> None:
    site = world.site(token_lifetime=0)
    assert "refuses the token" in error_of(world.shim(site.url).initialize())
    assert len(world.opened()) == 1


def test_more_scopes_are_asked_for_together_with_those_held(world: World) -> None:
    site = world.site(write_scope="write")
    shim = world.shim(site.url)
    assert "result" in shim.initialize()
    assert "result" in shim.call()
    assert [each["scope"] for each in site.log("code redeemed")] == ["read", "read write"]


def test_scopes_that_are_never_granted_are_asked_for_twice(world: World) -> None:
    site = world.site(write_scope="write", withheld_scope="write")
    shim = world.shim(site.url)
    assert "result" in shim.initialize()
    for _ in range(3):
        assert "write" in error_of(shim.call())
    assert [each["scope"] for each in site.log("code redeemed")] == ["read", "read write", "read write"]
