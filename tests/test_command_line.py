"""The installed command in processes of its own: what a person types and what a host starts."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bench.processes import COMMAND, clean_environment, running
from tests.daemons import end_daemons


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mm-") as name:
        yield Path(name)
        end_daemons(Path(name))


def run(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=clean_environment({"MOGPLEX_HOME": str(home), **variables}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def new_token(home: Path) -> str:
    created = run(home, "local", "tokens", "create")
    found = re.search(r"mog_\w+", created.stdout)
    assert found is not None, created.stderr
    return found[0]


def test_serve_shows_a_line_to_paste_without_a_header_and_a_code_to_sign_in_with(home: Path) -> None:
    log = home / "out.txt"
    with running([*COMMAND, "serve", "--port", "0"], log, {"MOGPLEX_HOME": str(home)}) as server:
        text = log.read_text()
        base = f"http://127.0.0.1:{server.port}"
        assert re.search(rf"claude mcp add --transport http mogplex {base}/mcp$", text, re.MULTILINE)
        assert "mog_" not in text
        link = re.search(rf"{base}/account/signin/local\?code=\S+", text)
        assert link is not None
        assert httpx2.get(link[0]).status_code == 200
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "mogplex_list_repos"}}
        answer = httpx2.post(f"{base}/mcp", json=body, headers={"Authorization": f"Bearer {new_token(home)}"})
        assert answer.json()["result"]["structuredContent"]["repos"][0]["full_name"] == "demo/hello"


def test_another_code_is_made_on_the_command_line(home: Path) -> None:
    with running([*COMMAND, "serve", "--port", "0"], home / "out.txt", {"MOGPLEX_HOME": str(home)}) as server:
        made = run(home, "local", "signin", "--port", str(server.port))
        link = re.search(r"http://\S+", made.stdout)
        assert link is not None, made.stderr
        assert made.stdout.splitlines()[0] in httpx2.get(link[0]).text


def test_a_code_is_refused_where_people_come_from_elsewhere(home: Path) -> None:
    made = run(home, "local", "signin", MOGPLEX_MCP_PUBLIC_URL="https://mcp.example.com")
    assert made.returncode == 1
    assert "this computer" in made.stderr


@pytest.mark.parametrize(
    "variables",
    [{"MOGPLEX_MCP_HOST": "0.0.0.0"}, {"MOGPLEX_MCP_PUBLIC_URL": "http://mcp.example.com"}],
)
def test_an_address_without_tls_is_refused_at_the_start(home: Path, variables: dict[str, str]) -> None:
    result = run(home, "serve", "--port", "0", **variables)
    assert result.returncode == 1
    assert "https://" in result.stderr


def test_state_is_private(home: Path) -> None:
    with running([*COMMAND, "serve", "--port", "0"], home / "out.txt", {"MOGPLEX_HOME": str(home)}):
        assert stat.S_IMODE((home / "mcp").stat().st_mode) == 0o700
        for path in (home / "mcp").iterdir():
            if path.is_file() or path.is_socket():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_logs_have_one_line_a_request_and_no_secret(home: Path) -> None:
    log = home / "out.txt"
    with running([*COMMAND, "serve", "--port", "0"], log, {"MOGPLEX_HOME": str(home)}) as server:
        token = new_token(home)
        shown = len(log.read_bytes())
        for name in ("mogplex_list_repos", "no_such"):
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}}}
            httpx2.post(f"http://127.0.0.1:{server.port}/mcp", json=body, headers={"Authorization": f"Bearer {token}"})
    lines = [json.loads(line) for line in log.read_bytes()[shown:].decode().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["tool"] for line in requests] == ["mogplex_list_repos", "no_such"]
    assert all(line["account"].startswith("pat-") and line["ms"] >= 0 for line in requests)
    assert token not in log.read_text()


def test_a_busy_port_names_the_option(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(home, "serve", "--port", str(taken.getsockname()[1]))
    assert result.returncode == 1
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MOGPLEX_LOCAL_RATE_LIMIT": "many"}, "MOGPLEX_LOCAL_RATE_LIMIT"),
        ({"MOGPLEX_URL": "http://mogplex.example.com"}, "MOGPLEX_URL"),
        ({"MOGPLEX_URL": "not an address"}, "MOGPLEX_URL"),
        ({"MOGPLEX_MCP_PUBLIC_URL": "ftp://x"}, "MOGPLEX_MCP_PUBLIC_URL"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(home: Path, variables: dict[str, str], named: str) -> None:
    result = run(home, "serve", "--port", "0", **variables)
    assert result.returncode == 1
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_ctrl_c_ends_the_server_in_time_although_a_stream_is_open_and_a_run_works(home: Path) -> None:
    log = home / "out.txt"
    environment = {"MOGPLEX_HOME": str(home), "MOGPLEX_LOCAL_HARNESS": "demo"}
    with running([*COMMAND, "serve", "--port", "0"], log, environment) as server:
        token = new_token(home)
        url = f"http://127.0.0.1:{server.port}/mcp"
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        with httpx2.Client(headers=headers, timeout=20) as http:
            client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
            opened = http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client})
            session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
            http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=session)

            def tool(name: str, **arguments: object) -> dict[str, object]:
                body = {
                    "jsonrpc": "2.0",
                    "id": 2,
                    "method": "tools/call",
                    "params": {"name": name, "arguments": arguments},
                }
                data: dict[str, object] = http.post(url, json=body).json()["result"]["structuredContent"]
                return data

            repos = tool("mogplex_list_repos")["repos"]
            assert isinstance(repos, list)
            tool("mogplex_start_agent_run", repoId=repos[0]["id"], prompt="Repair it", createBranch=True)
            with http.stream("GET", url, headers=session) as stream:
                assert stream.status_code == 200
                started = time.monotonic()
                os.kill(server.pid, signal.SIGINT)
                psutil.wait_procs([psutil.Process(server.pid)], timeout=15)
                assert time.monotonic() - started < 8
    left = [process for process in psutil.process_iter(["cwd"]) if str(home) in (process.info["cwd"] or "")]
    assert left == []


async def test_a_host_on_standard_input_needs_no_token_and_closing_it_ends_no_run(home: Path) -> None:
    variables = {"MOGPLEX_HOME": str(home), "MOGPLEX_LOCAL_HARNESS": "demo", "MOGPLEX_LOCAL_RATE_LIMIT": "0"}
    environment = clean_environment(variables)
    parameters = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "stdio"], env=environment)
    async with Client(stdio_client(parameters)) as host:
        repos = (await host.call_tool("mogplex_list_repos", {})).structured_content["repos"]
        start = {"repoId": repos[0]["id"], "prompt": "Repair it", "createBranch": True}
        run_id = (await host.call_tool("mogplex_start_agent_run", start)).structured_content["run"]["runId"]
    async with Client(stdio_client(parameters)) as host:
        status = "pending"
        deadline = time.monotonic() + 60
        while status not in {"success", "failed", "cancelled"} and time.monotonic() < deadline:
            status = (await host.call_tool("mogplex_get_run", {"runId": run_id})).structured_content["run"]["status"]
        assert status == "success"
        runs = (await host.call_tool("mogplex_list_runs", {})).structured_content["runs"]
        assert [run["runId"] for run in runs] == [run_id]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_standard_input_ends_when_asked_to_although_its_host_is_still_there(home: Path, number: signal.Signals) -> None:
    initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize}
    environment = clean_environment({"MOGPLEX_HOME": str(home)})
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, "stdio"], stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == 1
            process.send_signal(number)
            assert process.wait(timeout=5) == -number
        finally:
            process.kill()


def test_standard_input_over_hosted_mogplex_needs_a_key_and_says_so(home: Path) -> None:
    result = run(home, "stdio", MOGPLEX_TRANSPORT="hosted")
    assert result.returncode == 1
    assert "MOGPLEX_API_KEY" in result.stderr
    assert result.stdout == ""


def test_the_key_of_the_environment_is_no_credential_for_callers_of_serve(home: Path) -> None:
    log = home / "out.txt"
    environment = {"MOGPLEX_HOME": str(home), "MOGPLEX_TRANSPORT": "process", "MOGPLEX_API_KEY": "mog_environment"}
    with running([*COMMAND, "serve", "--port", "0"], log, environment) as server:
        answer = httpx2.post(f"http://127.0.0.1:{server.port}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert answer.status_code == 401
    assert "mog_environment" not in log.read_text()


def test_an_unknown_transport_falls_to_the_daemon_and_says_so(home: Path) -> None:
    log = home / "out.txt"
    environment = {"MOGPLEX_HOME": str(home), "MOGPLEX_TRANSPORT": "pigeon"}
    with running([*COMMAND, "serve", "--port", "0"], log, environment):
        assert "transport_fallback" in log.read_text()
