"""`--login`, `--logout` and `--status`, and which credential goes where."""

from __future__ import annotations

import json
import socket

from tests.shim.auth.conftest import World
from tests.shim.auth.test_sign_in import error_of


def test_login_signs_in_and_ends(world: World) -> None:
    site = world.site()
    done = world.run("--login", site.url)
    assert done.returncode == 0, done.stderr
    assert "Signed in" in done.stderr
    assert "result" in world.shim(site.url).initialize()
    assert len(world.opened()) == 1


def test_login_signs_in_again_although_signed_in(world: World) -> None:
    site = world.site()
    assert world.run("--login", site.url).returncode == 0
    first = world.grant()["access_token"]
    assert world.run("--login", site.url).returncode == 0
    assert world.grant()["access_token"] != first


def test_login_that_is_declined_fails(world: World) -> None:
    site = world.site(denies=True)
    done = world.run("--login", site.url)
    assert done.returncode == 1
    assert "declined" in done.stderr


def test_logout_revokes_both_tokens_and_forgets_them(world: World) -> None:
    site = world.site()
    world.run("--login", site.url)
    done = world.run("--logout", site.url)
    assert done.returncode == 0
    assert [each["hint"] for each in site.log("revoked")] == ["refresh_token", "access_token"]
    assert "at-" not in json.dumps(world.auth())
    assert "rt-" not in json.dumps(world.auth())
    assert world.run("--status", site.url).returncode == 1


def test_logout_forgets_also_when_the_server_is_away(world: World) -> None:
    site = world.site()
    world.run("--login", site.url)
    site.stop()
    done = world.run("--logout", site.url)
    assert done.returncode == 0
    assert "may not know" in done.stderr
    assert "at-" not in json.dumps(world.auth())


def test_logout_leaves_what_is_the_cli_s_and_other_servers(world: World) -> None:
    one, other = world.site(), world.site()
    world.run("--login", one.url)
    world.run("--login", other.url)
    whole = world.auth()
    whole["mogplex"] = {"access_token": "the-cli-s"}
    (world.home / "auth.json").write_text(json.dumps(whole))
    world.run("--logout", one.url)
    assert world.auth()["mogplex"] == {"access_token": "the-cli-s"}
    assert world.grant()["url"] == other.url


def test_status_says_who_is_signed_in_and_nothing_secret(world: World) -> None:
    site = world.site()
    assert "not signed in" in world.run("--status", site.url).stderr
    world.run("--login", site.url)
    done = world.run("--status", "--json", site.url)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["credential"] == "sign-in"
    assert found["issuer"] == site.base
    assert found["scope"] == "read"
    assert str(world.grant()["access_token"]) not in done.stdout
    assert str(world.grant()["refresh_token"]) not in done.stdout


def test_the_key_outranks_the_sign_in_and_is_named_when_refused(world: World) -> None:
    site = world.site()
    world.run("--login", site.url)
    shim = world.shim(site.url, MOGPLEX_API_KEY="mog_wrong")
    message = error_of(shim.initialize())
    assert "MOGPLEX_API_KEY" in message
    assert "unset" in message
    assert "mog_wrong" not in message
    assert len(world.opened()) == 1


def test_our_own_entry_outranks_the_cli_s_credential(world: World) -> None:
    site = world.site()
    world.run("--login", site.url)
    whole = world.auth()
    whole["mogplex"] = {"access_token": "the-cli-s"}
    (world.home / "auth.json").write_text(json.dumps(whole))
    assert "result" in world.shim(site.url).initialize()


def test_the_cli_s_credential_is_used_and_named_when_refused(world: World) -> None:
    site = world.site()
    world.run("--login", site.url)
    token = world.grant()["access_token"]
    auth = world.home / "auth.json"
    for credential in (token, {"token": token}, {"type": "oauth", "access": token}):
        auth.write_text(json.dumps({"mogplex": credential}))
        assert "result" in world.shim(site.url).initialize()
    auth.write_text(json.dumps({"mogplex": {"access_token": "the-cli-s"}}))
    message = error_of(world.shim(site.url).initialize())
    assert "Mogplex CLI" in message
    assert "/logout" in message
    assert "the-cli-s" not in message
    assert len(world.opened()) == 1


def test_an_entry_is_for_exactly_its_own_url(world: World) -> None:
    one, other = world.site(), world.site()
    world.run("--login", one.url)
    assert "--login" in error_of(world.shim(other.url, "--no-interactive").initialize())
    assert not any(each["had_token"] for each in other.log("unauthorized"))


def test_a_client_given_in_the_environment_is_used_and_bound_to_its_issuer(world: World) -> None:
    site, other = (world.site(registers=False, known_client="given") for _ in range(2))
    assert world.run("--login", site.url, MOGPLEX_OAUTH_CLIENT_ID="given").returncode == 0
    assert "client_id=given" in world.opened()[0]
    done = world.run("--login", other.url, MOGPLEX_OAUTH_CLIENT_ID="given")
    assert done.returncode == 1
    assert "MOGPLEX_OAUTH_CLIENT_ID is a client of" in done.stderr
    assert other.log("authorization") == []
    world.run("--logout", site.url)
    assert world.run("--login", other.url, MOGPLEX_OAUTH_CLIENT_ID="given").returncode == 0


def test_a_fixed_port_that_is_taken_is_named(world: World) -> None:
    site = world.site(registers=False, known_client="given")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = world.run("--login", site.url, MOGPLEX_OAUTH_CLIENT_ID="given", MOGPLEX_CALLBACK_PORT=port)
    assert done.returncode == 1
    assert f"Port {port}" in done.stderr


def test_the_port_asked_for_is_used(world: World) -> None:
    site = world.site()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    assert world.run("--login", site.url, MOGPLEX_CALLBACK_PORT=port).returncode == 0
    assert f"%3A{port}%2F" in world.opened()[0]
