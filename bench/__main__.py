"""``python -m bench``: measure this server beside a bare proxy, and say what was found."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from statistics import median

import click

from bench.calls import Subject, Target
from bench.measure import rounds
from bench.processes import running, running_server, script
from bench.profile import profile
from bench.report import Report, rows
from bench.signed_in import access_token
from bench.startup import seconds_to_first_answer


@click.command()
@click.option("--seconds", type=click.FloatRange(0.05, 60), default=3.0, show_default=True, help="Of one measurement.")
@click.option("--rounds", "count", type=click.IntRange(1, 50), default=5, show_default=True, help="Of all subjects.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to this file.")
@click.option(
    "--profile",
    "profiled",
    type=click.Path(file_okay=False, path_type=Path),
    help="Profile into this directory instead.",
)
def main(seconds: float, count: int, file: Path | None, profiled: Path | None) -> None:
    """Measure requests per second and latency of mogplex_list_repos, start-up time and memory.

    Fails when a single answer was wrong.
    """
    with tempfile.TemporaryDirectory(prefix="mogplex-bench-") as name:
        directory = Path(name)
        if profiled is not None:
            _profile(directory, profiled, seconds)
            return
        report = _measure(directory, seconds, count)
    for line in report.as_table():
        click.echo(line)
    if file is not None:
        file.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    if report.errors:
        raise click.ClickException(f"{report.errors} wrong or missing answers")


def _measure(directory: Path, seconds: float, count: int) -> Report:
    with running(script("bench.upstream"), directory / "upstream.log") as upstream:
        starts = [seconds_to_first_answer(upstream, directory / f"start{each}") for each in range(min(count, 3))]
        address = f"http://127.0.0.1:{upstream.port}"
        with (
            running(script("bench.proxy", address), directory / "proxy.log") as proxy,
            running_server(upstream, directory / "server") as server,
        ):
            targets = [
                Target(Subject.PROXY, proxy.port),
                Target(Subject.STATELESS, server.port),
                Target(Subject.SIGNED_IN, server.port, access_token(directory / "server", server.port)),
                Target(Subject.SESSION, server.port),
            ]
            found = list(rounds(targets, seconds=seconds, count=count))
            return Report(rows(found), startup_seconds=median(starts), resident_mb=server.resident_mb())


def _profile(directory: Path, target: Path, seconds: float) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with running(script("bench.upstream"), directory / "upstream.log") as upstream:
        for subject in (Subject.STATELESS, Subject.SESSION):
            data = target / f"{subject}.prof"
            profile(upstream, subject, seconds, directory / subject, data)
            click.echo(f"saved as {data}")


if __name__ == "__main__":
    main()
