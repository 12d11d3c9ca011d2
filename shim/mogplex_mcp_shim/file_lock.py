"""A lock between processes that the kernel gives back when its holder ends, however it ends."""

from __future__ import annotations

import os
import sys
import time

_POLL = 0.02  # s
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)

if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock:
    """An exclusive lock on one file. The file stays where it is: removing it would make two locks of one.

    Every object opens the file for itself, so that two of them exclude each other within one process too.
    """

    __slots__ = ("_fd", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd: int | None = None

    @classmethod
    def adopt(cls, path: str, fd: int) -> FileLock:
        """Take over a lock that the parent process holds through `fd` (POSIX only)."""
        lock = cls(path)
        os.set_inheritable(fd, False)  # a browser started from here must not hold the lock
        lock._fd = fd
        return lock

    @property
    def fd(self) -> int:
        """The descriptor through which the lock is held, to be passed to a child process."""
        if self._fd is None:
            raise RuntimeError("the lock is not held")
        return self._fd

    def try_acquire(self) -> bool:
        """Take the lock if nobody holds it. Raises OSError when the file cannot be opened."""
        fd = os.open(self._path, _FLAGS, 0o600)
        try:
            _lock(fd)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def acquire(self, timeout: float) -> bool:
        """Wait at most `timeout` s for the lock; False when it was not to be had."""
        deadline = time.monotonic() + timeout
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        return True

    def wait(self, timeout: float) -> bool:
        """Like `acquire`, for long waits: the kernel wakes us where it can, without polling."""
        if sys.platform == "win32":
            return self.acquire(timeout)
        fd = os.open(self._path, _FLAGS, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock back; a child that inherited the descriptor keeps it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
