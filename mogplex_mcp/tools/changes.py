"""What changes in this process, by account: the one place that tells of runs and tasks to whoever shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from mogplex_mcp import runs

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class RunChanged:
    """A run that this account may read has changed.

    Attributes:
        run_id: The run.
        what: ``run``: its state; ``events``: it has new ones; ``ended``: there will be no more of either.
    """

    run_id: str
    what: runs.Change


@dataclass(frozen=True)
class RunsChanged:
    """The account has one more run to see."""


@dataclass(frozen=True)
class TaskChanged:
    """A task's state has changed.

    Attributes:
        task: As ``tasks/get`` would show it, with ``taskId``.
    """

    task: Mapping[str, Any]


Change = RunChanged | RunsChanged | TaskChanged
Listener = Callable[[Change], None]
"""Called on the event loop; must not wait."""


class Changes:
    """One per process; used on its event loop. Nobody is told of another account's changes."""

    def __init__(self) -> None:
        self._listeners: dict[str, dict[object, Listener]] = {}

    def tell(self, account: str, change: Change) -> None:
        """Tell everybody who listens for an account; never waits, and never fails because a listener does."""
        for listener in tuple(self._listeners.get(account, {}).values()):
            try:
                listener(change)
            except Exception:
                _log.exception("listener_broken", change=type(change).__name__)

    def tell_of_run(self, account: str, run_id: str, what: runs.Change) -> None:
        """Tell of a watched run: what ``Watchers.subscribe`` takes."""
        self.tell(account, RunChanged(run_id, what))

    def subscribe(self, account: str, listener: Listener) -> Callable[[], None]:
        """Listen for an account's changes.

        Returns:
            What ends that; it may be called again.
        """
        key = object()
        self._listeners.setdefault(account, {})[key] = listener
        return partial(self._end, account, key)

    def _end(self, account: str, key: object) -> None:
        listeners = self._listeners.get(account, {})
        listeners.pop(key, None)
        if not listeners:
            self._listeners.pop(account, None)
