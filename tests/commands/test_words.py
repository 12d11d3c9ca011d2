"""What commands are made of, without Mogplex: usage, credentials that are stored, text fit for a terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as some

from mogplex_mcp.cli import main
from mogplex_mcp.commands.auth_json import AuthFileError, stored_token
from mogplex_mcp.commands.exit_codes import exit_code_for, exit_codes_table
from mogplex_mcp.commands.export_file import new_file, write_file
from mogplex_mcp.commands.failures import CommandError
from mogplex_mcp.commands.output import Output
from mogplex_mcp.commands.session import with_stored_token
from mogplex_mcp.commands.terminal_text import cells, cut
from mogplex_mcp.one_line import one_line
from mogplex_mcp.own_command import own_command
from mogplex_mcp.runs.export import Exported
from mogplex_mcp.settings import Settings

TOKEN = "mog_stored0123456789"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "Fix it"), "error: run: --repo is required (find IDs via `mogplex-mcp repos list`)\n"),
        (("run", "--repo", "acme/web", "x" * 100_001), "error: run: the prompt must have 1 to 100,000 characters\n"),
        (("run", "--repo", "acme/web", "--idempotency-key", "", "Fix it"), "--idempotency-key is empty"),
        (("runs", "events", ""), "ID is empty"),
        (("run", "--repo", "acme/web"), "Missing argument 'PROMPT'"),
        (("run", "--repo", "acme/web", "--harness", "cobol", "Fix it"), "codex"),
        (("runs", "get"), "Missing argument 'ID'"),
        (("runs", "list", "--limit", "0"), "--limit"),
        (("runs", "events", "run-1", "--timeout", "soon"), "--timeout"),
        (("runs", "export", "run-1", "--format", "pdf"), "markdown"),
        (("runs", "fly"), "No such command"),
        (("repos", "list", "--no-such-option"), "--no-such-option"),
    ],
)
def test_a_command_typed_wrongly_is_a_usage_error(arguments: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert told in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "Fix it", "--json"), "--repo is required"),
        (("runs", "get", "--json"), "Missing argument 'ID'"),
        (("repos", "list", "--limit", "many", "--json"), "--limit"),
    ],
)
def test_programs_are_told_of_usage_in_json_too(arguments: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    error = json.loads(line)["error"]
    assert error["code"] == "USAGE"
    assert told in error["message"]


def test_help_loads_nothing_that_only_a_command_needs() -> None:
    heavy = (
        "sorted({name.split('.')[0] for name in sys.modules} & {'httpx2', 'sqlalchemy', 'mcp', 'mcp_types', 'authlib'})"
    )
    program = f"import sys, mogplex_mcp.cli as c; c.main(['--help'], standalone_mode=False); print({heavy})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    *_, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    assert re.findall(r"^  (\w+)  ", done.stdout, re.MULTILINE) == [
        *("local", "repos", "run", "runs", "sandboxes", "serve", "stdio")
    ]


def test_commands_start_without_the_sdk() -> None:
    used = [f"commands.{name}" for name in ("session", "following", "run_words", "export_file")]
    used += [f"tools.{name}" for name in ("repo_names", "run_names", "fresh_runs", "seen_runs")]
    loaded = "print({'mcp', 'mcp_types'} & {*sys.modules})"
    program = f"import sys, {', '.join(f'mogplex_mcp.{name}' for name in used)}; {loaded}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("UNAUTHORIZED", None, 64),
        ("FORBIDDEN", 403, 65),
        ("SERVICE_UNAVAILABLE", 503, 69),
        ("UNREACHABLE", None, 69),
        ("HTTP_ERROR", 502, 69),
        ("HTTP_ERROR", 401, 64),
        ("RATE_LIMITED", None, 75),
        ("TIMEOUT", None, 75),
        ("AMBIGUOUS_REPO", None, 2),
        ("IDEMPOTENCY_CONFLICT", 409, 1),
        ("NOT_FOUND", 404, 1),
        ("INTERNAL_ERROR", 500, 1),
        ("NOT_KNOWN_YET", None, 1),
    ],
)
def test_exit_codes_are_the_documented_ones(code: str, status: int | None, expected: int) -> None:
    assert exit_code_for(code, status) == expected


def test_the_table_of_exit_codes_is_the_documents() -> None:
    document = Path(__file__).parents[2] / "docs" / "commands.md"
    assert exit_codes_table() in document.read_text()


def test_every_command_and_option_is_in_the_document() -> None:
    document = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    for group in ("repos", "run", "runs", "sandboxes"):
        command = main.get_command(None, group)  # type: ignore[arg-type] # it takes none
        for each in getattr(command, "commands", {"": command}).values():
            name = f"{group} {each.name}" if each.name != group else group
            assert f"`mogplex-mcp {name}" in document, name
            for option in (option for parameter in each.params for option in parameter.opts if option.startswith("--")):
                assert f"`{option}" in document, (name, option)


@pytest.mark.parametrize(
    "credential",
    [
        TOKEN,
        *({name: TOKEN} for name in ("access_token", "accessToken", "access", "token", "api_key", "apiKey", "key")),
    ],
)
def test_the_stored_token_is_found_in_every_form_that_command_lines_use(tmp_path: Path, credential: object) -> None:
    file = tmp_path / "auth.json"
    file.write_text(json.dumps({"mogplex": credential, "openai": {"key": "sk-secret"}}))
    file.chmod(0o600)
    assert stored_token(file) == TOKEN


@pytest.mark.parametrize(
    "whole",
    [{}, [], {"mogplex": None}, {"mogplex": {}}, {"mogplex": {"key": 7}}, {"mogplex": "two words"}, {"key": TOKEN}],
)
def test_a_file_without_a_mogplex_credential_has_no_token(tmp_path: Path, whole: object) -> None:
    file = tmp_path / "auth.json"
    file.write_text(json.dumps(whole))
    file.chmod(0o600)
    assert stored_token(file) is None
    assert stored_token(tmp_path / "none" / "auth.json") is None


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (f'{{"mogplex": "{TOKEN}"}}', 0o640),
        (f'{{"mogplex": "{TOKEN}"}}', 0o604),
        (f'{{"mogplex": "{TOKEN}"', 0o600),
        (f'{{"mogplex": "{TOKEN}"}}' + " " * 2**20, 0o600),
        ("[" * 100_000, 0o600),
    ],
)
def test_a_stored_token_that_cannot_be_trusted_is_refused_without_quoting_it(
    tmp_path: Path, text: str, mode: int
) -> None:
    file = tmp_path / "auth.json"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(AuthFileError) as refused:
        stored_token(file)
    assert str(file) in str(refused.value)
    assert TOKEN not in str(refused.value)


def with_file(home: Path, **more: object) -> str | None:
    """The token that a command uses where the Mogplex CLI has signed in."""
    home.mkdir(exist_ok=True)
    file = home / "auth.json"
    file.write_text(json.dumps({"mogplex": TOKEN}))
    file.chmod(0o600)
    key = with_stored_token(Settings(home=home, **more)).api_key  # type: ignore[arg-type] # any of its fields
    return None if key is None else key.get_secret_value()


def test_the_stored_token_is_for_hosted_mogplex_alone(tmp_path: Path) -> None:
    assert with_file(tmp_path) == TOKEN
    assert with_file(tmp_path, transport="hosted") == TOKEN
    assert with_file(tmp_path, api_key="mog_given") == "mog_given"
    for transport in ("process", "live", "daemon", "Process"):
        assert with_file(tmp_path, transport=transport) is None


def test_codexs_home_stands_in_where_mogplexs_is_not_set_and_has_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, codex = tmp_path / ".mogplex", tmp_path / "codex"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CODEX_HOME", str(codex))
    monkeypatch.delenv("MOGPLEX_HOME", raising=False)
    assert Settings().auth_file == codex / "auth.json"
    assert Settings(home=own).auth_file == own / "auth.json"
    with_file(own)
    assert Settings().auth_file == own / "auth.json"


def test_sandboxes_are_stopped_elsewhere() -> None:
    stopped = CliRunner().invoke(main, ("sandboxes", "stop", "a/../b"))
    assert (stopped.exit_code, stopped.stdout) == (1, "")
    assert "https://mogplex.com/sandboxes/a%2F..%2Fb" in stopped.stderr
    for_programs = CliRunner().invoke(main, ("sandboxes", "stop", "s1", "--json"))
    assert json.loads(for_programs.stderr)["error"]["url"] == "https://mogplex.com/sandboxes/s1"


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuthFileError):
        stored_token(tmp_path)


@given(some.text())
def test_any_text_becomes_one_line_without_what_a_terminal_obeys(text: str) -> None:
    line = one_line(text)
    assert not any(unicodedata.category(char)[0] == "C" and char != "\N{REPLACEMENT CHARACTER}" for char in line)
    assert line == " ".join(line.split())
    assert one_line(line) == line


@given(some.text(), some.integers(0, 40))
def test_a_line_is_cut_to_the_terminals_columns(text: str, width: int) -> None:
    assert cells(cut(one_line(text), width)) <= width


def test_the_first_column_of_a_table_is_whole_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    output = Output(json=False)
    output.live = True
    output.table(("RUN", "STATUS"), [("run-0123456789", "success")])
    assert "run-0123456789" in capsys.readouterr().out


def test_text_of_every_script_stays_as_it_is() -> None:
    for text in ("Ünïcödé", "日本語", "שלום", "e\u0301", "🎉 done"):
        assert one_line(text) == text
    assert cells("日本") == 4
    assert cut("日本語", 5) == "日本…"


def test_a_file_is_written_over_only_when_that_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "run.md"
    assert write_file(file, "first", replace=False) == file
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("first", 0o600)
    with pytest.raises(CommandError, match="is there already"):
        write_file(file, "second", replace=False)
    assert file.read_text() == "first"
    write_file(file, "second", replace=True)
    assert file.read_text() == "second"
    with pytest.raises(CommandError, match="cannot be written"):
        write_file(tmp_path / "none" / "run.md", "third", replace=False)
    assert [path.name for path in tmp_path.iterdir()] == ["run.md"]


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as other:
        reading = other.submit(pipe.read_text)
        assert write_file(pipe, "text", replace=True) == pipe
        assert reading.result(20) == "text"
    assert pipe.is_fifo()
    with pytest.raises(CommandError, match="cannot be written: No space left"):
        write_file(Path("/dev/full"), "text", replace=False)


def test_ctrl_c_while_a_command_is_imported_ends_it_as_it_ends_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mogplex_mcp.cli.import_module", interrupted)
    done = CliRunner().invoke(main, ("runs", "list"))
    assert (done.exit_code, done.output) == (130, "")


def test_ctrl_c_while_the_program_is_imported_ends_it_without_a_word() -> None:
    program = """
import sys
class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, CtrlC())
from mogplex_mcp.start import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_hints_name_the_program_as_it_was_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "mogplex-mcp"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_command() == "mogplex-mcp"
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path.parent)
    assert own_command() == f"{tmp_path.name}/mogplex-mcp"


def test_an_export_stays_below_its_directory_whatever_the_runs_id(tmp_path: Path) -> None:
    exported = Exported("text", "text/markdown", "md")
    for run_id in ("../../etc/passwd", "a/b", "run\n1", "..", "x" * 10_000):
        paths = [new_file(tmp_path / "exports", run_id, "full", exported) for _ in range(2)]
        assert len({*paths}) == 2
        for path in paths:
            assert path.resolve().is_relative_to(tmp_path / "exports")
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert path.read_text() == "text"
