"""One runner per data directory: a kernel lock, which dies with the process that holds it."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from mogplex_mcp.local.database import make_private_directory


class RunnerLock:
    """The right to execute runs in a data directory and to listen on its socket."""

    def __init__(self, data_dir: Path) -> None:
        make_private_directory(data_dir)
        # A soft lock would outlive a killed owner; not thread-local, since it is taken and given back off the loop.
        self._lock = FileLock(
            data_dir / "runner.lock", mode=0o600, thread_local=False, fallback_to_soft=False, blocking=False
        )

    def acquire(self) -> bool:
        """Takes the lock if nobody has it; never waits."""
        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    @property
    def held(self) -> bool:
        return self._lock.is_locked

    def release(self) -> None:
        self._lock.release(force=True)
