"""The demonstration: its repository, and its agent as a real child."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mogplex_mcp.local import git
from mogplex_mcp.local.child import Child
from mogplex_mcp.local.demo import create_demo_repository
from mogplex_mcp.local.harness import HarnessEvent, Outcome, catalogue
from mogplex_mcp.settings import Settings
from tests.local.project import Project, make_project

DEMO = catalogue(Settings())["demo"]


async def work(cwd: Path, prompt: str, pause: str = "0") -> tuple[list[HarnessEvent], Outcome]:
    child = await Child.start([*DEMO.command, "--pause", pause], cwd=cwd, prompt=prompt)
    reader = DEMO.reader()
    events = [event async for line in child.lines() for event in reader.feed(line)]
    return events, reader.finish(await child.wait(), child.stderr_tail())


def run_tests(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-m", "unittest", "discover"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def hello(tmp_path: Path) -> Project:
    create_demo_repository(tmp_path / "demo" / "hello")
    return Project(tmp_path / "demo" / "hello")


def test_the_repository_has_a_history_and_exactly_one_failing_test(hello: Project) -> None:
    repo = hello.repository()
    assert (repo.default_branch, git.branches(repo)) == ("main", {"main"})
    assert hello.git("status", "--porcelain") == ""
    assert len(hello.git("log", "--format=%s").splitlines()) == 3
    done = run_tests(hello.path)
    assert done.returncode == 1
    assert "Ran 2 tests" in done.stderr
    assert "FAILED (failures=1)" in done.stderr


def test_the_repository_is_the_same_everywhere_whatever_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_demo_repository(tmp_path / "one")
    (tmp_path / "gitconfig").write_text(
        "[init]\ndefaultBranch = trunk\ntemplateDir = /nowhere\n[commit]\ngpgsign = true\n[user]\nname = Somebody\n"
        "[core]\nautocrlf = true\nhooksPath = /nowhere\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    create_demo_repository(tmp_path / "two")
    assert git.head(tmp_path / "one") == git.head(tmp_path / "two")
    assert Project(tmp_path / "two").repository().default_branch == "main"


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        create_demo_repository(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_the_agent_repairs_the_failing_test_in_commits_of_its_own(hello: Project, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git.add_worktree(hello.repository(), tree, branch="fix", start="main")
    base = git.head(tree)
    events, outcome = await work(tree, "Repair the failing test")
    assert outcome.success, outcome.error
    assert [commit.subject for commit in git.commits_since(tree, base)] == [
        "Greet the world when no name is given",
        "Test that a blank name is no name",
    ]
    assert run_tests(tree).returncode == 0
    assert run_tests(hello.path).returncode == 1, "the person's checkout is as it was"
    assert hello.git("status", "--porcelain", at=tree) == ""
    kinds = [event.type for event in events if event.type != "log"]
    assert kinds[0] == "stream_started"
    assert kinds[-1] == "assistant_message"
    assert kinds.count("tool_call") == kinds.count("tool_result") >= 6
    results = [event.message or "" for event in events if event.type == "tool_result"]
    assert "FAILED (failures=1)" in results[0]
    assert any("Ran 3 tests" in result and "OK" in result for result in results)


async def test_the_agent_writes_a_note_in_any_other_repository(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    base = git.head(project.path)
    prompt = "Line one\n# not a heading \x1b[31m" + "x" * 1_000
    _, outcome = await work(project.path, prompt)
    assert outcome.success, outcome.error
    assert len(git.commits_since(project.path, base)) == 2
    note = (project.path / "MOGPLEX-NOTE.md").read_text()
    (asked,) = (line for line in note.splitlines() if line.startswith("- Asked: "))
    assert asked.startswith("- Asked: Line one # not a heading [31mxxx")
    assert len(asked) == len("- Asked: ") + 200
    assert all("Line one" not in commit.subject for commit in git.commits_since(project.path, base))
    _, outcome = await work(project.path, "")
    assert outcome.success, outcome.error
    note = (project.path / "MOGPLEX-NOTE.md").read_text()
    assert note.count("- Asked: ") == 2
    assert "- Asked: (nothing)" in note
    assert project.git("status", "--porcelain") == ""


async def test_the_agent_does_not_write_through_a_link(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    (tmp_path / "outside").write_text("mine")
    (project.path / "MOGPLEX-NOTE.md").symlink_to(tmp_path / "outside")
    _, outcome = await work(project.path, "note")
    assert outcome.success, outcome.error
    assert (tmp_path / "outside").read_text() == "mine"
    assert not (project.path / "MOGPLEX-NOTE.md").is_symlink()


async def test_the_agent_commits_whatever_the_repository_is_set_to(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    project.git("config", "core.hooksPath", str(hooks))
    project.git("config", "commit.gpgsign", "true")
    (project.path / ".git" / "info" / "exclude").write_text("*.md\n")
    _, outcome = await work(project.path, "note")
    assert outcome.success, outcome.error
    assert project.git("log", "-1", "--format=%an") == "Mogplex Demo"


async def test_a_step_that_fails_is_a_failed_run_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "no-repository").mkdir()
    _, outcome = await work(tmp_path / "no-repository", "note")
    assert (outcome.success, outcome.error) == (False, "git add failed")


async def test_sigterm_ends_the_agent_at_once_and_leaves_everything_whole(hello: Project) -> None:
    child = await Child.start([*DEMO.command, "--pause", "0.7"], cwd=hello.path, prompt="Repair it")
    async for line in child.lines():
        if "file_change" in line:  # In the middle: written, not committed.
            break
    began = time.monotonic()
    await child.terminate(10)
    assert time.monotonic() - began < 5
    assert await child.wait() == 128 + signal.SIGTERM
    assert hello.git("status", "--porcelain") == " M hello/greeting.py"
    assert not list((hello.path / ".git").glob("*.lock"))
    assert run_tests(hello.path).returncode == 0


async def test_sigterm_before_the_prompt_has_come_ends_the_agent_too(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *DEMO.command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.terminate()
    out, _ = await process.communicate()
    assert process.returncode in {128 + signal.SIGTERM, -signal.SIGTERM}
    assert out == b""


def test_the_agent_ends_when_nobody_listens_any_more(tmp_path: Path) -> None:
    """Its server was killed: the pipe is closed on the other side."""
    project = make_project(tmp_path / "p")
    process = subprocess.Popen(
        [*DEMO.command, "--pause", "0.1"], cwd=project.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        assert process.wait(20) == 1


async def test_without_a_pause_of_its_own_the_agent_takes_seconds(hello: Project) -> None:
    child = await Child.start(DEMO.command, cwd=hello.path, prompt="Repair it")
    began = time.monotonic()
    assert [line async for line in child.lines()]
    assert await child.wait() == 0
    assert 1.5 < time.monotonic() - began < 30
