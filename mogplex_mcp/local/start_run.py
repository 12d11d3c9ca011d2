"""POST /runs: from a request to a recorded run, or the recorded run of the same key."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from mogplex_mcp.local import git, limits, repos, runs
from mogplex_mcp.local.branches import BranchPlan, plan_branches
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.errors import ApiError, bad_request
from mogplex_mcp.local.git.tree import has_directory
from mogplex_mcp.local.harness import pick_harness
from mogplex_mcp.local.run_request import StartRunBody, canonical_hash, parse_body
from mogplex_mcp.local.runs import NewRun, Run
from mogplex_mcp.settings import Settings

_BRANCH_ATTEMPTS = 5


def start_run(db: Database, settings: Settings, *, key: str, body: dict[str, object], now: int) -> tuple[Run, bool]:
    """Records a pending run for this request, or finds the one that its key made.

    The key is looked up before anything else: what was valid at the first call may not be any more.

    Args:
        db: the database.
        settings: budgets and harnesses.
        key: a checked idempotency key.
        body: the request's JSON object.
        now: milliseconds since 1970.

    Returns:
        The run, and whether it is a replay.

    Raises:
        ApiError: BAD_REQUEST, NOT_FOUND, CONFLICT, IDEMPOTENCY_CONFLICT or RATE_LIMITED.
    """
    body_sha256 = canonical_hash(body)
    with db.read() as connection:
        if known := _replay(connection, key, body_sha256):
            return known, True
    request = parse_body(body)
    for attempt in range(1, _BRANCH_ATTEMPTS + 1):
        new = _prepare(db, settings, request, key=key, body_sha256=body_sha256, now=now)
        try:
            with db.write() as connection:
                # Somebody may have been faster with the same key, or may have removed the repository.
                if known := _replay(connection, key, body_sha256):
                    return known, True
                _repo(connection, new.repo_id)
                if wait := limits.run_start_wait(connection, settings, now):
                    raise ApiError(
                        "RATE_LIMITED", f"Rate limit exceeded: {wait[0]}. Retry after {wait[1]}s.", retry_after=wait[1]
                    )
                return runs.record(connection, new, now), False
        except IntegrityError:
            # Another run took the branch between the look and the insert; look again.
            if attempt == _BRANCH_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _replay(connection: Connection, key: str, body_sha256: str) -> Run | None:
    known = runs.find_by_key(connection, key)
    if known is not None and known.body_sha256 != body_sha256:
        raise ApiError(
            "IDEMPOTENCY_CONFLICT",
            "This Idempotency-Key was used with a different request body. Use the same body or a fresh key.",
        )
    return known


def _prepare(
    db: Database, settings: Settings, request: StartRunBody, *, key: str, body_sha256: str, now: int
) -> NewRun:
    with db.read() as connection:
        repo = _repo(connection, request.repo_id)
        held = {run.working_branch for run in runs.active(connection, repo.id)}
    try:
        repository = git.open_repository(repo.path)
        plan = plan_branches(repository, request, held, datetime.fromtimestamp(now / 1000, UTC).date())
        _check_root_directory(repository, plan, request.root_directory or repo.root_directory)
    except git.GitError as error:
        raise ApiError("CONFLICT", f"The repository {repo.full_name} cannot be used: {error}") from error
    try:
        harness = pick_harness(settings, asked=request.harness, repo_is_demo=repo.is_demo)
    except ValueError as error:
        raise bad_request("harness", str(error)) from error
    if repository.default_branch != repo.default_branch:
        with db.write() as connection:
            repos.note_default_branch(connection, repo, repository.default_branch)
    return NewRun(
        repo_id=repo.id,
        idempotency_key=key,
        body_sha256=body_sha256,
        harness=harness.name,
        prompt=request.prompt,
        base_branch=plan.base,
        working_branch=plan.working,
        create_branch=plan.create,
        branch_note=plan.note,
        root_directory=request.root_directory or repo.root_directory,
        conversation_id=request.conversation_id,
        workspace_session_id=request.workspace_session_id,
        mode=request.mode,
    )


def _repo(connection: Connection, repo_id: str) -> repos.Repo:
    repo = repos.find_repo(connection, repo_id)
    if repo is None:
        raise ApiError("NOT_FOUND", "No repository has this repoId; GET /repos lists them.")
    return repo


def _check_root_directory(repository: git.Repository, plan: BranchPlan, root_directory: str | None) -> None:
    """Looks into the commit the run will start from; nothing is checked out yet."""
    if not root_directory:
        return
    start = git.start_point(repository, plan.working) or git.start_point(repository, plan.base)
    if start is None or not has_directory(repository, start, git.check_root_directory(root_directory)):
        raise bad_request("rootDirectory", f"{plan.base} has no directory of this name inside the repository")
