"""The first schema: repos, tokens, sandboxes, runs, events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ACTIVE = sa.text("status IN ('pending', 'streaming')")
PRESENT = sa.text("removed_at IS NULL")


def upgrade() -> None:
    _repos_and_tokens()
    _sandboxes_and_runs()
    _events()
    _guards()


def _repos_and_tokens() -> None:
    op.create_table(
        "repos",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("default_branch", sa.Text),
        sa.Column("root_directory", sa.Text),
        sa.Column("is_demo", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("removed_at", sa.Integer),
    )
    op.create_index("repos_name", "repos", [sa.text("lower(full_name)")], unique=True, sqlite_where=PRESENT)
    op.create_index("repos_path", "repos", ["path"], unique=True, sqlite_where=PRESENT)
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False, unique=True),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("is_session", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Integer),
        sa.Column("revoked_at", sa.Integer),
    )


def _sandboxes_and_runs() -> None:
    op.create_table(
        "sandboxes",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("sandbox_id", sa.Text),
        sa.Column("repo_id", sa.Text, sa.ForeignKey("repos.id"), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("base_branch", sa.Text, nullable=False),
        sa.Column("working_branch", sa.Text, nullable=False),
        sa.Column("root_directory", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("last_active_at", sa.Integer, nullable=False),
    )
    op.create_index("sandboxes_by_activity", "sandboxes", ["last_active_at"])
    op.create_table(
        "runs",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("ai_call_id", sa.Text, nullable=False),
        sa.Column("sandbox_record_id", sa.Text, sa.ForeignKey("sandboxes.id"), nullable=False),
        sa.Column("repo_id", sa.Text, sa.ForeignKey("repos.id"), nullable=False),
        sa.Column("idempotency_key", sa.Text, nullable=False, unique=True),
        sa.Column("body_sha256", sa.Text, nullable=False),
        sa.Column("harness", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("base_branch", sa.Text, nullable=False),
        sa.Column("working_branch", sa.Text, nullable=False),
        sa.Column("create_branch", sa.Boolean, nullable=False),
        sa.Column("branch_note", sa.Text),
        sa.Column("root_directory", sa.Text),
        sa.Column("conversation_id", sa.Text),
        sa.Column("workspace_session_id", sa.Text),
        sa.Column("mode", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.Integer, nullable=False),
        sa.Column("updated_at", sa.Integer, nullable=False),
        sa.Column("claimed_at", sa.Integer),
        sa.Column("cancel_requested_at", sa.Integer),
        sa.Column("finished_at", sa.Integer),
        sa.Column("pid", sa.Integer),
        sa.Column("pid_created", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("runs_one_per_branch", "runs", ["repo_id", "working_branch"], unique=True, sqlite_where=ACTIVE)
    op.create_index("runs_queue", "runs", ["status", "sequence"])
    op.create_index("runs_by_creation", "runs", ["created_at"])


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("tool_name", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("created_at", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_run", "events", ["run_id", "sequence"])


def _guards() -> None:
    """Two promises of the API that no code path may break: terminal stays terminal, events are append-only."""
    op.execute(
        "CREATE TRIGGER runs_terminal_stays_terminal BEFORE UPDATE OF status ON runs"
        " WHEN OLD.status IN ('success', 'failed', 'cancelled') AND NEW.status <> OLD.status"
        " BEGIN SELECT RAISE(ABORT, 'a finished run does not change its status'); END"
    )
    for operation in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER events_no_{operation.lower()} BEFORE {operation} ON events"
            " BEGIN SELECT RAISE(ABORT, 'events are append-only'); END"
        )
