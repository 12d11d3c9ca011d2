"""What is learnt of a person's repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from mogplex_mcp.local import git
from tests.local.project import Project, make_project


@pytest.fixture(autouse=True)
def _no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "no-gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.mark.parametrize("name", ["plain", "with space", "größe", "-dash", "line\nbreak", "quote'\"$"])
def test_a_repository_is_opened_from_any_directory_inside_it_whatever_its_name(tmp_path: Path, name: str) -> None:
    project = make_project(tmp_path / name)
    (project.path / "deep" / "er").mkdir(parents=True)
    for path in (project.path, project.path / "deep" / "er"):
        repo = git.open_repository(path)
        assert (repo.path, repo.git_dir) == (project.path, project.path / ".git")
        assert (repo.default_branch, repo.bare) == ("main", False)
    assert git.checked_out(repo) == {"main": project.path}
    git.add_worktree(repo, tmp_path / f"{name} tree", branch="work", start="main")
    assert git.checked_out(repo) == {"main": project.path, "work": tmp_path / f"{name} tree"}
    git.remove_worktree(repo, tmp_path / f"{name} tree")
    assert git.checked_out(repo) == {"main": project.path}
    assert git.branches(repo) == {"main", "work"}


def test_variables_that_point_git_elsewhere_are_not_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, other = make_project(tmp_path / "one"), make_project(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert git.open_repository(project.path).git_dir == project.path / ".git"


def test_the_default_branch_is_what_origin_says_else_what_is_checked_out(tmp_path: Path) -> None:
    origin = make_project(tmp_path / "origin")
    origin.git("branch", "-m", "trunk")
    clone = Project(tmp_path / "clone")
    origin.git("clone", "--quiet", str(origin.path), str(clone.path))
    clone.git("checkout", "--quiet", "-b", "topic")
    assert clone.repository().default_branch == "trunk"
    assert git.start_point(clone.repository(), "trunk") == origin.git("rev-parse", "trunk")
    clone.git("branch", "-D", "--quiet", "trunk")
    assert clone.repository().default_branch == "trunk", "origin's is there still"
    clone.git("remote", "remove", "origin")
    assert clone.repository().default_branch == "topic"


def test_the_default_branch_of_a_detached_head_is_main_or_master_or_unknown(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    project.git("checkout", "--quiet", "--detach")
    assert project.repository().default_branch == "main"
    assert git.checked_out(project.repository()) == {}
    project.git("branch", "-m", "main", "master")
    assert project.repository().default_branch == "master"
    project.git("branch", "-m", "master", "other")
    assert project.repository().default_branch is None


def test_a_repository_without_commits_has_no_default_branch(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.git("init", "--quiet", "--initial-branch=main")
    repo = project.repository()
    assert (repo.default_branch, git.branches(repo), git.checked_out(repo)) == (None, set(), {})
    assert git.start_point(repo, "main") is None


def test_a_bare_repository_has_branches_and_none_checked_out(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    project.git("clone", "--quiet", "--bare", str(project.path), str(tmp_path / "bare.git"))
    repo = git.open_repository(tmp_path / "bare.git")
    assert (repo.bare, repo.path, repo.default_branch) == (True, tmp_path / "bare.git", "main")
    assert git.checked_out(repo) == {}
    git.add_worktree(repo, tmp_path / "tree", branch="main", start=None)
    assert git.checked_out(repo) == {"main": tmp_path / "tree"}
    (tmp_path / "tree" / "b.txt").write_text("b")
    assert git.commit_leftovers(tmp_path / "tree", "left", branch="main") == git.start_point(repo, "main")


def test_a_tag_of_the_same_name_is_not_the_branch(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    project.git("tag", "topic")
    project.git("branch", "topic")
    project.git("checkout", "--quiet", "topic")
    newest = project.commit("second")
    project.git("checkout", "--quiet", "main")
    repo = project.repository()
    assert git.start_point(repo, "topic") == newest
    git.add_worktree(repo, tmp_path / "tree", branch="topic", start=None)
    assert git.head(tmp_path / "tree") == newest
    assert git.checked_out(repo)["topic"] == tmp_path / "tree"


def test_a_submodule_checkout_is_a_repository_of_its_own(tmp_path: Path) -> None:
    part, project = make_project(tmp_path / "part"), make_project(tmp_path / "whole")
    project.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part.path), "sub")
    project.commit("with a submodule")
    sub = git.open_repository(project.path / "sub")
    assert sub.path == project.path / "sub"
    git.add_worktree(sub, tmp_path / "sub-tree", branch="work", start="main")
    (tmp_path / "sub-tree" / "a.txt").write_text("changed\n")
    assert git.commit_leftovers(tmp_path / "sub-tree", "left", branch="work")
    git.remove_worktree(sub, tmp_path / "sub-tree")
    assert (project.path / "sub" / "a.txt").read_text() == "one\n"
