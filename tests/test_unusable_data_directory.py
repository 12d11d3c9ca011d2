"""Every command says in one sentence why it cannot use its data directory."""

import subprocess
from pathlib import Path

import pytest

from bench.processes import COMMAND, clean_environment
from tests.local.hosting import ORDINARY_PERMISSIONS

COMMANDS = [
    ("serve", "--port", "0"),
    ("stdio",),
    ("local", "signin"),
    ("local", "daemon"),
    ("local", "repos", "list"),
    ("local", "tokens", "create"),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ORDINARY_PERMISSIONS, *COMMAND, *arguments],
        env=clean_environment({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def problems(said: str) -> list[str]:
    """What was said, without the lines that only tell what goes on."""
    return [line for line in said.splitlines() if '"level": "info"' not in line]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("there", [True, False], ids=["existing", "to be made"])
def test_a_directory_that_cannot_be_written_is_told_once(tmp_path: Path, command: tuple[str, ...], there: bool) -> None:
    tmp_path.chmod(0o500)
    data_dir = tmp_path if there else tmp_path / "new"
    result = run(*command, "--data-dir", str(data_dir))
    assert result.returncode == 1
    (problem,) = problems(result.stderr)
    assert problem.startswith(f"Error: The data directory {data_dir} cannot be used because permission is denied for")
    assert problem.endswith("; choose another one with --data-dir.")


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("stdio",), ("local", "daemon")], ids=" ".join)
def test_what_only_the_daemon_meets_is_told_once_too(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "local.db").mkdir()
    result = run(*command, "--data-dir", str(tmp_path))
    assert result.returncode == 1
    (problem,) = problems(result.stderr)
    assert problem.count("cannot be opened; choose another one with --data-dir.") == 1
