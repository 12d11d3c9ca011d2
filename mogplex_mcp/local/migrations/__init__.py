"""The schema's history, run by Alembic (``store/migrations/env.py``) when a database is opened."""
