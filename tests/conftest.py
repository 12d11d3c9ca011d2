"""Fixtures every test may use."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Asyncio alone: uvicorn runs on nothing else."""
    return "asyncio"
