"""Many shims of one person at once, and sign-in processes that die: real processes throughout."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time

import psutil
import pytest

from tests.shim.auth.conftest import Json, Shim, Site, World, callback_of, get, until

FIFTY = 50
HELLO: Json = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}


def start_all(world: World, site: Site, count: int) -> list[Shim]:
    shims = [world.shim(site.url) for _ in range(count)]
    for shim in shims:
        shim.send("initialize", HELLO)
    return shims


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_fifty_without_a_token_open_one_page_and_all_connect(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shims = start_all(world, site, FIFTY)
    until(lambda: len(site.log("unauthorized")) >= FIFTY, "every shim has been refused", 60)
    until(world.opened, "the browser is opened")
    assert len(world.signin_processes()) == 1
    assert "You are signed in" in world.follow(world.opened()[0])
    answers = [shim.answer() for shim in shims]
    late = [shim for shim, answer in zip(shims, answers, strict=True) if "error" in answer]
    for shim in late:  # its request waited eight seconds already when the last of the fifty had started
        shim.send("initialize", HELLO)
        assert "result" in shim.answer()
    assert len(world.opened()) == 1
    assert len(site.log("code redeemed")) == 1
    assert len(site.log("registration")) == 1
    until(lambda: not world.signin_processes(), "the sign-in process ends")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_fifty_with_an_expired_token_refresh_once(world: World) -> None:
    site = world.site()
    world.shim(site.url).initialize()
    site.set(expire_access=True, refresh_delay=1.0)
    shims = start_all(world, site, FIFTY)
    assert all("result" in shim.answer() for shim in shims)
    assert len(site.log("refreshed")) == 1
    assert len(site.log("refresh reused")) == 0
    assert len(world.opened()) == 1


def test_running_shims_refresh_once_as_well(world: World) -> None:
    site = world.site()
    shims = [world.shim(site.url) for _ in range(5)]
    assert all("result" in shim.initialize() for shim in shims)
    for round_ in range(1, 3):
        site.set(expire_access=True)
        for shim in shims:
            shim.send("tools/call", {"name": "write", "arguments": {}})
        assert all("result" in shim.answer() for shim in shims)
        assert len(site.log("refreshed")) == round_
    assert len(world.opened()) == 1


def test_both_tokens_expired_means_one_new_sign_in(world: World) -> None:
    site = world.site()
    shims = [world.shim(site.url) for _ in range(5)]
    assert all("result" in shim.initialize() for shim in shims)
    site.set(expire_access=True, expire_refresh=True)
    for shim in shims:
        shim.send("tools/call", {"name": "write", "arguments": {}})
    assert all("result" in shim.answer() for shim in shims)
    assert len(world.opened()) == 2
    assert len(site.log("refresh refused")) == 1


def test_a_lost_refresh_answer_is_asked_for_again_where_the_server_has_a_grace(world: World) -> None:
    site = world.site(refresh_grace=30)
    shim = world.shim(site.url)
    shim.initialize()
    site.set(expire_access=True, lost_refresh_answers=1)
    assert "result" in shim.call()
    assert len(site.log("refresh repeated")) == 1
    assert len(world.opened()) == 1


def test_a_lost_refresh_answer_costs_one_sign_in_where_the_server_has_none(world: World) -> None:
    site = world.site()
    shim = world.shim(site.url)
    shim.initialize()
    site.set(expire_access=True, lost_refresh_answers=1)
    assert "result" in shim.call()
    assert len(world.opened()) == 2


def test_a_shim_killed_while_it_refreshes_is_made_good_by_the_next(world: World) -> None:
    site = world.site(refresh_grace=30)
    first = world.shim(site.url)
    first.initialize()
    site.set(expire_access=True, refresh_delay=5)
    first.send("tools/call", {"name": "write", "arguments": {}})
    until(lambda: site.log("refreshed"), "the refresh is under way")
    first.process.kill()
    site.set(refresh_delay=0)
    assert "result" in world.shim(site.url).initialize()
    assert len(site.log("refreshed")) == 1
    assert len(world.opened()) == 1


def test_a_server_that_cannot_refresh_now_asks_nobody_to_sign_in(world: World) -> None:
    site = world.site()
    shim = world.shim(site.url)
    shim.initialize()
    site.set(expire_access=True, failing_refreshes=2)
    assert "error" in shim.call()
    assert "result" in shim.call()
    assert len(world.opened()) == 1


def test_another_process_takes_the_port_over_and_finishes_the_same_sign_in(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shims = start_all(world, site, 3)
    until(world.opened, "the browser is opened")
    link = world.opened()[0]
    get(callback_of(link, state="wrong"))  # leaves a connection in TIME_WAIT on the port
    [dead] = world.signin_processes()
    dead.kill()
    until(lambda: [each.pid for each in world.signin_processes()] not in ([], [dead.pid]), "another one takes over")
    until(lambda: reaches(link), "it listens on the same port")
    assert "You are signed in" in world.follow(link)
    assert all("result" in shim.answer() for shim in shims)
    assert world.opened() == [link]


def test_a_sign_in_that_nobody_follows_any_more_is_finished_by_the_next_shim(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url)
    shim.send("initialize", HELLO)
    until(world.opened, "the browser is opened")
    link = world.opened()[0]
    shim.process.kill()
    shim.process.wait()
    [dead] = world.signin_processes()
    dead.kill()
    psutil.wait_procs([dead], 10)
    later = world.shim(site.url)
    later.send("initialize", HELLO)
    until(lambda: reaches(link), "it listens on the same port")
    assert "You are signed in" in world.follow(link)
    assert "result" in later.answer()
    assert set(world.opened()) == {link}


def test_a_sign_in_whose_port_is_gone_begins_anew(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url)
    shim.send("initialize", HELLO)
    until(world.opened, "the browser is opened")
    shim.process.kill()
    [dead] = world.signin_processes()
    dead.kill()
    psutil.wait_procs([dead], 10)
    pending = world.pending()
    assert pending is not None
    port = int(str(pending["redirect_uri"]).split(":")[2].split("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        later = world.shim(site.url)
        later.send("initialize", HELLO)
        until(lambda: len(world.opened()) == 2, "a new page is opened")
        assert f":{port}" not in world.opened()[1].replace("%3A", ":").split("redirect_uri=")[1]
        world.follow(world.opened()[1])
        assert "result" in later.answer()
    assert len(site.log("registration")) == 2, "the server matches ports exactly"


def test_another_port_needs_no_new_registration_where_the_server_does_not_mind(world: World) -> None:
    site = world.site(exact_ports=False, gives_refresh_tokens=False)
    world.shim(site.url).initialize()
    registered = site.log("registration")[0]["asked"]
    assert isinstance(registered, dict)
    port = int(registered["redirect_uris"][0].split(":")[2].split("/")[0])
    site.set(expire_access=True)
    world.change_grant(issued_at=0, signed_in_at=0)
    with socket.create_server(("127.0.0.1", port)):
        assert "result" in world.shim(site.url).initialize()
    assert len(site.log("registration")) == 1


def test_the_registered_port_is_used_again(world: World) -> None:
    site = world.site(gives_refresh_tokens=False)
    world.shim(site.url).initialize()
    site.set(expire_access=True)
    world.change_grant(issued_at=0, signed_in_at=0)
    assert "result" in world.shim(site.url).initialize()
    assert len(site.log("registration")) == 1
    assert len(world.opened()) == 2


def test_nobody_else_can_listen_on_the_port(world: World) -> None:
    world.browse("hold")
    site = world.site()
    world.shim(site.url).send("initialize", HELLO)
    until(world.opened, "the browser is opened")
    pending = world.pending()
    assert pending is not None
    port = int(str(pending["redirect_uri"]).split(":")[2].split("/")[0])
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        for address in ("127.0.0.1", "0.0.0.0"):
            with socket.socket() as other:
                other.setsockopt(socket.SOL_SOCKET, option, 1)
                with pytest.raises(OSError, match="in use"):
                    listen(other, address, port)


def test_the_lock_is_judged_by_the_kernel_alone(world: World) -> None:
    """An old lock file, naming a process that lives, holds nobody up; a held one does, whatever stands in it."""
    site = world.site()
    shim = world.shim(site.url)
    shim.initialize()
    [lock] = [path for path in (world.home / "mcp-shim").glob("*.lock") if path.name != "auth.lock"]
    lock.write_text(str(os.getpid()))
    world.run("--logout", site.url)
    assert "result" in world.shim(site.url).initialize()
    world.run("--logout", site.url)
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        os.utime(lock, (0, 0))
        waiting = world.shim(site.url)
        assert "error" in waiting.initialize()
        assert len(world.opened()) == 2
    until(lambda: len(world.opened()) == 3, "who waited goes on")
    until(lambda: world.auth() and "at-" in str(world.auth()), "and signs in")
    assert "result" in waiting.initialize()


def test_a_pending_record_that_others_could_have_written_is_not_used(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url)
    shim.send("initialize", HELLO)
    until(world.opened, "the browser is opened")
    shim.process.kill()
    [dead] = world.signin_processes()
    dead.send_signal(signal.SIGKILL)
    psutil.wait_procs([dead], 10)
    [record] = (world.home / "mcp-shim").glob("*.pending")
    planted = world.folder / "planted"
    record.rename(planted)
    record.symlink_to(planted)
    later = world.shim(site.url)
    later.send("initialize", HELLO)
    until(lambda: len(world.opened()) == 2, "a new page is opened")
    assert world.opened()[0] != world.opened()[1]
    assert planted.exists()


def listen(other: socket.socket, address: str, port: int) -> None:
    other.bind((address, port))
    other.listen()


def reaches(link: str) -> bool:
    try:
        return get(callback_of(link, state="wrong")).status == 400
    except OSError:
        return False


def test_a_sign_in_given_up_by_logging_out_ends(world: World) -> None:
    world.browse("hold")
    site = world.site()
    shim = world.shim(site.url)
    shim.send("initialize", HELLO)
    until(world.opened, "the browser is opened")
    began = time.monotonic()
    assert world.run("--logout", site.url).returncode == 0
    until(lambda: not world.signin_processes(), "the process ends", 5)
    assert "given up" in str(shim.answer(5))
    assert time.monotonic() - began < 5
