"""POST /runs: from a request to a recorded run, or the recorded run of the same key."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection

from mogplex_mcp.local import git, limits, repos, runs
from mogplex_mcp.local.branches import Grounds, plan_branches, survey
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.errors import ApiError, bad_request
from mogplex_mcp.local.git.tree import has_directory
from mogplex_mcp.local.harness import Harness, pick_harness
from mogplex_mcp.local.run_request import StartRunBody, canonical_hash, parse_body
from mogplex_mcp.local.runs import NewRun, Run
from mogplex_mcp.settings import Settings


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
    grounds, harness = _examine(db, settings, request)
    with db.write() as connection:
        # Somebody may have been faster with the same key, or may have removed the repository.
        if known := _replay(connection, key, body_sha256):
            return known, True
        repo = _repo(connection, request.repo_id)
        held = {run.working_branch for run in runs.active(connection, repo.id)}
        plan = plan_branches(grounds, request, held, datetime.fromtimestamp(now / 1000, UTC).date())
        if wait := limits.run_start_wait(connection, settings, now):
            budget, seconds = wait
            raise ApiError(
                "RATE_LIMITED", f"Rate limit exceeded: {budget}. Retry after {seconds}s.", retry_after=seconds
            )
        new = NewRun(
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
        return runs.record(connection, new, now), False


def _replay(connection: Connection, key: str, body_sha256: str) -> Run | None:
    known = runs.find_by_key(connection, key)
    if known is not None and known.body_sha256 != body_sha256:
        raise ApiError(
            "IDEMPOTENCY_CONFLICT",
            "This Idempotency-Key was used with a different request body. Use the same body or a fresh key.",
        )
    return known


def _examine(db: Database, settings: Settings, request: StartRunBody) -> tuple[Grounds, Harness]:
    """What takes long and needs no lock: git and the harness."""
    with db.read() as connection:
        repo = _repo(connection, request.repo_id)
    try:
        repository = git.open_repository(repo.path)
        grounds = survey(repository, request)
        _check_root_directory(repository, grounds, request.root_directory or repo.root_directory)
    except git.GitError as error:
        raise ApiError("CONFLICT", f"The repository {repo.full_name} cannot be used: {error}") from error
    try:
        harness = pick_harness(settings, asked=request.harness, repo_is_demo=repo.is_demo)
    except ValueError as error:
        raise bad_request("harness", str(error)) from error
    if repository.default_branch != repo.default_branch:
        with db.write() as connection:
            repos.note_default_branch(connection, repo, repository.default_branch)
    return grounds, harness


def _repo(connection: Connection, repo_id: str) -> repos.Repo:
    repo = repos.find_repo(connection, repo_id)
    if repo is None:
        raise ApiError("NOT_FOUND", "No repository has this repoId; GET /repos lists them.")
    return repo


def _check_root_directory(repository: git.Repository, grounds: Grounds, root_directory: str | None) -> None:
    """Looks into the commit that the run will start from; nothing is checked out yet."""
    if root_directory and not has_directory(repository, grounds.start, git.check_root_directory(root_directory)):
        raise bad_request("rootDirectory", "the branch has no directory of this name inside the repository")
