"""Names that callers give, by git's own judgement."""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mogplex_mcp.local import git
from tests.local.hosting import make_repository, run_git

TODAY = date(2026, 5, 17)


@pytest.mark.parametrize(
    "name", ["main", "feat/x", "a.b", "größe", "mogplex/run/2026-05-17/refactor-auth", "x" * 200, "@x"]
)
def test_a_branch_name_that_git_takes_is_taken(name: str) -> None:
    git.check_branch_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("", "-x", "--force", "HEAD", "@", "a b", "a..b", "a~1", "a^", "a:b", "a?b", "a*b", "a[b", "a\\b", "/a", "a/"),
        *("a//b", ".a", "a/.b", "a.lock", "a/b.lock/c", "a.", "a@{b", "@{-1}", "a\nb", "a\0b", "a\x7fb", "\ud800"),
        *("x" * 201, "ü" * 101),
    ],
)
def test_a_branch_name_that_git_would_misread_is_refused(name: str) -> None:
    with pytest.raises(git.InvalidBranch):
        git.check_branch_name(name)


TAKEN = (
    *(
        "main",
        "MAIN",
        "mogplex",
        "Mogplex/run",
        "mogplex/run",
        "mogplex/run/2026-05-17",
        "mogplex-run",
        "mogplex-run-2",
    ),
    *("mogplex/run/2026-05-17/fix", "mogplex/run/2026-05-17/fix/it", "mogplex-run/2026-05-17/fix/it"),
)


@settings(max_examples=80, deadline=None)
@given(prompt=st.text(max_size=300) | st.just("fix"), others=st.sets(st.sampled_from(TAKEN)))
def test_a_generated_branch_is_a_valid_new_name_whatever_the_prompt(prompt: str, others: set[str]) -> None:
    taken = set(others)
    for _ in range(3):
        name = git.generated_branch(prompt, taken, TODAY)
        git.check_branch_name(name)
        for other in taken:
            mine, theirs = f"{name}/".casefold(), f"{other}/".casefold()
            assert not mine.startswith(theirs), other
            assert not theirs.startswith(mine), other
        taken.add(name)


@pytest.mark.parametrize(
    ("name", "other"),
    [("main/deep", "main"), ("a", "a/b"), ("a", "a/b/c"), ("a/b/c", "a"), ("a/b", "a/b/c")],
)
def test_a_branch_has_no_room_above_or_below_another(name: str, other: str, tmp_path: Path) -> None:
    assert git.in_the_way(name, {"x", other}) == other
    path = make_repository(tmp_path / "project", branch="trunk")
    run_git(path, "branch", other)
    with pytest.raises(subprocess.CalledProcessError):
        run_git(path, "branch", name)


def test_a_branch_has_room_beside_others(tmp_path: Path) -> None:
    path = make_repository(tmp_path / "project", branch="main")
    for name in ("mainly/x", "a/b", "a/c", "a-b", "a.b/c"):
        assert git.in_the_way(name, {"main", "a/b", "a/c"}) is None
        run_git(path, "branch", name)


def test_a_generated_branch_has_the_date_and_the_prompts_first_words() -> None:
    name = git.generated_branch(
        "Refactor the auth module!\nUse Überschriften, please, everywhere you can", set(), TODAY
    )
    assert name == "mogplex/run/2026-05-17/refactor-the-auth-module-use"
    assert git.generated_branch("   ", set(), TODAY) == "mogplex/run/2026-05-17/run"
    assert git.generated_branch("Fix it", {"mogplex/run/2026-05-17/FIX-it"}, TODAY).endswith("/fix-it-2")


def test_a_generated_branch_finds_room_beside_a_branch_named_mogplex() -> None:
    assert git.generated_branch("fix", {"mogplex"}, TODAY) == "mogplex-run/2026-05-17/fix"
    assert git.generated_branch("fix", {"mogplex", "mogplex-run"}, TODAY) == "mogplex-run-2/2026-05-17/fix"


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ("/etc", "relative"),
        ("C:\\x", "relative"),
        ("\\\\host", "relative"),
        ("~/x", "relative"),
        ("..", "'..'"),
        ("a/../../b", "'..'"),
        ("a\\..\\b", "'..'"),
        (".git", ".git"),
        ("a/.GIT/hooks", ".git"),
        ("a\0b", "printable"),
        ("a\nb", "printable"),
        ("x" * 1_001, "1000"),
    ],
)
def test_a_root_directory_that_leads_elsewhere_is_refused_by_its_text(root: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        git.check_root_directory(root)
    with pytest.raises(ValueError, match=reason):
        git.resolve_root_directory(tmp_path, root)


def test_a_root_directory_is_found_inside_the_worktree_only(tmp_path: Path) -> None:
    top = tmp_path / "tree"
    (top / "pkg" / "web").mkdir(parents=True)
    (top / ".git" / "hooks").mkdir(parents=True)
    (top / "file").touch()
    (top / "inside").symlink_to("pkg/web")
    (top / "out").symlink_to(tmp_path)
    (top / "etc").symlink_to("/etc")
    (top / "hooks").symlink_to(".git/hooks")
    (top / "loop").symlink_to("loop")
    for root in (None, "", ".", "./"):
        assert git.resolve_root_directory(top, root) == top.resolve()
    assert git.resolve_root_directory(top, "pkg//web/") == (top / "pkg/web").resolve()
    assert git.resolve_root_directory(top, "inside") == (top / "pkg/web").resolve()
    for root in ("out", "etc", "hooks", "loop", "missing", "file", "file/x"):
        with pytest.raises(ValueError, match=r"not"):
            git.resolve_root_directory(top, root)


def test_gits_own_verdict_is_what_an_error_says(tmp_path: Path) -> None:
    with pytest.raises(git.GitError, match="not a git repository"):
        git.open_repository(tmp_path)
    with pytest.raises(git.GitError, match="is not a directory"):
        git.open_repository(tmp_path / "missing")
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "new")], check=True)
    with pytest.raises(git.GitError):
        git.head(tmp_path / "new")
