"""Runs the load against each subject in turn, in rounds, so that what drifts on the machine drifts for all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from bench.calls import Subject
from bench.load import Measurement
from bench.report import Round

CONNECTIONS: Final = (1, 8)
"""The numbers of connections a run measures."""


def rounds(ports: Mapping[Subject, int], *, seconds: float, count: int) -> Iterator[Round]:
    """Measure every subject ``count`` times at each number of connections.

    Args:
        ports: Where each subject listens.
        seconds: How long each measurement takes.
        count: How often all are measured.
    """
    for _ in range(count):
        for connections in CONNECTIONS:
            found = {each: measured(each, port, connections, seconds) for each, port in ports.items()}
            yield Round(connections, found)


def measured(subject: Subject, port: int, connections: int, seconds: float) -> Measurement:
    """Load one subject from a process of its own.

    Raises:
        RuntimeError: The load generator failed, for instance because nothing listens.
    """
    job = {"subject": subject, "port": port, "connections": connections, "seconds": seconds}
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 120,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed on {subject}:\n{done.stderr[-4000:]}")
    return Measurement(**json.loads(done.stdout))
