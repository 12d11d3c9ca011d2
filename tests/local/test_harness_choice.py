"""Which harness a run gets on which machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from mogplex_mcp.local.harness import HarnessUnavailable, catalogue, installed, pick_harness
from mogplex_mcp.settings import Settings

CASES = [
    # installed here, asked for, in demo/hello, what is used
    (("codex", "claude"), None, False, "codex"),
    (("claude",), None, False, "claude-code"),
    (("codex", "claude"), "claude-code", False, "claude-code"),
    (("codex", "claude"), "codex", False, "codex"),
    ((), None, True, "demo"),
    (("codex", "claude"), None, True, "demo"),
    (("codex", "claude"), "codex", True, "codex"),
    (("codex",), "claude-code", True, "demo"),
    ((), "codex", True, "demo"),
]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose PATH has what a test puts there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(machine: Path, *programs: str) -> None:
    for program in programs:
        (machine / program).write_text("#!/bin/sh\n")
        (machine / program).chmod(0o755)


@pytest.mark.parametrize(("programs", "asked", "demo", "used"), CASES)
def test_the_harness_follows_what_is_asked_and_what_is_installed(
    machine: Path, programs: tuple[str, ...], asked: str | None, demo: bool, used: str
) -> None:
    install(machine, *programs)
    assert pick_harness(Settings(), asked=asked, repo_is_demo=demo).name == used


@pytest.mark.parametrize(
    ("asked", "install_with"),
    [
        (None, "npm install -g @openai/codex"),
        ("codex", "npm install -g @openai/codex"),
        ("claude-code", "npm install -g @anthropic-ai/claude-code"),
    ],
)
def test_a_missing_harness_says_what_to_install_and_how_to_do_without(
    machine: Path, asked: str | None, install_with: str
) -> None:
    with pytest.raises(HarnessUnavailable, match=install_with) as refusal:
        pick_harness(Settings(), asked=asked, repo_is_demo=False)
    assert "MOGPLEX_LOCAL_HARNESS=demo" in str(refusal.value)


@pytest.mark.parametrize("name", ["demo", "gpt", "", "Codex", "codex\n", "__class__"])
def test_a_caller_can_name_the_two_agents_only(machine: Path, name: str) -> None:
    with pytest.raises(ValueError, match="must be one of codex, claude-code"):
        pick_harness(Settings(), asked=name, repo_is_demo=True)


def test_the_setting_decides_over_callers_and_repositories(machine: Path) -> None:
    install(machine, "claude")
    everywhere = Settings(local_harness="demo")
    assert pick_harness(everywhere, asked="codex", repo_is_demo=False).name == "demo"
    claude = Settings(local_harness="claude-code")
    assert pick_harness(claude, asked="codex", repo_is_demo=True).name == "claude-code"
    with pytest.raises(HarnessUnavailable, match="codex is not installed"):
        pick_harness(Settings(local_harness="codex"), asked=None, repo_is_demo=True)


@pytest.mark.parametrize("name", ["gpt", "Demo", "demo ", "claude"])
def test_a_setting_that_names_no_harness_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MOGPLEX_LOCAL_HARNESS", name)
    with pytest.raises(ValidationError, match="'codex', 'claude-code' or 'demo'"):
        Settings()


def test_a_command_may_be_a_path_with_arguments_of_its_own(machine: Path) -> None:
    install(machine, "my agent")
    settings = Settings(local_codex_command=f"'{machine}/my agent' exec --profile 'a b' -")
    codex = pick_harness(settings, asked="codex", repo_is_demo=False)
    assert codex.command == (f"{machine}/my agent", "exec", "--profile", "a b", "-")
    (machine / "my agent").chmod(0o644)
    assert not installed(codex)


def test_the_demonstration_is_installed_wherever_this_program_is(machine: Path) -> None:
    demo = catalogue(Settings())["demo"]
    assert demo.command[0] == sys.executable
    assert installed(demo)
