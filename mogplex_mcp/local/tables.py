"""The tables of the embedded Mogplex. Times are milliseconds since 1970, ids are UUIDs in text.

The schema that is really made stands in ``migrations/``; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, MetaData, Table, Text, text

metadata = MetaData()

TERMINAL_STATUSES = ("success", "failed", "cancelled")
ACTIVE_STATUSES = ("pending", "streaming")

repos = Table(
    "repos",
    metadata,
    Column("id", Text, primary_key=True),
    Column("full_name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("default_branch", Text),
    Column("root_directory", Text),
    Column("is_demo", Boolean, nullable=False),
    Column("created_at", Integer, nullable=False),
    # A removed repository's row stays: its runs refer to it, and a removed demo must not come back.
    Column("removed_at", Integer),
)
Index("repos_name", text("lower(full_name)"), unique=True, sqlite_where=repos.c.removed_at.is_(None))
Index("repos_path", repos.c.path, unique=True, sqlite_where=repos.c.removed_at.is_(None))

tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("prefix", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("is_session", Boolean, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer),
    Column("revoked_at", Integer),
)

sandboxes = Table(
    "sandboxes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sandbox_id", Text),
    Column("repo_id", Text, ForeignKey("repos.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("base_branch", Text, nullable=False),
    Column("working_branch", Text, nullable=False),
    Column("root_directory", Text),
    Column("error", Text),
    Column("created_at", Integer, nullable=False),
    Column("last_active_at", Integer, nullable=False),
)
Index("sandboxes_by_activity", sandboxes.c.last_active_at)

runs = Table(
    "runs",
    metadata,
    # The queue's order; the id is what callers see.
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("ai_call_id", Text, nullable=False),
    Column("sandbox_record_id", Text, ForeignKey("sandboxes.id"), nullable=False),
    Column("repo_id", Text, ForeignKey("repos.id"), nullable=False),
    # One row holds the run and its key, so that both are recorded or neither.
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("body_sha256", Text, nullable=False),
    Column("harness", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("base_branch", Text, nullable=False),
    Column("working_branch", Text, nullable=False),
    Column("create_branch", Boolean, nullable=False),
    Column("branch_note", Text),
    Column("root_directory", Text),
    Column("conversation_id", Text),
    Column("workspace_session_id", Text),
    Column("mode", Text),
    Column("error", Text),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Column("claimed_at", Integer),
    Column("cancel_requested_at", Integer),
    Column("finished_at", Integer),
    # The harness process, for whoever has to clean up after a killed owner.
    Column("pid", Integer),
    Column("pid_created", Text),
    sqlite_autoincrement=True,
)
Index(
    "runs_one_per_branch",
    runs.c.repo_id,
    runs.c.working_branch,
    unique=True,
    sqlite_where=runs.c.status.in_(ACTIVE_STATUSES),
)
Index("runs_queue", runs.c.status, runs.c.sequence)
Index("runs_by_creation", runs.c.created_at)

events = Table(
    "events",
    metadata,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("run_id", Text, ForeignKey("runs.id"), nullable=False),
    Column("type", Text, nullable=False),
    Column("tool_name", Text),
    Column("message", Text),
    Column("payload", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    sqlite_autoincrement=True,
)
Index("events_by_run", events.c.run_id, events.c.sequence)
