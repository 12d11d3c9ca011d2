"""Which branch a run works on (Mogplex documentation, /web/api/runs: baseBranch, workingBranch, createBranch)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mogplex_mcp.local import git
from mogplex_mcp.local.errors import ApiError, bad_request
from mogplex_mcp.local.run_request import StartRunBody


@dataclass(frozen=True, slots=True)
class Grounds:
    """What git says about a request; ``start`` is the commit that the run will begin at."""

    base: str
    branches: frozenset[str]
    checked_out: dict[str, Path]
    start: str
    working_exists: bool


@dataclass(frozen=True, slots=True)
class BranchPlan:
    """``working`` is made from ``base`` when the run starts, unless it is there; ``note`` says what nobody chose."""

    base: str
    working: str
    create: bool
    note: str | None = None


def survey(repository: git.Repository, request: StartRunBody) -> Grounds:
    """Asks git what the decision needs.

    Raises:
        ApiError: BAD_REQUEST; the base branch is not there.
        GitError: git fails.
    """
    base = request.base_branch or repository.default_branch
    existing = git.branches(repository)
    start = None if base is None else git.start_point(repository, base)
    if base is None or start is None:
        raise _no_base(request, base, existing)
    working = None if request.working_branch is None else git.start_point(repository, request.working_branch)
    return Grounds(base, frozenset(existing), git.checked_out(repository), working or start, working is not None)


def plan_branches(grounds: Grounds, request: StartRunBody, held: set[str], today: date) -> BranchPlan:
    """Decides where a run's commits go. Call it in the transaction that records the run, where ``held`` stays true.

    Args:
        grounds: what git says.
        request: what the caller asked for.
        held: working branches of unfinished runs in this repository.
        today: goes into a generated name.

    Raises:
        ApiError: CONFLICT when a branch that was named is in use; BAD_REQUEST when it is not there, or cannot be there
            beside another one.
    """
    base, working = grounds.base, request.working_branch
    others = set(grounds.branches) | held
    if working is None:
        reason = _why_not(base, grounds, held)
        if reason is None and not request.create_branch:
            return BranchPlan(base, base, create=False)
        generated = git.generated_branch(request.prompt, others, today)
        note = f"{base} {reason}, so this run works on the new branch {generated}."
        return BranchPlan(base, generated, create=True, note=None if request.create_branch else note)
    if working not in others and (other := git.in_the_way(working, others)):
        raise bad_request("workingBranch", f"{working} cannot exist beside the branch {other}; choose another name")
    if working in grounds.checked_out or working in held:
        advice = "leave workingBranch out" if request.create_branch else "call again with createBranch: true"
        if not request.create_branch:
            advice += " and without this workingBranch"
        raise ApiError("CONFLICT", f"workingBranch: {working} is {_where(working, grounds)}; {advice}.")
    if not request.create_branch and not grounds.working_exists:
        raise bad_request(
            "workingBranch", f"there is no branch {working}; call again with createBranch: true to make it"
        )
    return BranchPlan(base, working, create=bool(request.create_branch))


def _why_not(base: str, grounds: Grounds, held: set[str]) -> str | None:
    """Why no run can work on the base branch itself, if so. A base that only origin has is yet to be made here."""
    if base in grounds.checked_out or base in held:
        return f"is {_where(base, grounds)}"
    if base not in grounds.branches and (other := git.in_the_way(base, grounds.branches | held)):
        return f"cannot exist here beside the branch {other}"
    return None


def _where(branch: str, grounds: Grounds) -> str:
    path = grounds.checked_out.get(branch)
    return "the working branch of another unfinished run" if path is None else f"checked out in {path}"


def _no_base(request: StartRunBody, base: str | None, existing: set[str]) -> ApiError:
    if not existing:
        return bad_request("repoId", "this repository has no commits yet; make a first commit, then call again")
    if request.base_branch is None:
        return bad_request("baseBranch", "this repository has no default branch; name one of its branches")
    return bad_request("baseBranch", f"there is no branch {base} in this repository")
