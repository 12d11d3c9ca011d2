"""The list of sandbox records: one for each run, its worktree (Mogplex documentation, /web/api/sandboxes)."""

from __future__ import annotations

from sqlalchemy import Connection, select

from mogplex_mcp.local.tables import sandboxes
from mogplex_mcp.local.timestamps import iso


def listed(connection: Connection, *, repo_id: str | None, status: str | None, limit: int) -> list[dict[str, object]]:
    """Sandbox records, the most recently active first."""
    query = select(sandboxes).order_by(sandboxes.c.last_active_at.desc(), sandboxes.c.created_at.desc()).limit(limit)
    if repo_id is not None:
        query = query.where(sandboxes.c.repo_id == repo_id)
    if status is not None:
        query = query.where(sandboxes.c.status == status)
    return [
        {
            "id": row["id"],
            "sandbox_id": row["sandbox_id"],
            "repo_id": row["repo_id"],
            "status": row["status"],
            "base_branch": row["base_branch"],
            "working_branch": row["working_branch"],
            "root_directory": row["root_directory"],
            "preview_url": None,
            "created_at": iso(row["created_at"]),
            "last_active_at": iso(row["last_active_at"]),
            "error": row["error"],
        }
        for row in connection.execute(query).mappings()
    ]
