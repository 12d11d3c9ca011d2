"""Registered repositories: real ones, under good names, never touched."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mogplex_mcp.local import runs
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.repos import DEMO_NAME, RepoError, add_repo, ensure_demo, list_repos, remove_repo
from tests.local.hosting import make_repository, run_git
from tests.local.test_database import recorded


def test_the_top_level_is_registered_from_anywhere_inside(db: Database, data_dir: Path) -> None:
    top = make_repository(data_dir / "project")
    (top / "a" / "b").mkdir(parents=True)
    repo = add_repo(db, top / "a" / "b")
    assert (repo.path, repo.full_name, repo.default_branch) == (top, "local/project", "main")
    assert list_repos(db) == [repo]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@github.com:acme/web.git", "acme/web"),
        ("https://github.com/acme/web", "acme/web"),
        ("https://user:pw@github.com/acme/web.git/", "acme/web"),
        ("ssh://git@github.com:22/acme/we.b.git", "acme/we.b"),
        ("/srv/git/web.git", "local/project"),
        ("../elsewhere", "local/project"),
        ("https://example.com", "local/project"),
    ],
)
def test_the_name_comes_from_origin_or_the_directory(db: Database, data_dir: Path, url: str, name: str) -> None:
    top = make_repository(data_dir / "project")
    run_git(top, "remote", "add", "origin", url)
    assert add_repo(db, top).full_name == name


def test_a_directory_with_an_odd_name_gets_a_plain_one(db: Database, data_dir: Path) -> None:
    assert add_repo(db, make_repository(data_dir / "my project (2)")).full_name == "local/my-project-2"


@pytest.mark.parametrize(
    "name", ["web", "a/b/c", "/b", "a/", "a/..", "../b", "a b/c", "a/" + "b" * 101, "-a/b", "a/b\n"]
)
def test_a_name_is_owner_and_name(db: Database, data_dir: Path, name: str) -> None:
    with pytest.raises(RepoError, match="owner/name"):
        add_repo(db, make_repository(data_dir / "project"), name)


def test_what_is_no_repository_is_refused(db: Database, data_dir: Path) -> None:
    (data_dir / "plain").mkdir()
    with pytest.raises(RepoError, match="cannot be added"):
        add_repo(db, data_dir / "plain")


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines"])
def test_a_path_that_cannot_be_shown_is_refused(db: Database, data_dir: Path, name: bytes) -> None:
    with pytest.raises(RepoError, match="cannot be shown"):
        add_repo(db, make_repository(data_dir / os.fsdecode(name)))


def test_path_and_name_are_registered_once(db: Database, data_dir: Path) -> None:
    top = make_repository(data_dir / "project")
    add_repo(db, top, "Acme/Web")
    with pytest.raises(RepoError, match="registered already, as Acme/Web"):
        add_repo(db, top, "other/name")
    with pytest.raises(RepoError, match="choose a name with --name"):
        add_repo(db, make_repository(data_dir / "second"), "acme/WEB")


def test_a_removed_repository_stays_on_disk_and_may_come_back(db: Database, data_dir: Path) -> None:
    top = make_repository(data_dir / "project")
    first = add_repo(db, top)
    assert remove_repo(db, "LOCAL/project") == first
    assert list_repos(db) == []
    assert run_git(top, "status", "--porcelain") == ""
    assert add_repo(db, top).id != first.id
    with pytest.raises(RepoError, match="No repository"):
        remove_repo(db, first.id)


def test_a_repository_with_unfinished_runs_is_not_removed(db: Database, data_dir: Path) -> None:
    run = recorded(db, data_dir)
    with pytest.raises(RepoError, match="unfinished"):
        remove_repo(db, run.repo_id)
    with db.write() as connection:
        runs.finish(connection, run, status="success", error=None, payload={}, now=2_000)
    remove_repo(db, run.repo_id)


def test_the_demo_is_made_once_and_does_not_come_back(db: Database, data_dir: Path) -> None:
    demo = ensure_demo(db, data_dir)
    assert demo is not None
    assert (demo.full_name, demo.is_demo, demo.default_branch) == (DEMO_NAME, True, "main")
    assert ensure_demo(db, data_dir) is None
    remove_repo(db, DEMO_NAME)
    assert ensure_demo(db, data_dir) is None
    assert demo.path.is_dir()


def test_whoever_has_a_repository_gets_no_demo(db: Database, data_dir: Path) -> None:
    add_repo(db, make_repository(data_dir / "project"))
    assert ensure_demo(db, data_dir) is None


def test_the_demo_is_made_once_by_several_at_once(db: Database, data_dir: Path) -> None:
    made = []
    threads = [threading.Thread(target=lambda: made.append(ensure_demo(db, data_dir))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 4
    assert len([repo for repo in made if repo is not None]) == 1
