"""Runs and their sandbox records in the database; every change of state is one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from sqlalchemy import Connection, insert, or_, select, update

from mogplex_mcp.local import events as event_log
from mogplex_mcp.local.events import NewEvent
from mogplex_mcp.local.sanitize import MAX_STRING, clean_text
from mogplex_mcp.local.tables import ACTIVE_STATUSES, TERMINAL_STATUSES, runs, sandboxes
from mogplex_mcp.local.timestamps import iso

API = "/api/v1/mogplex"


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that was found good, before it is recorded."""

    repo_id: str
    idempotency_key: str
    body_sha256: str
    harness: str
    prompt: str
    base_branch: str
    working_branch: str
    create_branch: bool
    branch_note: str | None
    root_directory: str | None
    conversation_id: str | None
    workspace_session_id: str | None
    mode: str | None


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it stands in the database."""

    sequence: int
    id: str
    ai_call_id: str
    sandbox_record_id: str
    sandbox_id: str | None
    repo_id: str
    body_sha256: str
    harness: str
    prompt: str
    status: str
    base_branch: str
    working_branch: str
    create_branch: bool
    branch_note: str | None
    root_directory: str | None
    error: str | None
    created_at: int
    updated_at: int
    claimed_at: int | None
    cancel_requested_at: int | None
    pid: int | None
    pid_created: str | None

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL_STATUSES

    def detail(self) -> dict[str, object]:
        """The run as the API shows it (Mogplex documentation, /web/api/runs)."""
        branch: dict[str, object] = {
            "base": self.base_branch,
            "working": self.working_branch,
            "createBranch": self.create_branch,
        }
        if self.branch_note is not None:
            branch["note"] = self.branch_note
        return {
            "runId": self.id,
            "aiCallId": self.ai_call_id,
            "sandboxRecordId": self.sandbox_record_id,
            "sandboxId": self.sandbox_id,
            "repoId": self.repo_id,
            "harness": self.harness,
            "status": self.status,
            "branch": branch,
            "rootDirectory": self.root_directory,
            "eventsUrl": f"{API}/runs/{self.id}/events",
            "cancelUrl": f"{API}/runs/{self.id}/cancel",
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.updated_at),
            "error": self.error,
            "runtime": {"provider": "local", "runId": self.id},
        }


_COLUMNS = [(sandboxes if field.name == "sandbox_id" else runs).c[field.name] for field in fields(Run)]
_SELECT = select(*_COLUMNS).join(sandboxes, sandboxes.c.id == runs.c.sandbox_record_id)


def find(connection: Connection, run_id: str) -> Run | None:
    row = connection.execute(_SELECT.where(runs.c.id == run_id)).mappings().first()
    return None if row is None else Run(**row)


def find_by_key(connection: Connection, idempotency_key: str) -> Run | None:
    row = connection.execute(_SELECT.where(runs.c.idempotency_key == idempotency_key)).mappings().first()
    return None if row is None else Run(**row)


def get(connection: Connection, run_id: str) -> Run:
    """A run that is known to exist."""
    return Run(**connection.execute(_SELECT.where(runs.c.id == run_id)).mappings().one())


def active(connection: Connection, repo_id: str | None = None) -> list[Run]:
    """The runs that are pending or streaming, oldest first."""
    query = _SELECT.where(runs.c.status.in_(ACTIVE_STATUSES)).order_by(runs.c.sequence)
    if repo_id is not None:
        query = query.where(runs.c.repo_id == repo_id)
    return [Run(**row) for row in connection.execute(query).mappings()]


def record(connection: Connection, new: NewRun, now: int) -> Run:
    """Inserts a pending run with its sandbox record.

    Raises:
        sqlalchemy.exc.IntegrityError: the idempotency key is taken, or another active run has the working branch.
    """
    run_id, sandbox_record_id = str(uuid.uuid4()), str(uuid.uuid4())
    connection.execute(
        insert(sandboxes).values(
            id=sandbox_record_id,
            repo_id=new.repo_id,
            status="pending",
            base_branch=new.base_branch,
            working_branch=new.working_branch,
            root_directory=new.root_directory,
            created_at=now,
            last_active_at=now,
        )
    )
    values = {field.name: getattr(new, field.name) for field in fields(new)}
    connection.execute(
        insert(runs).values(
            id=run_id,
            ai_call_id=str(uuid.uuid4()),
            sandbox_record_id=sandbox_record_id,
            status="pending",
            created_at=now,
            updated_at=now,
            **values,
        )
    )
    if new.branch_note is not None:
        note = NewEvent("log", new.branch_note, payload={"base": new.base_branch, "working": new.working_branch})
        event_log.append(connection, run_id, [note], now)
    return get(connection, run_id)


def claim_next(connection: Connection, now: int) -> Run | None:
    """Takes the oldest waiting run out of the queue; no other call gets the same one."""
    waiting = runs.c.status == "pending", runs.c.claimed_at.is_(None)
    oldest = select(runs.c.sequence).where(*waiting).order_by(runs.c.sequence).limit(1).scalar_subquery()
    statement = update(runs).where(runs.c.sequence == oldest, *waiting).values(claimed_at=now).returning(runs.c.id)
    run_id = connection.execute(statement).scalar()
    return None if run_id is None else get(connection, run_id)


def mark_sandbox_running(connection: Connection, run: Run, sandbox_id: str, now: int) -> None:
    """The worktree is there."""
    statement = update(sandboxes).where(sandboxes.c.id == run.sandbox_record_id)
    connection.execute(statement.values(status="running", sandbox_id=sandbox_id, last_active_at=now))


def mark_streaming(connection: Connection, run: Run, pid: int, pid_created: float, now: int) -> None:
    """The harness has started. Its process is kept with its creation time, since a pid alone may be another's later."""
    statement = update(runs).where(runs.c.id == run.id, runs.c.status == "pending")
    # As text: a float that went through the database must compare equal.
    connection.execute(statement.values(status="streaming", pid=pid, pid_created=repr(pid_created), updated_at=now))


