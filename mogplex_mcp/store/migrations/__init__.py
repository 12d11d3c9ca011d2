"""The schema's history, run by Alembic when a database is opened; `env.py` here serves every schema of the program."""
