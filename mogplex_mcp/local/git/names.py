"""Names that callers give: branches and directories."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import date
from itertools import chain, count
from pathlib import Path, PurePosixPath

from mogplex_mcp.local.git.command import GitError, run_git

MAX_BRANCH_BYTES = 200
MAX_ROOT_DIRECTORY = 1_000


class InvalidBranch(ValueError):  # noqa: N818 - named for what it says, like its base
    """A branch name that git would not take."""


def check_branch_name(name: str) -> None:
    """Refuse what cannot be a branch.

    Raises:
        InvalidBranch: not a name by ``git check-ref-format``, over 200 bytes, or starting with ``-``.
    """
    if not name or len(name.encode("utf-8", "surrogatepass")) > MAX_BRANCH_BYTES:
        raise InvalidBranch(f"a branch name has 1 to {MAX_BRANCH_BYTES} bytes")
    if name.startswith("-") or name in {"HEAD", "@"} or "\0" in name or not name.isprintable():
        raise InvalidBranch("not a valid git branch name")
    try:
        run_git(Path("/"), "check-ref-format", f"refs/heads/{name}")
    except GitError as error:
        raise InvalidBranch("not a valid git branch name") from error


def in_the_way(name: str, others: Collection[str]) -> str | None:
    """The branch that leaves no room for a new branch ``name``; None when there is room.

    A branch is a file and may be a directory of branches, not both: ``main/x`` cannot exist beside ``main``, nor ``a``
    beside ``a/b`` (git-update-ref, git-pack-refs: directory/file conflict).
    """
    return next((other for other in sorted(others) if _above(other, name) or _above(name, other)), None)


def _above(name: str, other: str) -> bool:
    return other.startswith(f"{name}/")


def generated_branch(prompt: str, taken: set[str], today: date) -> str:
    """``mogplex/run/<date>/<slug>``, the slug made of the prompt's first words, with room beside ``taken``.

    Where a branch such as ``mogplex`` or ``mogplex/run`` leaves no room, it is ``mogplex-run/<date>/<slug>``, or
    ``mogplex-run-2/…`` and so on.
    """
    plain = unicodedata.normalize("NFKD", prompt[:1_000]).encode("ascii", "ignore").decode().lower()
    slug = ""
    for word in re.findall(r"[a-z0-9]+", plain)[:6]:
        slug = f"{slug}-{word[:40]}".strip("-") if len(slug) + len(word) <= 40 else slug
    # Where file names ignore case, branches do too.
    used = {name.casefold() for name in taken}
    prefixes = chain(("mogplex/run", "mogplex-run"), (f"mogplex-run-{number}" for number in count(2)))
    stems = (f"{prefix}/{today.isoformat()}/{slug or 'run'}" for prefix in prefixes)
    stem = next(stem for stem in stems if not any(_above(other, stem) for other in used))
    # A branch below the name is as much in the way as one of the same name: the next number is free of both.
    names = chain((stem,), (f"{stem}-{number}" for number in count(2)))
    return next(name for name in names if name not in used and in_the_way(name, used) is None)


def check_root_directory(root_directory: str) -> PurePosixPath:
    """The relative path that a ``rootDirectory`` means, by its text alone.

    Raises:
        ValueError: it is absolute, climbs (``..``), enters ``.git``, or is longer than 1,000 characters.
    """
    path = PurePosixPath(root_directory)
    if len(root_directory) > MAX_ROOT_DIRECTORY or not (root_directory.isprintable()):
        raise ValueError(f"must be a path of at most {MAX_ROOT_DIRECTORY} printable characters")
    if path.is_absolute() or root_directory.startswith(("\\", "~")) or re.match(r"[A-Za-z]:[\\/]", root_directory):
        raise ValueError("must be relative to the repository")
    if ".." in re.split(r"[\\/]", root_directory):
        raise ValueError("must not contain '..'")
    if any(part.casefold() == ".git" for part in path.parts):
        raise ValueError("must not lie in .git")
    return path


def resolve_root_directory(worktree: Path, root_directory: str | None) -> Path:
    """The directory a run works in.

    Raises:
        ValueError: as `check_root_directory`; or it is missing, not a directory, or a link leads out of the worktree.
    """
    top = worktree.resolve(strict=True)
    if not root_directory:
        return top
    try:
        found = (top / check_root_directory(root_directory)).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise ValueError("is not in the repository") from error
    if not found.is_relative_to(top) or found.is_relative_to(top / ".git"):
        raise ValueError("must not lead out of the repository")
    if not found.is_dir():
        raise ValueError("is not a directory")
    return found
