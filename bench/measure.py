"""Runs the load against each subject in turn, in rounds, so that what drifts on the machine drifts for all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from bench.calls import Target
from bench.load import Measurement
from bench.report import Round

CONNECTIONS: Final = (1, 8)
"""The numbers of connections a run measures."""


def rounds(targets: Sequence[Target], *, seconds: float, count: int) -> Iterator[Round]:
    """Measure every subject ``count`` times at each number of connections.

    Args:
        targets: Every subject, and where it listens.
        seconds: How long each measurement takes.
        count: How often all are measured.
    """
    for _ in range(count):
        for connections in CONNECTIONS:
            found = {each.subject: measured(each, connections, seconds) for each in targets}
            yield Round(connections, found)


def measured(target: Target, connections: int, seconds: float) -> Measurement:
    """Load one subject from a process of its own.

    Raises:
        RuntimeError: The load generator failed, for instance because nothing listens.
    """
    job = {
        "subject": target.subject,
        "port": target.port,
        "token": target.token,
        "connections": connections,
        "seconds": seconds,
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 120,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed on {target.subject}:\n{done.stderr[-4000:]}")
    return Measurement(**json.loads(done.stdout))
