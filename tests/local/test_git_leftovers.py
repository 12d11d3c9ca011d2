"""What an agent leaves, however it left it, ends on the working branch and nowhere else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mogplex_mcp.local import git
from tests.local.project import AUTHOR, Project, make_project


@pytest.fixture(autouse=True)
def _no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "no-gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("EMAIL", raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")


@pytest.fixture
def tree(project: Project, tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    git.add_worktree(project.repository(), path, branch="work", start="main")
    return path


def tip(project: Project, *names: str) -> list[str]:
    """The files of the working branch."""
    return project.git("ls-tree", "-r", "--name-only", "-z", "work", *names).split("\0")[:-1]


def test_changes_additions_and_removals_are_committed_and_a_clean_tree_is_not(project: Project, tree: Path) -> None:
    assert git.commit_leftovers(tree, "left", branch="work") is None
    (tree / "a.txt").unlink()
    names = ["new", "with space", "-dash", "größe", "line\nbreak", "sub/deep"]
    (tree / "sub").mkdir()
    for name in names:
        (tree / name).write_text(name)
    made = git.commit_leftovers(tree, "left", branch="work")
    assert made == project.git("rev-parse", "work")
    assert set(tip(project)) == set(names)
    assert git.commit_leftovers(tree, "left", branch="work") is None


def test_what_the_agent_had_staged_is_committed_and_what_is_ignored_is_not(project: Project, tree: Path) -> None:
    (tree / ".gitignore").write_text("*.log\n")
    (tree / "x.log").write_text("noise")
    (tree / "staged").write_text("s")
    project.git("add", "staged", at=tree)
    git.commit_leftovers(tree, "left", branch="work")
    assert tip(project) == [".gitignore", "a.txt", "staged"]


def test_the_author_is_mogplex_unless_the_person_has_configured_one(project: Project, tree: Path) -> None:
    (tree / "one").touch()
    git.commit_leftovers(tree, "left", branch="work")
    assert project.git("log", "-1", "--format=%an <%ae> %cn", "work") == "Mogplex <mogplex@localhost> Mogplex"
    assert git.identity(tree)["GIT_AUTHOR_NAME"] == "Mogplex"
    project.git("config", "user.name", "Grace")
    project.git("config", "user.email", "grace@example.com")
    (tree / "two").touch()
    git.commit_leftovers(tree, "left", branch="work")
    assert project.git("log", "-1", "--format=%an <%ae> %cn", "work") == "Grace <grace@example.com> Grace"
    assert git.identity(tree) == {}


@pytest.mark.parametrize("message", ["", "x" * 100_000, "# hash\n\n# more", "naïve 🎉", "\ud800 half"])
def test_any_message_is_taken(project: Project, tree: Path, message: str) -> None:
    (tree / "one").touch()
    assert git.commit_leftovers(tree, message, branch="work") is not None
    subject = project.git("log", "-1", "--format=%s", "work")
    assert subject == message.split("\n", maxsplit=1)[0] or "half" in subject


def test_the_locks_of_a_git_that_was_killed_are_in_nobodys_way(project: Project, tree: Path) -> None:
    admin = project.path / ".git" / "worktrees" / "tree"
    (admin / "index.lock").touch()
    (admin / "HEAD.lock").touch()
    (tree / "one").touch()
    assert git.commit_leftovers(tree, "left", branch="work") is not None


def test_a_merge_that_was_left_in_conflict_is_committed(project: Project, tree: Path) -> None:
    (tree / "a.txt").write_text("ours\n")
    project.git("commit", "--quiet", "-am", "ours", at=tree)
    theirs = project.commit("theirs", a_txt="theirs\n")
    merged = subprocess.run(["git", *AUTHOR, "merge", "main"], cwd=tree, capture_output=True, check=False)
    assert merged.returncode == 1
    assert git.commit_leftovers(tree, "left", branch="work") is not None
    assert "<<<<<<<" in project.git("show", "work:a.txt")
    assert theirs in project.git("rev-list", "work").split()
    assert git.commit_leftovers(tree, "left", branch="work") is None


def test_work_on_another_branch_or_on_none_is_brought_to_the_working_branch(project: Project, tree: Path) -> None:
    for number, switch in enumerate((["checkout", "-b", "elsewhere"], ["checkout", "--detach"])):
        project.git(*switch, "--quiet", at=tree)
        (tree / f"{number}").touch()
        git.commit_leftovers(tree, "left", branch="work")
        assert project.git("rev-parse", "work") == git.head(tree), "moved forward"
    assert tip(project) == ["0", "1", "a.txt"]
    assert project.git("rev-parse", "elsewhere") != project.git("rev-parse", "work")


def test_work_that_parted_from_the_working_branch_is_merged_as_it_stands(project: Project, tree: Path) -> None:
    (tree / "on-branch").touch()
    git.commit_leftovers(tree, "kept", branch="work")
    kept = project.git("rev-parse", "work")
    project.git("checkout", "--quiet", "--detach", "main", at=tree)
    (tree / "instead").touch()
    git.commit_leftovers(tree, "left", branch="work")
    assert tip(project) == ["a.txt", "instead"]
    assert project.git("rev-parse", "work^1") == kept
    assert project.git("rev-parse", "work^2") == git.head(tree)
    assert project.git("rev-parse", "main") == project.git("rev-parse", "HEAD")


def test_a_working_branch_that_the_agent_deleted_comes_back(project: Project, tree: Path) -> None:
    project.git("checkout", "--quiet", "--detach", at=tree)
    project.git("branch", "-D", "--quiet", "work")
    (tree / "one").touch()
    git.commit_leftovers(tree, "left", branch="work")
    assert tip(project) == ["a.txt", "one"]


def test_a_history_that_the_agent_began_anew_is_merged_into_the_working_branch(project: Project, tree: Path) -> None:
    project.git("checkout", "--quiet", "--orphan", "fresh", at=tree)
    (tree / "one").touch()
    assert git.commit_leftovers(tree, "left", branch="work") is not None
    assert tip(project) == ["a.txt", "one"]
    assert project.git("merge-base", "main", "work") == project.git("rev-parse", "main")


def test_repositories_that_the_agent_made_inside_are_kept_as_plain_files(project: Project, tree: Path) -> None:
    for name in ("empty", "filled", "none"):
        subprocess.run(["git", "init", "--quiet", str(tree / "apps" / name)], check=True)
        (tree / "apps" / name / "main.py").write_text(name)
    project.git("add", "main.py", at=tree / "apps" / "filled")
    project.git("commit", "--quiet", "-m", "inner", at=tree / "apps" / "filled")
    (tree / "one").touch()
    assert git.commit_leftovers(tree, "left", branch="work") is not None
    assert tip(project) == ["a.txt", "apps/empty/main.py", "apps/filled/main.py", "apps/none/main.py", "one"]


def test_what_cannot_be_read_is_told_and_the_rest_is_committed(project: Project, tree: Path) -> None:
    for name, required in (("crypt", "true"), ("other", "true")):
        project.git("config", f"filter.{name}.clean", "/nowhere/clean")
        project.git("config", f"filter.{name}.required", required)
    (tree / ".gitattributes").write_text("*.secret filter=crypt\n*.guarded filter=other\n")
    for name in ("b.secret", "with space.secret", "c.guarded", "z"):
        (tree / name).write_text(name)
    with pytest.raises(git.GitError, match=r"not everything could be committed: .*clean filter"):
        git.commit_leftovers(tree, "left", branch="work")
    assert tip(project) == [".gitattributes", "a.txt", "z"]


def test_a_worktree_that_points_into_the_persons_checkout_is_refused(
    project: Project, tree: Path, tmp_path: Path
) -> None:
    before = project.state()
    other = make_project(tmp_path / "other")
    other_before = other.state()
    link = tree / ".git"
    original = link.read_bytes()
    for damage in (f"gitdir: {project.path}/.git\n", f"gitdir: {other.path}/.git\n", "gitdir: \n", "", "\0\xff"):
        link.write_text(damage, "latin-1")
        (tree / "one").touch()
        with pytest.raises(git.GitError, match="lost its link"):
            git.commit_leftovers(tree, "left", branch="work")
    link.unlink()
    with pytest.raises(git.GitError, match="lost its link"):
        git.commit_leftovers(tree, "left", branch="work")
    link.symlink_to(other.path / ".git")
    with pytest.raises(git.GitError, match="lost its link"):
        git.commit_leftovers(tree, "left", branch="work")
    assert other.state() == other_before
    link.unlink()
    link.write_bytes(original)
    assert project.state() == before
