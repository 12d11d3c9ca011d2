"""A run's worktree, in repositories that make it hard; the person's checkout stays as it is."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from mogplex_mcp.local import git
from mogplex_mcp.local.git import command
from tests.local.project import Project, make_project


@pytest.fixture(autouse=True)
def _no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "no-gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tmp_path / "tree"


def hook(project: Project, name: str, script: str) -> None:
    path = project.path / ".git" / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_whole_run_leaves_the_persons_checkout_as_it_was(project: Project, tree: Path) -> None:
    (project.path / "a.txt").write_text("stashed\n")
    project.git("stash", "--quiet")
    (project.path / "staged").write_text("s")
    project.git("add", "staged")
    (project.path / "a.txt").write_text("changed\n")
    (project.path / "untracked").write_text("u")
    before = project.state()
    repo = project.repository()
    git.add_worktree(repo, tree, branch="mogplex/run/x", start="main")
    base = git.head(tree)
    assert (tree / "a.txt").read_text() == "one\n"
    (tree / "a.txt").write_text("by the agent\n")
    (tree / "new").write_text("n")
    made = git.commit_leftovers(tree, "left", branch="mogplex/run/x")
    assert [commit.sha for commit in git.commits_since(tree, base)] == [made]
    git.remove_worktree(repo, tree)
    assert project.state() == before
    assert project.git("show", "mogplex/run/x:a.txt") == "by the agent"


def test_a_branch_is_made_at_a_branch_or_at_a_commit_and_never_twice(project: Project, tmp_path: Path) -> None:
    first = project.git("rev-parse", "main")
    second = project.commit("second")
    repo = project.repository()
    git.add_worktree(repo, tmp_path / "1", branch="at-branch", start="main")
    git.add_worktree(repo, tmp_path / "2", branch="at-commit", start=first)
    assert (git.head(tmp_path / "1"), git.head(tmp_path / "2")) == (second, first)
    with pytest.raises(git.GitError, match="already exists"):
        git.add_worktree(repo, tmp_path / "3", branch="at-branch", start="main")
    with pytest.raises(git.GitError, match=r"already (checked out|used)"):
        git.add_worktree(repo, tmp_path / "3", branch="at-branch", start=None)
    with pytest.raises(git.GitError, match="no branch nowhere"):
        git.add_worktree(repo, tmp_path / "3", branch="new", start="nowhere")
    with pytest.raises(git.GitError, match="no branch missing"):
        git.add_worktree(repo, tmp_path / "3", branch="missing", start=None)
    with pytest.raises(git.InvalidBranch):
        git.add_worktree(repo, tmp_path / "3", branch="--detach", start="main")
    assert not (tmp_path / "3").exists()
    assert "new" not in git.branches(repo)


def test_a_branch_that_only_origin_has_is_checked_out_under_its_name(
    project: Project, tmp_path: Path, tree: Path
) -> None:
    project.git("branch", "theirs")
    clone = Project(tmp_path / "clone")
    project.git("clone", "--quiet", str(project.path), str(clone.path))
    repo = clone.repository()
    assert git.branches(repo) == {"main"}
    before = (clone.path / ".git" / "config").read_bytes()
    git.add_worktree(repo, tree, branch="theirs", start=None)
    assert git.checked_out(repo)["theirs"] == tree
    assert (clone.path / ".git" / "config").read_bytes() == before


def test_hooks_and_settings_of_the_repository_neither_stop_nor_hold_a_run(project: Project, tree: Path) -> None:
    for name in (
        "post-checkout",
        "pre-commit",
        "prepare-commit-msg",
        "commit-msg",
        "post-commit",
        "reference-transaction",
    ):
        hook(project, name, f"echo {name} >> '{project.path}/../hooked'; sleep 30; exit 1")
    for key, value in {
        "core.hooksPath": str(project.path / ".git" / "hooks"),
        "core.fsmonitor": str(project.path / ".git" / "hooks" / "pre-commit"),
        "core.editor": "sleep 30; false",
        "commit.gpgsign": "true",
        "gpg.program": "/nowhere/gpg",
        "user.useConfigOnly": "true",
        "core.safecrlf": "true",
        "core.autocrlf": "input",
        "commit.cleanup": "strip",
        "commit.template": "/nowhere/template",
        "status.showUntrackedFiles": "no",
        "log.showSignature": "true",
        "color.ui": "always",
        "branch.autoSetupMerge": "always",
        "core.pager": "sleep 30",
    }.items():
        project.git("config", key, value)
    config = (project.path / ".git" / "config").read_bytes()
    repo = project.repository()
    began = time.monotonic()
    git.add_worktree(repo, tree, branch="work", start="main")
    base = git.head(tree)
    (tree / "crlf.txt").write_bytes(b"a\r\nb\n")
    assert git.commit_leftovers(tree, "# not a comment\n\nbody", branch="work") is not None
    assert [commit.subject for commit in git.commits_since(tree, base)] == ["# not a comment"]
    git.remove_worktree(repo, tree)
    assert time.monotonic() - began < 20
    assert not (project.path.parent / "hooked").exists()
    assert (project.path / ".git" / "config").read_bytes() == config


def test_large_file_pointers_stay_pointers_where_git_lfs_is_missing(project: Project, tree: Path) -> None:
    project.commit("pointer", big_bin="version https://git-lfs.github.com/spec/v1\n")
    project.commit("attributes", _gitattributes="*.bin filter=lfs -text\n")
    for key in ("smudge", "clean", "process"):
        project.git("config", f"filter.lfs.{key}", "/nowhere/git-lfs")
    project.git("config", "filter.lfs.required", "true")
    repo = project.repository()
    git.add_worktree(repo, tree, branch="work", start="main")
    assert (tree / "big.bin").read_text().startswith("version https://git-lfs")
    (tree / "other").write_text("o")
    (tree / "big.bin").touch()
    assert git.commit_leftovers(tree, "left", branch="work") is not None
    assert project.git("show", "--stat=80", "--format=", "work").split()[0] == "other"


def test_a_filter_that_guards_secrets_is_never_passed_over(project: Project, tree: Path) -> None:
    repo = project.repository()
    git.add_worktree(repo, tree, branch="work", start="main")
    for key, value in {"clean": "/nowhere/git-crypt", "smudge": "cat", "required": "true"}.items():
        project.git("config", f"filter.crypt.{key}", value)
    (tree / ".gitattributes").write_text("secret filter=crypt\n")
    (tree / "secret").write_text("plain text")
    (tree / "other").write_text("o")
    with pytest.raises(git.GitError, match=r"not everything could be committed: .*secret"):
        git.commit_leftovers(tree, "left", branch="work")
    assert project.git("ls-tree", "--name-only", "work").split() == [".gitattributes", "a.txt", "other"]


def test_a_checkout_that_fails_leaves_neither_directory_nor_branch(project: Project, tree: Path) -> None:
    project.commit("attributes", _gitattributes="a.txt filter=crypt\n")
    project.git("config", "filter.crypt.clean", "cat")
    project.git("config", "filter.crypt.smudge", "false")
    project.git("config", "filter.crypt.required", "true")
    before = project.state()
    with pytest.raises(git.GitError, match="smudge filter crypt failed"):
        git.add_worktree(project.repository(), tree, branch="work", start="main")
    assert not tree.exists()
    assert project.state() == before
    assert git.branches(project.repository()) == {"main"}


def test_a_submodule_is_left_alone(project: Project, tmp_path: Path, tree: Path) -> None:
    part = make_project(tmp_path / "part")
    allow = ("-c", "protocol.file.allow=always")
    project.git(*allow, "submodule", "--quiet", "add", str(part.path), "sub")
    project.commit("with a submodule")
    before = project.state()
    repo = project.repository()
    git.add_worktree(repo, tree, branch="work", start="main")
    assert git.commit_leftovers(tree, "left", branch="work") is None
    project.git(*allow, "submodule", "--quiet", "update", "--init", at=tree)
    (tree / "b.txt").write_text("b")
    assert git.commit_leftovers(tree, "left", branch="work") is not None
    git.remove_worktree(repo, tree)
    assert not tree.exists()
    assert project.git("worktree", "list") == before["worktrees"]


def test_removing_works_again_and_again_and_whatever_is_left_of_the_worktree(project: Project, tmp_path: Path) -> None:
    repo = project.repository()
    for damage in ("none", "directory", "link", "record", "read-only", "replaced"):
        tree = tmp_path / damage
        git.add_worktree(repo, tree, branch=f"b-{damage}", start="main")
        match damage:
            case "directory":
                shutil.rmtree(tree)
            case "link":
                (tree / ".git").unlink()
            case "record":
                shutil.rmtree(project.path / ".git" / "worktrees" / damage)
            case "read-only":
                (tree / "cache" / "deep").mkdir(parents=True)
                (tree / "cache" / "deep" / "file").touch()
                (tree / "cache" / "deep").chmod(0o500)
                (tree / "cache").chmod(0o500)
            case "replaced":
                shutil.rmtree(tree)
                tree.symlink_to(project.path)
        git.remove_worktree(repo, tree)
        git.remove_worktree(repo, tree)
        assert not os.path.lexists(tree), damage
        assert git.checked_out(repo) == {"main": project.path}, damage
    assert (project.path / "a.txt").exists()
    assert not list((project.path / ".git").glob("worktrees/*"))


def test_removing_spares_the_persons_own_worktree_on_a_disk_that_is_away(
    project: Project, tmp_path: Path, tree: Path
) -> None:
    project.git("worktree", "add", "--quiet", "-b", "own", str(tmp_path / "own"))
    (tmp_path / "own").rename(tmp_path / "away")
    repo = project.repository()
    git.add_worktree(repo, tree, branch="work", start="main")
    git.remove_worktree(repo, tree)
    (tmp_path / "away").rename(tmp_path / "own")
    assert project.git("status", "--porcelain", at=tmp_path / "own") == ""


def test_a_worktree_is_removed_also_when_its_repository_is_gone(project: Project, tree: Path) -> None:
    repo = project.repository()
    git.add_worktree(repo, tree, branch="work", start="main")
    shutil.rmtree(project.path)
    git.remove_worktree(repo, tree)
    assert not tree.exists()


def test_commits_are_told_oldest_first_with_their_subjects(project: Project, tree: Path) -> None:
    git.add_worktree(project.repository(), tree, branch="work", start="main")
    base = git.head(tree)
    for subject in ("eins", "zwei größer", "d" * 2_000):
        project.git("commit", "--quiet", "--allow-empty", "-m", f"{subject}\n\nbody", at=tree)
    assert [commit.subject for commit in git.commits_since(tree, base)] == ["eins", "zwei größer", "d" * 500]
    for wrong in ("main", "--all", "0" * 40):
        with pytest.raises(git.GitError):
            git.commits_since(tree, wrong)


def test_a_call_that_takes_too_long_is_ended_with_all_it_started(project: Project, tmp_path: Path) -> None:
    project.git("config", "alias.wait", f"!echo $$ > '{tmp_path}/pid'; sleep 600")
    began = time.monotonic()
    with pytest.raises(git.GitError, match=r"took longer than 0\.5 s"):
        command.run_git(project.path, "wait", timeout=0.5)
    assert time.monotonic() - began < 10
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
