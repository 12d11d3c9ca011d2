"""auth.json belongs to the Mogplex CLI too: nothing of it is lost, whoever writes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from threading import Thread

import pytest
from mogplex_mcp_shim.auth_file import KEY, AuthFile, read_whole
from mogplex_mcp_shim.auth_update import keep_grant, update
from mogplex_mcp_shim.grant import Grant, Record

from tests.shim.auth.conftest import SHIM

URL = "https://mcp.example/mcp"


def grant(token: str, issuer: str = "https://issuer.example") -> Grant:
    return Grant(issuer, URL, {"url": URL, "access_token": token, "issued_at": time.time()})


def test_what_others_wrote_stays(tmp_path: Path) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text(
        '{"mogplex": {"token": "t", "n": 1.50}, "other": [1, null, "\\ud800"], "zahl": 123456789012345678901}'
    )
    before = json.loads(auth.read_text())
    keep_grant(str(tmp_path), grant("a"))
    after = json.loads(auth.read_text())
    assert after.pop(KEY)["grants"]["https://issuer.example"][URL]["access_token"] == "a"
    assert after == before


def test_the_file_becomes_private_and_so_does_its_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "auth.json").write_text("{}")
    (home / "auth.json").chmod(0o644)
    keep_grant(str(home), grant("a"))
    assert stat.S_IMODE((home / "auth.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_symlink_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "real.json"
    target.write_text('{"mogplex": "x"}')
    link = tmp_path / "home" / "auth.json"
    link.symlink_to(target)
    keep_grant(str(tmp_path / "home"), grant("a"))
    assert link.is_symlink()
    assert json.loads(target.read_text())["mogplex"] == "x"
    assert KEY in json.loads(target.read_text())


def test_a_file_that_stays_broken_is_moved_aside_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "auth.json").write_text('{"mogplex": ')
    began = time.monotonic()
    keep_grant(str(tmp_path), grant("a"))
    assert time.monotonic() - began >= 1
    [aside] = tmp_path.glob("auth.json.broken-*")
    assert aside.read_text() == '{"mogplex": '
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert aside.name in capfd.readouterr().err
    assert KEY in json.loads((tmp_path / "auth.json").read_text())


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text('{"mogplex": "half')

    def finish() -> None:
        time.sleep(0.4)
        auth.write_text('{"mogplex": "whole"}')

    writer = Thread(target=finish)
    writer.start()
    assert read_whole(str(auth)) == {"mogplex": "whole"}
    writer.join()
    assert list(tmp_path.glob("*.broken*")) == []


def test_what_the_cli_writes_just_before_the_rename_is_kept(tmp_path: Path) -> None:
    """The CLI knows no lock: it writes while our change is being made."""
    auth = tmp_path / "auth.json"
    auth.write_text('{"mogplex": "old"}')
    calls = 0

    def change(section: Record) -> None:
        nonlocal calls
        calls += 1
        section["ours"] = calls
        if calls == 1:
            other = tmp_path / "new"
            other.write_text('{"mogplex": "new"}')
            other.rename(auth)

    update(str(tmp_path), change)
    assert json.loads(auth.read_text()) == {"mogplex": "new", KEY: {"ours": 2}}


def test_many_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys
        from mogplex_mcp_shim.auth_update import inner, update
        for number in range(10):
            update(sys.argv[1], lambda section: inner(section, "clients").update({f"{sys.argv[2]}-{number}": {}}))
        """
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(name)], cwd=SHIM) for name in range(5)
    ]
    assert [process.wait(60) for process in processes] == [0] * 5
    whole = json.loads((tmp_path / "auth.json").read_text())
    assert len(whole[KEY]["clients"]) == 50
    assert [path.name for path in (tmp_path).glob("*.tmp")] == []


def test_a_change_is_seen_without_being_asked_for(tmp_path: Path) -> None:
    file = AuthFile(str(tmp_path), URL)
    assert file.grant() is None
    keep_grant(str(tmp_path), grant("a"))
    first = file.grant()
    assert first is not None
    assert first.access_token == "a"
    assert file.grant() is first, "nothing is read again while nothing changes"
    keep_grant(str(tmp_path), grant("b", "https://other.example"))
    second = file.grant()
    assert second is not None
    assert (second.access_token, second.issuer) == ("b", "https://other.example")
    os.unlink(tmp_path / "auth.json")  # noqa: PTH108
    assert file.grant() is None


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "ä", 7, None])
def test_a_token_that_no_header_can_carry_is_none(tmp_path: Path, token: object) -> None:
    record: Record = {"url": URL, "access_token": token, "issued_at": 1}
    keep_grant(str(tmp_path), Grant("https://issuer.example", URL, record))
    assert AuthFile(str(tmp_path), URL).grant() is None
