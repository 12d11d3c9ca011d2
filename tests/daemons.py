"""Background daemons outlive those who started them."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil


def end_daemons(home: Path) -> None:
    """End those of a home whose data directory goes."""
    daemons = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(home / "mcp") in (process.info["cmdline"] or []) and "daemon" in process.info["cmdline"]
    ]
    for daemon in daemons:
        daemon.send_signal(signal.SIGTERM)
    psutil.wait_procs(daemons, timeout=10)
