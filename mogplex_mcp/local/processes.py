"""Finding and ending processes for certain: by group, by descent, by directory, never by a bare number."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

_SAME_START = 2.0
_GONE_TIMEOUT = 3.0
_POLL = 0.01


class ProcessId(NamedTuple):
    """A process that cannot be mistaken for a later one of the same number."""

    pid: int
    create_time: float


def descendants(pid: int) -> list[ProcessId]:
    """All processes below ``pid``, those in groups of their own too."""
    with suppress(psutil.Error):
        return [found for child in psutil.Process(pid).children(recursive=True) if (found := _identify(child))]
    return []


def _identify(process: psutil.Process) -> ProcessId | None:
    with suppress(psutil.Error):
        return ProcessId(process.pid, process.create_time())
    return None


def still_alive(process: ProcessId) -> bool:
    """Whether it is there and no zombie: whoever must reap that one may never do so."""
    with suppress(psutil.Error):
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.create_time) < _SAME_START
        return same and found.status() != psutil.STATUS_ZOMBIE
    return False


def group_members(pgid: int) -> list[ProcessId]:
    """The living processes of a group that is its own session's."""
    return [found for pid in psutil.pids() if _in_session(pid, pgid) and (found := _living(pid))]


def _in_session(pid: int, pgid: int) -> bool:
    try:
        return os.getpgid(pid) == pgid and os.getsid(pid) == pgid
    except OSError:
        return False


def _living(pid: int) -> ProcessId | None:
    with suppress(psutil.Error):
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else ProcessId(pid, found.create_time())
    return None


def kill_group(pgid: int, others: list[ProcessId], number: signal.Signals) -> None:
    """Send a signal to what lives of a group, and to ``others``."""
    if group_members(pgid):
        with suppress(ProcessLookupError):
            os.killpg(pgid, number)
    for process in others:
        if still_alive(process):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


def kill_orphan(pid: int, create_time: float) -> None:
    """End what is left of a child whose owner was killed: it, its descendants and its group, by SIGKILL.

    Args:
        pid: the child's, which is its group's and session's too.
        create_time: when it started, in seconds of the epoch (`psutil.Process.create_time`). A process of that number
            which started at another time is somebody else's, and so is its group.
    """
    if pid <= 1 or pid in {os.getpid(), os.getpgrp(), os.getsid(0)} or create_time < psutil.boot_time() - _SAME_START:
        return
    child = ProcessId(pid, create_time)
    leader = _identify_pid(pid)
    if leader is not None and abs(leader.create_time - create_time) >= _SAME_START:
        return
    processes = [child, *descendants(pid)]
    until = time.monotonic() + _GONE_TIMEOUT
    while time.monotonic() < until and (group_members(pid) or any(map(still_alive, processes))):
        # Again and again, because a member may fork between the look and the signal.
        kill_group(pid, processes, signal.SIGKILL)
        time.sleep(_POLL)


def _identify_pid(pid: int) -> ProcessId | None:
    with suppress(psutil.Error):
        return _identify(psutil.Process(pid))
    return None


def kill_processes_in(directory: Path) -> int:
    """SIGKILL this user's processes that work inside ``directory``; never this process or one above it.

    Returns:
        How many there were.
    """
    top = directory.resolve()
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    killed: set[ProcessId] = set()
    until = time.monotonic() + _GONE_TIMEOUT
    # Again and again, because one may fork between the look and the signal.
    while (found := _processes_in(top, spared)) and time.monotonic() < until:
        for process in found:
            if still_alive(process):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        _wait_gone(found, until)
        killed.update(found)
    return len(killed)


def _processes_in(top: Path, spared: set[int]) -> list[ProcessId]:
    found = [p for p in psutil.process_iter() if p.pid not in spared and _works_in(p, top)]
    return [identity for process in found if (identity := _identify(process))]


def _works_in(process: psutil.Process, top: Path) -> bool:
    with suppress(psutil.Error, OSError):
        return process.uids().real == os.getuid() and Path(process.cwd()).is_relative_to(top)
    return False


def _wait_gone(processes: list[ProcessId], until: float) -> None:
    while any(map(still_alive, processes)) and time.monotonic() < until:
        time.sleep(_POLL)
