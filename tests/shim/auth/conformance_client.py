"""The client that the conformance suite runs: a host of the smallest kind, with the shim between it and the server.

Argument: the server's URL. The suite names the scenario and the revision in the environment. The exit status is 0 when
every request got a result.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SHIM = HERE.parents[2] / "shim"
REVISION = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
SCENARIO = os.environ["MCP_CONFORMANCE_SCENARIO"]
STATELESS = REVISION >= "2026"
CLIENT = {"name": "conformance-host", "version": "1.0.0"}
Json = dict[str, object]


def environment(home: str) -> dict[str, str]:
    """The shim's environment: what a person would have set for this scenario."""
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    browser = f"{sys.executable} {HERE / 'scripted_browser.py'} {home}/links follow %s"
    environ = {"PATH": os.environ["PATH"], "HOME": home, "MOGPLEX_HOME": f"{home}/.mogplex", "BROWSER": browser}
    if SCENARIO == "auth/basic-cimd":
        environ["MOGPLEX_OAUTH_CLIENT_METADATA_URL"] = "https://conformance-test.local/client-metadata.json"
    if SCENARIO == "auth/pre-registration":
        environ["MOGPLEX_OAUTH_CLIENT_ID"] = context["client_id"]
        environ["MOGPLEX_OAUTH_CLIENT_SECRET"] = context["client_secret"]
    return environ


class Host:
    """Speaks with one shim, a request at a time."""

    def __init__(self, url: str, home: str) -> None:
        self._shim = subprocess.Popen(
            [sys.executable, "-m", "mogplex_mcp_shim", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(home),
            cwd=SHIM,
            text=True,
        )
        self._id = 0
        self.failed = False

    def send(self, message: Json) -> None:
        assert self._shim.stdin is not None
        self._shim.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._shim.stdin.flush()

    def request(self, method: str, **params: object) -> None:
        self._id += 1
        if STATELESS:
            prefix = "io.modelcontextprotocol/"
            meta = {"protocolVersion": REVISION, "clientInfo": CLIENT, "clientCapabilities": {}}
            params["_meta"] = {prefix + name: value for name, value in meta.items()}
        self.send({"id": self._id, "method": method, "params": params})
        assert self._shim.stdout is not None
        for line in self._shim.stdout:
            answer = json.loads(line)
            if answer.get("id") == self._id:
                if "error" in answer:
                    self.failed = True
                    sys.stderr.write(f"{method}: {json.dumps(answer['error'])}\n")
                return
        self.failed = True
        sys.stderr.write(f"{method}: no answer\n")

    def close(self) -> None:
        assert self._shim.stdin is not None
        self._shim.stdin.close()
        self._shim.wait(10)


def main() -> int:
    home = tempfile.mkdtemp(prefix="conformance-")
    host = Host(sys.argv[1], home)
    try:
        if not STATELESS:
            host.request("initialize", protocolVersion=REVISION, capabilities={}, clientInfo=CLIENT)
            host.send({"method": "notifications/initialized"})
        host.request("tools/list")
        host.request("tools/call", name="test-tool", arguments={})
    finally:
        host.close()
        shutil.rmtree(home)  # with its record a sign-in that still waits is given up
    return 1 if host.failed else 0


if __name__ == "__main__":
    sys.exit(main())
