"""Threads that run jobs, kept for the next ones: a thread's start costs more than a call may take."""

from __future__ import annotations

import threading
from queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Job = Callable[[], None]

SPARE = 4
"""Idle threads kept."""

STACK = 512 * 1024


class Workers:
    """A bounded number of threads. Jobs beyond it wait, and those who submit them, when too many do."""

    def __init__(self, limit: int, waiting: int) -> None:
        """Make none yet.

        Args:
            limit: The most threads.
            waiting: Jobs that may wait before :meth:`submit` does.
        """
        threading.stack_size(STACK)
        self._limit = limit
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._spare = 0
        self._threads = 0
        self._backlog = 0
        self._room = threading.Semaphore(limit + waiting)

    def submit(self, job: Job) -> None:
        """Run a job as soon as there is a thread; blocks while too many jobs wait."""
        self._room.acquire()
        with self._lock:
            if self._spare:
                self._spare -= 1
            elif self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._run, args=(job,), daemon=True).start()
                return
            else:
                self._backlog += 1
        self._jobs.put(job)

    def _run(self, job: Job | None) -> None:
        while job is not None:
            try:
                job()
            finally:
                self._room.release()
            with self._lock:
                if self._backlog:
                    self._backlog -= 1
                elif self._spare < SPARE:
                    self._spare += 1
                else:
                    self._threads -= 1
                    return
            job = self._jobs.get()