def append_events(connection: Connection, run: Run, new: Iterable[NewEvent], now: int) -> int:
    """Appends events and notes the activity; returns the bytes of text they take."""
    size = event_log.append(connection, run.id, new, now)
    connection.execute(update(runs).where(runs.c.id == run.id).values(updated_at=now))
    connection.execute(update(sandboxes).where(sandboxes.c.id == run.sandbox_record_id).values(last_active_at=now))
    return size


def finish(
    connection: Connection, run: Run, *, status: str, error: str | None, payload: Mapping[str, object], now: int
) -> Run:
    """Ends a run, once: a run that has ended already is returned as it is.

    A run whose cancellation was promised ends as ``cancelled``, however its harness ended in the meantime.
    """
    current = get(connection, run.id)
    if current.terminal:
        return current
    if current.cancel_requested_at is not None:
        status, error = "cancelled", error if status == "cancelled" else None
    error = None if error is None else clean_text(error, MAX_STRING)
    statement = update(runs).where(runs.c.id == run.id, runs.c.status.in_(ACTIVE_STATUSES))
    connection.execute(
        statement.values(status=status, error=error, updated_at=now, finished_at=now, pid=None, pid_created=None)
    )
    _close_sandbox(connection, run, "error" if status == "failed" else "stopped", error, now)
    kind, message = {
        "success": ("finished", "Run finished"),
        "failed": ("failed", error or "Run failed"),
        "cancelled": ("cancelled", f"Run cancelled. {error or ''}".strip()),
    }[status]
    event_log.append(connection, run.id, [NewEvent(kind, message, payload={"status": status, **payload})], now)
    return get(connection, run.id)


def request_cancel(connection: Connection, run_id: str, now: int) -> tuple[Run, bool] | None:
    """Notes that a run is to be cancelled; one that is still waiting ends here and now.

    Returns:
        None for an unknown run, else the run and whether it had ended before. Calling it again changes nothing.
    """
    run = find(connection, run_id)
    if run is None:
        return None
    if run.terminal or run.cancel_requested_at is not None:
        return run, run.terminal
    unasked = (
        runs.c.id == run_id,
        runs.c.cancel_requested_at.is_(None),
        or_(*[runs.c.status == s for s in ACTIVE_STATUSES]),
    )
    connection.execute(update(runs).where(*unasked).values(cancel_requested_at=now, updated_at=now))
    event_log.append(connection, run_id, [NewEvent("cancel_requested", "Cancellation requested")], now)
    if run.claimed_at is None:
        return finish(connection, run, status="cancelled", error=None, payload={}, now=now), False
    return get(connection, run_id), False


def _close_sandbox(connection: Connection, run: Run, status: str, error: str | None, now: int) -> None:
    statement = update(sandboxes).where(sandboxes.c.id == run.sandbox_record_id)
    connection.execute(statement.values(status=status, error=error, last_active_at=now))
