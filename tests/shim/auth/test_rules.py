"""What is believed of a server, and what is fetched, opened and started."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest
from mogplex_mcp_shim.oauth import pending
from mogplex_mcp_shim.oauth.browser import open_in_browser
from mogplex_mcp_shim.oauth.challenge import bearer_challenge
from mogplex_mcp_shim.oauth.clients import Client
from mogplex_mcp_shim.oauth.errors import RefusedError, SignInError, UnreachableError
from mogplex_mcp_shim.oauth.scopes import covers, union
from mogplex_mcp_shim.oauth.wire import Wire

from tests.shim.auth.conftest import World, until

URL = "https://mcp.example/mcp"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", {}),
        ("Basic realm=x", {}),
        ("Bearer", {}),
        ('Bearer scope="a b", error=invalid_token', {"scope": "a b", "error": "invalid_token"}),
        ('bearer SCOPE = "a"', {"scope": "a"}),
        ('Basic realm="Bearer scope=\\"x\\"", Bearer scope="y"', {"scope": "y"}),
        ('Bearer scope="a", DPoP scope="b"', {"scope": "a"}),
        ('Bearer scope="a \\"b\\""', {"scope": 'a "b"'}),
        (
            "Bearer resource_metadata=https://a.example/x, scope=a",
            {"resource_metadata": "https://a.example/x", "scope": "a"},
        ),
        ('Bearer scope="open', {}),
        ('Bearer scope="a", scope="b"', {"scope": "a"}),
    ],
)
def test_a_challenge_is_read_as_the_standard_says(header: str, found: dict[str, str]) -> None:
    assert bearer_challenge(header) == found


def test_a_long_challenge_is_read_quickly() -> None:
    began = time.monotonic()
    bearer_challenge('Bearer a="' + '\\"' * 100_000)
    bearer_challenge("Bearer " + "a=b," * 100_000)
    bearer_challenge("," * 100_000)
    assert time.monotonic() - began < 1


def test_scopes_are_united_in_order_and_compared_as_sets() -> None:
    assert union("a b", None, "b c") == "a b c"
    assert union(None, "") is None
    assert covers("b a", "a b")
    assert covers("a", None)
    assert not covers(None, "a")


@pytest.mark.parametrize(
    "url",
    [
        "http://auth.example/",
        "ftp://auth.example/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://user:secret@auth.example/",
        "https://auth.example/a b",
        "https://auth.example/\"'",
        "https://auth.example/#fragment",
        "https://auth.example/\n",
        "-https://auth.example/",
        "https://" + "a" * 9000,
        "",
    ],
)
def test_a_url_that_may_not_be_used_is_refused(url: str) -> None:
    with pytest.raises(SignInError):
        Wire(URL, allow_http=False).check(url, "the endpoint")


def test_http_beyond_this_machine_needs_to_be_allowed() -> None:
    assert Wire(URL, allow_http=True).check("http://auth.example/x", "the endpoint").host == "auth.example"
    assert Wire(URL, allow_http=False).check("http://127.0.0.1:1/x", "the endpoint").port == 1


@pytest.mark.parametrize(
    ("server", "address", "allowed"),
    [
        ("https://1.1.1.1/mcp", "https://8.8.8.8/", True),
        ("https://1.1.1.1/mcp", "https://10.0.0.1/", False),
        ("https://1.1.1.1/mcp", "https://127.0.0.1/", False),
        ("https://1.1.1.1/mcp", "https://[::ffff:127.0.0.1]/", False),
        ("https://1.1.1.1/mcp", "https://[::1]/", False),
        ("https://1.1.1.1/mcp", "https://169.254.169.254/", False),
        ("https://1.1.1.1/mcp", "https://100.64.0.1/", False),
        ("https://1.1.1.1/mcp", "https://0.0.0.0/", False),
        ("https://1.1.1.1/mcp", "https://2130706433/", False),
        ("https://10.0.0.1/mcp", "https://192.168.0.1/", True),
        ("https://10.0.0.1/mcp", "https://127.0.0.1/", False),
        ("https://10.0.0.1/mcp", "https://169.254.169.254/", False),
        ("http://127.0.0.1/mcp", "http://127.0.0.1:9/", True),
        ("http://127.0.0.1/mcp", "https://8.8.8.8/", True),
        ("http://127.0.0.1/mcp", "https://169.254.169.254/", False),
        ("http://127.0.0.1/mcp", "https://0.0.0.0/", False),
    ],
)
def test_nobody_reaches_inwards_from_outside(server: str, address: str, allowed: bool) -> None:
    wire = Wire(server, allow_http=False)
    if allowed:
        wire.check_opened(address, "the endpoint")
    else:
        with pytest.raises(SignInError, match=r"address|machine"):
            wire.check_opened(address, "the endpoint")


def test_the_address_is_checked_when_it_is_fetched_too() -> None:
    with pytest.raises(SignInError, match="loopback"):
        Wire("https://1.1.1.1/mcp", allow_http=False).get("https://127.0.0.1:1/", "the endpoint")


def test_a_server_that_is_not_there_can_be_tried_again() -> None:
    with pytest.raises(UnreachableError) as failed:
        Wire("http://127.0.0.1:1/mcp", allow_http=False).get("http://127.0.0.1:1/", "the endpoint")
    assert not failed.value.sent


def test_an_error_repeats_nothing_that_a_server_could_have_made_up() -> None:
    assert "evil" not in str(RefusedError("It", 400, "<b>evil</b>"))
    assert "invalid_grant" in str(RefusedError("It", 400, "invalid_grant"))


def test_a_client_is_stored_and_read_back() -> None:
    client = Client("id", "secret", "client_secret_basic", "registered", "http://127.0.0.1:1/callback", "a", 5.0, 6.0)
    assert Client.from_record(json.loads(json.dumps(client.record()))) == client
    assert Client.from_record({"client_id": "id", "method": "made_up"}) is None


def test_browser_commands_are_started_without_a_shell(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = tmp_path / "browser"
    program.write_text(f'#!{sys.executable}\nimport sys\nopen("{log}", "a").write(repr(sys.argv[1:]) + "\\n")\n')
    program.chmod(0o700)
    link = "https://auth.example/?a=1&b=$(id)`id`;id"
    for browser in (f"{program} --new %s", str(program), f"/nowhere/at/all:{program}", f"'{program}'"):
        assert open_in_browser(link, {"BROWSER": browser, "PATH": os.environ["PATH"]})
    assert [json.loads(line.replace("'", '"')) for line in log.read_text().splitlines()] == [
        ["--new", link],
        [link],
        [link],
        [link],
    ]


def test_without_a_browser_nothing_is_opened() -> None:
    assert not open_in_browser("https://auth.example/", {"PATH": os.environ["PATH"]})
    assert not open_in_browser("https://auth.example/", {"PATH": os.environ["PATH"], "BROWSER": "'unbalanced"})
    with pytest.raises(ValueError, match="not a link"):
        open_in_browser("--help", {"PATH": os.environ["PATH"]})


def example(port: int = 40000) -> pending.Pending:
    return pending.Pending(
        url=URL, link="https://auth.example/?x", issuer="https://auth.example", issuer_required=False, resource=URL,
        scope=None, client={}, stored_client=False, endpoints={}, redirect_uri=f"http://127.0.0.1:{port}/callback",
        state="s", verifier="v", expires_at=time.time() + 600,
    )  # fmt: skip


def test_a_pending_record_is_read_back_until_it_is_claimed_once(tmp_path: Path) -> None:
    home = str(tmp_path)
    example().save(home)
    assert pending.load(home, URL) is not None
    assert pending.load(home, "https://other.example/mcp") is None
    assert [pending.claim(home, URL), pending.claim(home, URL)] == [True, False]
    assert pending.load(home, URL) is None


def damage_link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def damage_hard_link(path: Path) -> None:
    path.with_suffix(".other").hardlink_to(path)


def damage_time(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"expires_at": time.time() - 1}))


def damage_far(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"expires_at": time.time() + 10_000}))


def damage_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "damage",
    [
        damage_link,
        damage_hard_link,
        damage_time,
        damage_far,
        damage_fifo,
        lambda path: path.chmod(0o644),
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text('{"url": 1}'),
    ],
)
def test_a_pending_record_that_is_not_plainly_ours_is_none(tmp_path: Path, damage: object) -> None:
    home = str(tmp_path)
    example().save(home)
    path = Path(pending.signin_path(home, URL, "pending"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert callable(damage)
    damage(path)
    assert pending.load(home, URL) is None


def test_a_pending_record_of_another_user_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example().save(str(tmp_path))
    owner = os.geteuid()
    assert pending.load(str(tmp_path), URL) is not None
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert pending.load(str(tmp_path), URL) is None


def test_the_cli_s_credential_is_not_sent_elsewhere(world: World) -> None:
    """To the shim, `mcp.invalid` is any server that is not Mogplex's."""
    world.home.mkdir()
    (world.home / "auth.json").write_text('{"mogplex": {"access_token": "the-cli-s"}}')
    shim = world.shim("https://mcp.invalid/mcp", "--no-interactive")
    shim.send("initialize", {})
    until(lambda: any("CLI's credential is not sent" in line for line in shim.errors), "it is said")
    done = world.run("--status", "--json", "https://mcp.invalid/mcp")
    assert json.loads(done.stdout)["credential"] is None
