"""The `local` commands: what they print where, and how they say no."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mogplex_mcp.local.commands import local
from tests.local.hosting import make_repository


def invoke(data_dir: Path, *arguments: str) -> Result:
    return CliRunner().invoke(local, [*arguments, "--data-dir", str(data_dir)], catch_exceptions=False)


def test_repositories_are_added_listed_and_removed(data_dir: Path) -> None:
    top = make_repository(data_dir / "project")
    assert invoke(data_dir, "repos", "list").stdout == ""
    added = invoke(data_dir, "repos", "add", str(top), "--name", "acme/web")
    assert added.exit_code == 0
    repo_id = added.stdout.split("\t")[0]
    assert invoke(data_dir, "repos", "list").stdout == f"{repo_id}\tacme/web\tmain\t{top}\n"
    removed = invoke(data_dir, "repos", "remove", "acme/web")
    assert (removed.exit_code, removed.stdout) == (0, "")
    assert "untouched" in removed.stderr


def test_a_token_alone_is_on_standard_output_and_never_again(data_dir: Path) -> None:
    made = invoke(data_dir, "tokens", "create", "--name", "ci", "--scopes", "read", "--expires-in-days", "3")
    assert re.fullmatch(r"mog_[0-9A-Za-z]{32}\n", made.stdout)
    token = made.stdout.strip()
    assert token not in made.stderr
    listed = invoke(data_dir, "tokens", "list").stdout
    assert token not in listed
    token_id, prefix, name, scopes, _, expires, state = listed.rstrip("\n").split("\t")
    assert (prefix, name, scopes, state) == (token[:12], "ci", "read", "valid")
    assert expires.endswith("Z")
    assert token_id in made.stderr
    assert invoke(data_dir, "tokens", "revoke", prefix).exit_code == 0
    assert invoke(data_dir, "tokens", "list").stdout.endswith("\trevoked\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["repos", "add", "/"], "cannot be added"),
        (["repos", "remove", "a/b"], "No repository"),
        (["tokens", "create", "--scopes", "admin"], "Unknown scope"),
        (["tokens", "create", "--scopes", ""], "at least one"),
        (["tokens", "revoke", "nothing"], "No token"),
    ],
)
def test_a_refusal_is_one_sentence_and_exit_code_1(data_dir: Path, arguments: list[str], said: str) -> None:
    result = invoke(data_dir, *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["tokens", "create", "--expires-in-days", "0"], ["repos", "add", "/nowhere"]])
def test_an_argument_out_of_bounds_is_a_usage_error(data_dir: Path, arguments: list[str]) -> None:
    assert invoke(data_dir, *arguments).exit_code == 2


def test_a_variable_that_makes_no_sense_is_named(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOGPLEX_LOCAL_RATE_LIMIT", "many")
    result = invoke(data_dir, "tokens", "list")
    assert result.exit_code == 1
    assert "MOGPLEX_LOCAL_RATE_LIMIT" in result.stderr
    assert "many" not in result.stderr


def test_a_harness_that_is_none_is_refused_at_the_start(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOGPLEX_LOCAL_HARNESS", "gpt")
    result = invoke(data_dir, "tokens", "list")
    assert result.exit_code == 1
    assert result.stderr == "Error: MOGPLEX_LOCAL_HARNESS: Input should be 'codex', 'claude-code' or 'demo'\n"


def test_a_socket_path_that_is_too_long_says_so(data_dir: Path) -> None:
    result = invoke(data_dir / ("d" * 60) / ("e" * 60), "daemon")
    assert result.exit_code == 1
    assert "Choose a shorter --data-dir" in result.stderr


def test_a_port_that_is_taken_says_so(data_dir: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = invoke(data_dir, "daemon", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 1
    assert "--port" in result.stderr
