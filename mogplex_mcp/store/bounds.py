"""How many rows of each kind there may be, and how long each lives. Times in milliseconds."""

from __future__ import annotations

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

CODE_LIFE = 60 * SECOND
ACCESS_LIFE = HOUR
REFRESH_LIFE = 30 * DAY
REFRESH_GRACE = 30 * SECOND
"""How long a spent refresh token gives its successor again, even when that has been used."""
REQUEST_LIFE = 10 * MINUTE
SIGNIN_CODE_LIFE = 10 * MINUTE
SIGNIN_TRIES = 5
"""Wrong codes in any ``SIGNIN_CODE_LIFE``, by whomever."""
UPSTREAM_SIGNIN_LIFE = 10 * MINUTE
SESSION_LIFE = 8 * HOUR
VISIT_LIFE = HOUR
"""Of a session in which nobody has signed in yet."""
DEAD_GRANT_LIFE = 30 * DAY
UNUSED_CREDENTIAL_LIFE = DAY
UNAUTHORIZED_CLIENT_LIFE = 30 * DAY
IDLE_ACCOUNT_LIFE = 30 * DAY
AUDIT_LIFE = 90 * DAY
KNOWN_RUN_LIFE = 90 * DAY
TASK_LIFE = 3 * DAY
"""How long a task can be asked for; what a client is told, and never less."""
USE_NOTED_EVERY = MINUTE

MAX_REQUESTS = 10_000
MAX_SIGNIN_CODES = 20
MAX_UPSTREAM_SIGNINS = 10_000
MAX_VISITS = 100_000
MAX_SESSIONS_PER_ACCOUNT = 50
MAX_GRANTS_PER_ACCOUNT = 500
MAX_UNAUTHORIZED_CLIENTS = 10_000
MAX_UPSTREAM_CLIENTS = 100
MAX_AUDIT_ROWS = 100_000
MAX_KNOWN_RUNS_PER_ACCOUNT = 1_000
MAX_TASKS_PER_ACCOUNT = 1_000
MAX_TEXT = 2_048
"""Characters of a name, label, id or address."""
MAX_DOCUMENT = 65_536
"""Characters of what is kept as JSON."""
