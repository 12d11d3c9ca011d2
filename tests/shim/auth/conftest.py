"""The OAuth server as a process, shims as processes, and a browser that is a script: nothing here is pretended."""

from __future__ import annotations

import http.client
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

HERE = Path(__file__).parent
SHIM = HERE.parents[2] / "shim"
Json = dict[str, object]


def until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def get(url: str, headers: dict[str, str] | None = None, method: str = "GET") -> http.client.HTTPResponse:
    """One request, following nothing; the body is read."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request(method, f"{parts.path}?{parts.query}", headers=headers or {})
    answer = connection.getresponse()
    body = answer.read()
    answer.text = body.decode()  # type: ignore[attr-defined]
    connection.close()
    return answer


class Site:
    """The server process."""

    def __init__(self, behaviour: Json) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "oauth_server.py"), json.dumps(behaviour)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.base = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.base}/mcp"
        until(self._answers, "the server listens")

    def _answers(self) -> bool:
        try:
            return get(f"{self.base}/control").status == 200
        except OSError:
            return False

    def set(self, **changes: object) -> None:
        """Change behaviour or state."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/control", json.dumps(changes), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        connection.close()

    def log(self, what: str) -> list[Json]:
        """What has happened of this kind."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/control")
        found = json.loads(connection.getresponse().read())
        connection.close()
        return [each for each in found if each["what"] == what]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Shim:
    """A shim process and its stdio."""

    def __init__(self, arguments: list[str], environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mogplex_mcp_shim", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            cwd=SHIM,
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[Json] = queue.SimpleQueue()
        self.errors: list[str] = []
        self._readers = [Thread(target=self._read, daemon=True), Thread(target=self._read_errors, daemon=True)]
        for reader in self._readers:
            reader.start()
        self._next = 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(json.loads(line))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.decode())

    def send(self, method: str, params: Json | None = None) -> int:
        """Send a request; its id."""
        self._next += 1
        message = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params or {}}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        return self._next

    def answer(self, seconds: float = 60) -> Json:
        """The next answer."""
        return self._answers.get(timeout=seconds)

    def initialize(self, seconds: float = 60) -> Json:
        """The host's first request, answered."""
        client = {"name": "host", "version": "1"}
        self.send("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client})
        return self.answer(seconds)

    def call(self, seconds: float = 60) -> Json:
        """One tool call, answered."""
        self.send("tools/call", {"name": "write", "arguments": {}})
        return self.answer(seconds)

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(10)
        for output in (self.process.stdout, self.process.stderr):
            assert output is not None
            output.close()


class World:
    """One person's machine: a home, a browser, shims; and the server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.links = folder / "links"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "MOGPLEX_HOME": str(self.home),
        }
        self._sites: list[Site] = []
        self._shims: list[Shim] = []
        self.browse("follow")

    def browse(self, mode: str) -> None:
        """What the browser does from now on: `follow` or `hold`."""
        self.environ["BROWSER"] = f"{sys.executable} {HERE / 'scripted_browser.py'} {self.links} {mode} %s"

    def site(self, **behaviour: object) -> Site:
        site = Site(behaviour)
        self._sites.append(site)
        return site

    def shim(self, url: str, *arguments: str, **environ: str) -> Shim:
        shim = Shim([*arguments, url], self.environ | environ)
        self._shims.append(shim)
        return shim

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """One of the shim's commands, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "mogplex_mcp_shim", *arguments],
            env=self.environ | environ,
            cwd=SHIM,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def opened(self) -> list[str]:
        """The links that were opened in the browser."""
        return self.links.read_text().splitlines() if self.links.exists() else []

    def auth(self) -> Json:
        """What auth.json holds."""
        whole: Json = json.loads((self.home / "auth.json").read_text())
        return whole

    def grant(self) -> Json:
        """Our only entry in auth.json."""
        section = self.auth()["mogplex-mcp-shim"]
        assert isinstance(section, dict)
        [resources] = section["grants"].values()
        [grant] = resources.values()
        assert isinstance(grant, dict)
        return grant

    def change_grant(self, **changes: object) -> None:
        """Write into our only entry, as time or another process might have."""
        whole = self.auth()
        section = whole["mogplex-mcp-shim"]
        assert isinstance(section, dict)
        for resources in section["grants"].values():
            for grant in resources.values():
                grant.update(changes)
        (self.home / "auth.json").write_text(json.dumps(whole))

    def pending(self) -> Json | None:
        """The record of the sign-in that waits."""
        for path in (self.home / "mcp-shim").glob("*.pending"):
            try:
                record: Json = json.loads(path.read_text())
            except FileNotFoundError:
                return None
            return record
        return None

    def signin_processes(self) -> list[psutil.Process]:
        """The sign-in processes of this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("MOGPLEX_HOME") == str(self.home) and "oauth.process" in " ".join(
                    process.cmdline()
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def follow(self, link: str) -> str:
        """Be the person: open the link and go where it leads; the last page."""
        answer = get(link)
        while answer.status in (302, 303):
            answer = get(answer.headers["Location"])
        return str(answer.text)  # type: ignore[attr-defined]

    def close(self) -> None:
        for shim in self._shims:
            shim.close()
        for process in self.signin_processes():
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        for site in self._sites:
            site.stop()


@pytest.fixture
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(prefix="shim-"))
    made = World(folder)
    yield made
    made.close()
    shutil.rmtree(folder)


def callback_of(link: str, **changes: str) -> str:
    """The callback that a link names, with these parameters."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    parameters = {"code": "made-up", "state": query["state"]} | changes
    return query["redirect_uri"] + "?" + "&".join(f"{name}={value}" for name, value in parameters.items() if value)
