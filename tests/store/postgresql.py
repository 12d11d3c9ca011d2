"""A real PostgreSQL for the tests: each asks for a database of its own and drops it.

The server is ``MOGPLEX_TEST_POSTGRES``, a URL of somebody who may create databases.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import URL, make_url

SERVER = os.environ.get("MOGPLEX_TEST_POSTGRES", "postgresql://127.0.0.1:5432/postgres")


@contextmanager
def new_database() -> Iterator[URL]:
    """An empty database, dropped at the end whoever is still connected."""
    name = f"mogplex_test_{os.getpid()}_{secrets.token_hex(4)}"
    with psycopg.connect(SERVER, autocommit=True, connect_timeout=10) as server:
        server.execute(f'CREATE DATABASE "{name}"'.encode())
        # Nobody needs these rows after a power cut, and without waiting for the disk the tests take half the time.
        server.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())
        try:
            yield make_url(SERVER).set(database=name)
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
