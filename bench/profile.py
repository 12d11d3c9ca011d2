"""Where the server's time goes: its busiest functions under cProfile, while eight connections call it."""

from __future__ import annotations

import pstats
from pathlib import Path

import click

from bench.calls import Subject, Target
from bench.load import Measurement
from bench.measure import measured
from bench.processes import Running, running_server


def profile(upstream: Running, subject: Subject, seconds: float, directory: Path, data: Path) -> None:
    """Load a server that runs under cProfile and print its 40 busiest functions by own time.

    Args:
        upstream: A running ``bench.upstream``.
        subject: The era to call it in.
        seconds: How long to load it; the profiler slows it to about half.
        directory: Where the server's home is made.
        data: Where the profile goes, for ``pstats`` or a viewer.
    """
    with running_server(upstream, directory, python=("-m", "cProfile", "-o", str(data))) as server:
        found: Measurement = measured(Target(subject, server.port), connections=8, seconds=seconds)
    click.echo(f"{subject}: {found.requests} calls, {found.errors} errors")
    pstats.Stats(str(data)).sort_stats("tottime").print_stats(40)
