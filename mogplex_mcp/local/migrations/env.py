"""What Alembic runs: the caller (``local/database.py``) hands over an open connection inside its own transaction."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
