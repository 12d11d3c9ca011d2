"""Fixtures every test may use."""

import os
import signal

import pytest

# Programs that tests start are compiled once, as for their users, and not anew at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell has what it starts in the background ignore Ctrl-C, and the programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores, with ``-n auto``: most tests wait for a process or a socket half of their time."""
    del config
    return (os.cpu_count() or 1) + 1


@pytest.fixture
def anyio_backend() -> str:
    """Asyncio alone: uvicorn runs on nothing else."""
    return "asyncio"
