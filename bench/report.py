"""What a run found: medians over its rounds, as JSON and as a table."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from statistics import median

import psutil

from bench.calls import Subject
from bench.load import Measurement


@dataclass(frozen=True)
class Round:
    """All subjects, measured one right after the other with the same number of connections."""

    connections: int
    measured: dict[Subject, Measurement]


@dataclass(frozen=True)
class Row:
    """One subject at one number of connections: medians over the rounds.

    Attributes:
        ratio: Requests per second as a share of the bare proxy's in the same round.
        added_ms: What its median call takes longer than the bare proxy's in the same round.
        errors: Wrong or missing answers in all rounds.
    """

    subject: Subject
    connections: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    ratio: float
    added_ms: float
    requests: int
    errors: int
    first_error: str | None


@dataclass(frozen=True)
class Report:
    """All a run found.

    Attributes:
        startup_seconds: Median time from starting the server to its first answer.
        resident_mb: Memory the server holds after the load, in MiB.
    """

    rows: list[Row]
    startup_seconds: float
    resident_mb: float

    @property
    def errors(self) -> int:
        """Wrong or missing answers."""
        return sum(row.errors for row in self.rows)

    def as_json(self) -> dict[str, object]:
        """The report and what it was measured on, ready for ``json.dumps``."""
        packages = ("mcp", "httpx2", "starlette", "uvicorn", "uvloop", "httptools", "pydantic")
        machine = {
            "cores": psutil.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "packages": {package: version(package) for package in packages},
        }
        return {"machine": machine, **asdict(self)}

    def as_table(self) -> Iterator[str]:
        """The report in lines for a person."""
        yield f"{'':18}{'conns':>6}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'ratio':>8}{'added ms':>10}{'errors':>8}"
        for row in self.rows:
            yield (
                f"{row.subject:18}{row.connections:>6}{row.requests_per_second:>9.0f}{row.p50_ms:>9.2f}"
                f"{row.p99_ms:>9.2f}{row.ratio:>8.2f}{row.added_ms:>10.2f}{row.errors:>8}"
            )
            if row.first_error:
                yield f"  first error: {row.first_error}"
        yield f"start to first answer {self.startup_seconds:.2f} s, resident after the load {self.resident_mb:.0f} MiB"


def rows(rounds: list[Round]) -> list[Row]:
    """The medians of the rounds, by number of connections, the bare proxy first."""
    return [
        _row(subject, connections, [each.measured for each in rounds if each.connections == connections])
        for connections in sorted({each.connections for each in rounds})
        for subject in Subject
    ]


def _row(subject: Subject, connections: int, rounds: list[dict[Subject, Measurement]]) -> Row:
    mine = [each[subject] for each in rounds]
    pairs = [(each[subject], each[Subject.PROXY]) for each in rounds]
    # A proxy that answered nothing right is reported by its own errors; it gives no ratio.
    ratios = [own.requests_per_second / proxy.requests_per_second for own, proxy in pairs if proxy.requests]
    return Row(
        subject=subject,
        connections=connections,
        requests_per_second=median(each.requests_per_second for each in mine),
        p50_ms=median(each.p50_ms for each in mine),
        p99_ms=median(each.p99_ms for each in mine),
        ratio=median(ratios) if ratios else 0.0,
        added_ms=median(own.p50_ms - proxy.p50_ms for own, proxy in pairs),
        requests=sum(each.requests for each in mine),
        errors=sum(each.errors for each in mine),
        first_error=next((each.first_error for each in mine if each.first_error), None),
    )
