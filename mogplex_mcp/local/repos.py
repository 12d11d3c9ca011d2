"""The repositories that runs may work in: git repositories on this machine, registered by their owner."""

from __future__ import annotations

import re
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Connection, RowMapping, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from mogplex_mcp.local import git, runs
from mogplex_mcp.local.database import Database, make_private_directory
from mogplex_mcp.local.demo import create_demo_repository
from mogplex_mcp.local.git.tree import origin_url
from mogplex_mcp.local.tables import repos
from mogplex_mcp.local.timestamps import now_ms

DEMO_NAME = "demo/hello"

_DEMO_WAIT = 60.0
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_NAME = re.compile(rf"(?P<owner>{_PART})/(?P<name>{_PART})")
_REMOTE = re.compile(rf"[/:](?P<owner>{_PART})/(?P<name>{_PART}?)(?:\.git)?/?$")


class RepoError(ValueError):
    """A repository cannot be added, found or removed; the message is for the person who asked."""


@dataclass(frozen=True, slots=True)
class Repo:
    """A registered repository."""

    id: str
    full_name: str
    path: Path
    default_branch: str | None
    root_directory: str | None
    is_demo: bool

    def detail(self) -> dict[str, object]:
        """The repository as the API shows it (Mogplex documentation, /web/api/repos)."""
        return {
            "id": self.id,
            "full_name": self.full_name,
            "default_branch": self.default_branch,
            "root_directory": self.root_directory,
        }


_COLUMNS = [repos.c[name] for name in ("id", "full_name", "path", "default_branch", "root_directory", "is_demo")]
_PRESENT = repos.c.removed_at.is_(None)


def add_repo(db: Database, path: Path, name: str | None = None, *, is_demo: bool = False) -> Repo:
    """Registers the git repository that ``path`` lies in.

    Args:
        db: the database.
        path: any directory of the repository; its top level is what is registered.
        name: ``owner/name``. Unset, taken from the remote ``origin``, else ``local/<directory>``.
        is_demo: whether it is the bundled demonstration.

    Raises:
        RepoError: it is no git repository, the name is not ``owner/name``, or path or name are registered already.
    """
    try:
        repository = git.open_repository(path)
        full_name = name or _name_from_origin(origin_url(repository)) or _name_from_directory(repository.path)
    except git.GitError as error:
        raise RepoError(f"{path} cannot be added: {error}") from error
    if not str(repository.path).isprintable():
        raise RepoError(f"{str(repository.path)!r} cannot be added: its path has characters that cannot be shown.")
    if _NAME.fullmatch(full_name) is None:
        raise RepoError(f"{full_name!r} is not a name like owner/name; give one with --name.")
    repo = Repo(str(uuid.uuid4()), full_name, repository.path, repository.default_branch, None, is_demo)
    try:
        with db.write() as connection:
            connection.execute(
                insert(repos).values(
                    id=repo.id,
                    full_name=full_name,
                    path=str(repo.path),
                    default_branch=repo.default_branch,
                    is_demo=is_demo,
                    created_at=now_ms(),
                )
            )
    except IntegrityError as error:
        raise RepoError(_duplicate(db, repo)) from error
    return repo


def _duplicate(db: Database, wanted: Repo) -> str:
    for repo in list_repos(db):
        if repo.path == wanted.path:
            return f"{repo.path} is registered already, as {repo.full_name}."
    return f"Another repository is registered as {wanted.full_name}; choose a name with --name."


def _name_from_origin(url: str | None) -> str | None:
    """``owner/name`` of an address like ``git@github.com:owner/name.git``; a path or a deeper address has none."""
    if url is None or ("://" not in url and not re.match(r"[\w.-]+@[\w.-]+:", url)):
        return None
    match = _REMOTE.search(url)
    return f"{match['owner']}/{match['name']}" if match and "://" not in match["owner"] else None


def _name_from_directory(path: Path) -> str:
    name = path.name.removesuffix(".git") or path.parent.name
    return "local/" + (re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:100] or "repository")


def list_repos(db: Database, *, query: str | None = None, limit: int | None = None) -> list[Repo]:
    """The registered repositories by name; ``query`` is a case-insensitive substring of the name."""
    statement = select(*_COLUMNS).where(_PRESENT).order_by(func.lower(repos.c.full_name)).limit(limit)
    if query:
        statement = statement.where(repos.c.full_name.icontains(query, autoescape=True))
    with db.read() as connection:
        return [_repo(row) for row in connection.execute(statement).mappings()]


def find_repo(connection: Connection, repo_id: str) -> Repo | None:
    """A registered repository by its id."""
    row = connection.execute(select(*_COLUMNS).where(_PRESENT, repos.c.id == repo_id)).mappings().first()
    return None if row is None else _repo(row)


def path_of(connection: Connection, repo_id: str) -> Path:
    """Where a repository lies, or lay when it was registered; runs outlive its registration."""
    return Path(connection.execute(select(repos.c.path).where(repos.c.id == repo_id)).scalar_one())


def note_default_branch(connection: Connection, repo: Repo, default_branch: str | None) -> None:
    """Keeps the list true after the repository's default branch has changed."""
    if default_branch != repo.default_branch:
        connection.execute(update(repos).where(repos.c.id == repo.id).values(default_branch=default_branch))


def remove_repo(db: Database, which: str) -> Repo:
    """Takes a repository, named by id or name, off the list. Its directory is never touched.

    Raises:
        RepoError: there is none of that name, or runs are waiting or working in it.
    """
    with db.write() as connection:
        named = or_(repos.c.id == which, func.lower(repos.c.full_name) == which.lower())
        row = connection.execute(select(*_COLUMNS).where(_PRESENT, named)).mappings().first()
        if row is None:
            raise RepoError(f"No repository {which!r} is registered.")
        repo = _repo(row)
        if busy := runs.active(connection, repo.id):
            raise RepoError(f"{repo.full_name} has {len(busy)} unfinished run(s); cancel them first.")
        connection.execute(update(repos).where(repos.c.id == repo.id).values(removed_at=now_ms()))
        return repo


def ensure_demo(db: Database, data_dir: Path) -> Repo | None:
    """Makes and registers ``demo/hello`` if no repository is registered; returns it if so.

    A demo that was removed does not come back.
    """
    if not _demo_wanted(db):
        return None
    path = data_dir / "repos" / DEMO_NAME
    make_private_directory(path.parent)
    with FileLock(data_dir / "demo.lock", timeout=_DEMO_WAIT, mode=0o600, fallback_to_soft=False):
        if not _demo_wanted(db):
            return None
        if not path.exists():
            # Made aside and moved: a half-made one must not be taken for it.
            building = Path(tempfile.mkdtemp(dir=path.parent))
            try:
                create_demo_repository(building / "hello")
                (building / "hello").rename(path)
            finally:
                shutil.rmtree(building)
        return add_repo(db, path, DEMO_NAME, is_demo=True)


def _demo_wanted(db: Database) -> bool:
    with db.read() as connection:
        # The row of a removed demo stays, and tells that there was one.
        return connection.execute(select(repos.c.id).where(or_(_PRESENT, repos.c.is_demo)).limit(1)).first() is None


def _repo(row: RowMapping) -> Repo:
    return Repo(**{**row, "path": Path(row["path"])})
