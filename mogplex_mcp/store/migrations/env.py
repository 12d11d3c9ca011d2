"""What Alembic runs: the caller (``store/database.py``) hands over an open connection inside its own transaction."""

from __future__ import annotations

from alembic import context

_given = context.config.attributes
context.configure(connection=_given["connection"], version_table=_given["version_table"], transactional_ddl=False)
context.run_migrations()
