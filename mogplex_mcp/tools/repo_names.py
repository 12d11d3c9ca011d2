"""Naming a repository like a person: by its id, as ``owner/name``, by its bare name, or by how one of these begins."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from mogplex_mcp.api import MogplexError, Repo
from mogplex_mcp.auth.scopes import TOOLS_READ
from mogplex_mcp.one_line import one_line
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.questions import Question, UndecidedError
from mogplex_mcp.tools.repo_lists import RepoList

MAX_CANDIDATES = 20
MAX_NEAREST = 5
MIN_LIKENESS = 0.5
MAX_SHOWN = 200

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""What an id looks like (Mogplex documentation, /web/api/repos): it needs no look-up."""


@dataclass(frozen=True)
class Match:
    """The repositories that a name may mean.

    Attributes:
        repos: None, one, or several.
        certain: The name says it all: it is not merely how a name begins.
    """

    repos: tuple[Repo, ...] = ()
    certain: bool = False


async def repo_id_of(call: Call, name: str, *, changes: bool) -> str:
    """The id of the repository that the argument ``repoId`` names.

    Args:
        call: Who names it. Without the scope that shows repositories, only ids are understood.
        name: An id, ``owner/name``, a bare name, or how one of the latter two begins; case does not count in names.
        changes: Something will be changed there, so that the beginning of a name is not enough.

    Raises:
        UndecidedError: It may mean several (AMBIGUOUS_REPO), has to be confirmed (likewise), or means none (NOT_FOUND).
        MogplexError: The repositories cannot be read.
    """
    if _UUID.fullmatch(name) or call.caller.missing((TOOLS_READ,)):
        return name
    began = call.repos.now()
    try:
        listed, match = await _look_up(call, name, None)
        if not match.repos:
            # Perhaps it was connected within the last minute.
            listed, match = await _look_up(call, name, began)
    except MogplexError as error:
        if error.code == "FORBIDDEN":
            # A Mogplex token that may start runs but not read: Mogplex knows its ids.
            return name
        raise
    if len(match.repos) == 1 and (match.certain or not changes):
        return match.repos[0].id
    if match.repos:
        raise _ambiguous(name, match)
    if not listed.complete:
        # An id that does not look like one may belong to a repository that was not listed: Mogplex knows.
        return name
    raise _unknown(name, listed.repos)


async def _look_up(call: Call, name: str, since: float | None) -> tuple[RepoList, Match]:
    """The list that was searched, and what was found in it."""
    listed = await call.repos.get(call.api, call.caller.account, since=since)
    match = find(name, listed.repos)
    if listed.complete or (match.certain and match.repos[0].id == name):
        return listed, match
    narrowed = await call.repos.get(call.api, call.caller.account, name, since=since)
    match = find(name, narrowed.repos)
    whole = narrowed.complete or all(repo.full_name.casefold() == name.casefold() for repo in match.repos)
    # Of more repositories than Mogplex shows, others may begin alike.
    return listed, match if whole else Match(match.repos)


def find(name: str, repos: Iterable[Repo]) -> Match:
    """The repositories that a name may mean: those that fit best.

    Args:
        name: As in ``repo_id_of``.
        repos: Those there are.
    """
    wanted = name.casefold()
    repos = tuple(repos)
    full = {repo.id: repo.full_name.casefold() for repo in repos}
    bare = {id_: text.rpartition("/")[2] for id_, text in full.items()}
    for fitting in (
        [repo for repo in repos if repo.id == name],
        [repo for repo in repos if full[repo.id] == wanted],
        [repo for repo in repos if bare[repo.id] == wanted],
    ):
        if fitting:
            return Match(tuple(fitting), certain=True)
    return Match(tuple(repo for repo in repos if full[repo.id].startswith(wanted) or bare[repo.id].startswith(wanted)))


def nearest(name: str, repos: Iterable[Repo]) -> list[Repo]:
    """The repositories whose names are most like this one, the most like first."""
    wanted = name.casefold()
    matcher = SequenceMatcher(b=wanted)
    scored = []
    for repo in repos:
        likeness = 0.0
        full = repo.full_name.casefold()
        for text in (full, full.rpartition("/")[2]):
            matcher.set_seq1(text[:MAX_SHOWN])
            likeness = max(likeness, matcher.ratio())
        if likeness >= MIN_LIKENESS:
            scored.append((likeness, repo))
    return [repo for _, repo in sorted(scored, key=lambda pair: -pair[0])[:MAX_NEAREST]]


def _ambiguous(name: str, match: Match) -> UndecidedError:
    shown = match.repos[:MAX_CANDIDATES]
    if len(match.repos) == 1:
        message = f"{name[:MAX_SHOWN]!r} is only how the name of {_shown(shown[0])} begins."
        suggestion = "Ask the person whether it is meant, then call again with its id as repoId."
        asked = f"{message} Is it meant?"
    else:
        several = f"{len(match.repos)} repositories, the first {len(shown)} of which are listed"
        message = (
            f"{name[:MAX_SHOWN]!r} may mean {'several repositories' if len(shown) == len(match.repos) else several}."
        )
        suggestion = "Ask the person which of the candidates is meant, then call again with its id as repoId."
        asked = f"{message} Which one is meant?"
    error = {
        "code": "AMBIGUOUS_REPO",
        "status": None,
        "message": message,
        "suggestion": f"{suggestion} Candidates: {', '.join(map(_shown, shown))}.",
        "candidates": [_candidate(repo) for repo in shown],
    }
    return UndecidedError(error, Question("repoId", "Repository", asked, choices_of(shown)))


def _unknown(name: str, repos: Iterable[Repo]) -> UndecidedError:
    near = nearest(name, repos)
    names = ", ".join(map(_shown, near))
    error = {
        "code": "NOT_FOUND",
        "status": 404,
        "message": f"No repository of this account is called {name[:MAX_SHOWN]!r}.",
        "suggestion": (
            f"The nearest names are {names}: ask the person which is meant."
            if near
            else "Call mogplex_list_repos to see which repositories there are."
        ),
        "candidates": [_candidate(repo) for repo in near],
    }
    return UndecidedError(error)


def _shown(repo: Repo) -> str:
    """The name as people read it, some of them in a terminal."""
    return one_line(repo.full_name[:MAX_SHOWN])


def _candidate(repo: Repo) -> dict[str, str]:
    return {"id": repo.id[:MAX_SHOWN], "full_name": repo.full_name[:MAX_SHOWN]}


def choices_of(repos: Iterable[Repo]) -> dict[str, str]:
    """What to choose from, and the id behind each; the same name twice is told apart by the id."""
    labels: dict[str, str] = {}
    for repo in repos:
        label = _shown(repo)
        labels[f"{label} ({repo.id[:MAX_SHOWN]})" if label in labels else label] = repo.id
    return labels
