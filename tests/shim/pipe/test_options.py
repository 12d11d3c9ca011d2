"""Which server, which credential, which headers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from mogplex_mcp_shim.options import Options, UsageError
from mogplex_mcp_shim.urls import parse_url, resolve

from tests.shim.pipe.scripted_server import Legacy, Received, Reply, scripted_server
from tests.shim.pipe.shim_process import COMMAND, running_shim, shim_environment

KEY = {"MOGPLEX_API_KEY": "mog_key"}


@pytest.mark.parametrize(
    ("arguments", "environ", "url"),
    [
        ([], {}, "https://mogplex.com/api/v1/mogplex/mcp"),
        ([], {"MOGPLEX_URL": "https://eu.example.com/"}, "https://eu.example.com/api/v1/mogplex/mcp"),
        ([], {"MOGPLEX_URL": "https://a.example", "MOGPLEX_MCP_URL": "https://b.example/mcp"}, "https://b.example/mcp"),
        (["https://c.example/x?y=1#z"], {"MOGPLEX_MCP_URL": "https://b.example/mcp"}, "https://c.example/x?y=1"),
        (["http://[::1]:8747/mcp"], {}, "http://[::1]:8747/mcp"),
        (["HTTPS://Example.COM:443"], {}, "https://example.com/"),
    ],
)
def test_the_url_is_the_one_given_else_the_environments_else_hosted(
    arguments: list[str], environ: dict[str, str], url: str
) -> None:
    assert Options(arguments, environ).url == url


@pytest.mark.parametrize(
    ("arguments", "environ", "is_sent"),
    [
        ([], {}, True),
        (["http://localhost:8747/mcp"], {}, True),
        (["http://127.0.0.1:1/mcp"], {}, True),
        (["https://mogplex.com/other"], {}, True),
        (["https://mogplex.com:8443/mcp"], {}, False),
        (["https://mogplex.com.example/mcp"], {}, False),
        (["https://other.example/mcp"], {}, False),
        (["https://other.example/mcp"], {"MOGPLEX_URL": "https://other.example"}, True),
        (["https://other.example/mcp"], {"MOGPLEX_MCP_URL": "https://other.example/elsewhere"}, True),
        (["http://other.example/mcp", "--allow-http"], {"MOGPLEX_URL": "https://other.example"}, False),
        (["https://127.0.0.1.example/mcp"], {}, False),
        (["https://evil.localhost.example/mcp"], {}, False),
    ],
)
def test_the_key_goes_only_to_mogplexs_origins_and_this_machine(
    arguments: list[str], environ: dict[str, str], *, is_sent: bool
) -> None:
    options = Options(arguments, {**environ, **KEY})
    assert (options.api_key is not None) == is_sent
    assert any("MOGPLEX_API_KEY is not sent" in each for each in options.warnings) != is_sent


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ftp://x/"], "https://"),
        (["https://user:secret@x/"], "user name"),
        (["https://x:0/"], "port"),
        (["https://x/ y"], "spaces"),
        (["https:///x"], "host"),
        (["http://other.example/mcp"], "--allow-http"),
        (["a", "b"], "one URL"),
        (["--nonsense=secret"], "no option --nonsense"),
        (["--attach"], "needs a value"),
        (["--attach", "a b"], "run"),
        (["--header", "nothing"], "NAME:VALUE"),
        (["--header", "Bad Name: x"], "NAME:VALUE"),
        (["--header", "X: a\r\nY: secret"], "characters"),
        (["--header", "X: ${UNSET}"], "UNSET"),
        (["--header", "X: ${UNCLOSED"], "without }"),
        (["--header", "Mcp-Session-Id: x"], "transport's own"),
    ],
)
def test_arguments_that_make_no_sense_are_told_in_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, *arguments], env=shim_environment(tmp_path), capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_header_values_take_variables_and_stay_secret(tmp_path: Path) -> None:
    def handler(request: Received, reply: Reply) -> None:
        reply.result({"x": request.headers.get("x-team"), "authorization": request.headers.get("authorization")})

    arguments = ["--header", "X-Team: a-${TEAM}-${TEAM}", "--header=Authorization: Bearer ${TOKEN}"]
    variables = {"TEAM": "${TOKEN}", "TOKEN": "hush", **KEY}
    log = tmp_path / "log"
    with (
        scripted_server(handler) as server,
        running_shim(tmp_path / "h", server.url, *arguments, "--log-file", str(log), variables=variables) as shim,
    ):
        assert shim.call("x") == {"x": "a-${TOKEN}-${TOKEN}", "authorization": "Bearer hush"}
        shim.close()
        assert log.stat().st_mode & 0o777 == 0o600
        assert "POST -> 200" in log.read_text()
        assert "hush" not in log.read_text() + shim.errors()


def test_a_refused_key_is_named_with_what_to_do(tmp_path: Path) -> None:
    def refuse(_: Received, reply: Reply) -> None:
        reply.send(401, WWW_Authenticate='Bearer error="invalid_token"')

    with (
        scripted_server(refuse) as server,
        running_shim(tmp_path / "h", server.url, variables=KEY) as shim,
    ):
        error = shim.answer(shim.request("x"))["error"]
        assert "MOGPLEX_API_KEY" in error["message"]
        assert "unset" in error["message"]
        assert "mog_key" not in str(error) + shim.errors()
        assert len(server.requests) == 1


def test_attach_names_the_run_in_every_request(tmp_path: Path) -> None:
    def attached(_: Received, reply: Reply) -> None:
        reply.result({}, Mogplex_Attach_Run="run-1")

    with (
        scripted_server(attached) as server,
        running_shim(tmp_path / "h", server.url, "--attach", "run-1") as shim,
    ):
        shim.call("x")
        shim.answer(shim.modern("y"))
        assert [each.headers["mogplex-attach-run"] for each in server.requests] == ["run-1", "run-1"]
        assert shim.errors() == ""


def test_a_server_that_does_not_attach_is_told_of_once(tmp_path: Path) -> None:
    with (
        scripted_server(Legacy()) as server,
        running_shim(tmp_path / "h", server.url, variables={"MOGPLEX_ATTACH_RUN_ID": "run-1"}) as shim,
    ):
        shim.initialize()
        shim.call("x")
        assert shim.errors().count("does not attach") == 1
        shim.close()
        assert {each.headers["mogplex-attach-run"] for each in server.requests} == {"run-1"}
        assert server.ended == ["session-1"]


def test_the_hot_path_imports_little() -> None:
    """The start is what users feel: none of these belongs in it."""
    code = "import sys; import mogplex_mcp_shim.cli, mogplex_mcp_shim.pipe; print(' '.join(sys.modules))"
    environ = {"PYTHONPATH": str(Path(__file__).parents[3] / "shim"), "PATH": ""}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environ, capture_output=True, text=True, check=True)
    heavy = {"asyncio", "ssl", "email", "http.client", "urllib.request", "dataclasses", "inspect", "logging", "typing"}
    heavy |= {"argparse", "subprocess", "hashlib", "pathlib", "tempfile", "mogplex_mcp"}
    assert heavy & set(done.stdout.split()) == set()


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("/x", "https://a.example/x"),
        ("x?y", "https://a.example/b/x?y"),
        ("//c.example/x", "https://c.example/x"),
        ("http://c.example", "http://c.example/"),
        ("/x?to=https://c.example", "https://a.example/x?to=https://c.example"),
    ],
)
def test_a_location_is_seen_from_where_it_came(reference: str, found: str) -> None:
    assert str(resolve(parse_url("https://a.example/b/c?d=/e"), reference)) == found


def test_no_key_with_a_line_break_is_sent() -> None:
    with pytest.raises(UsageError, match="MOGPLEX_API_KEY"):
        Options([], {"MOGPLEX_API_KEY": "a\r\nb"})
