"""Reads expected.txt: for each scenario and revision, every check the suite makes and how it ends."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

FIXTURE_TOOLS = "wants the suite's own fixture tools"
"""The only reason for which a check may fail."""

_CHECK = re.compile(r"    (?P<status>[A-Z]+) (?P<id>\S+) (?P<name>\S+)(?: -- (?P<reason>.+))?")


@dataclass(frozen=True, order=True)
class Check:
    """One check of the suite and how it ends: SUCCESS, FAILURE, WARNING, SKIPPED or INFO."""

    id: str
    name: str
    status: str


@dataclass(frozen=True)
class Run:
    """One run of the suite."""

    scenario: str
    revision: str

    def __str__(self) -> str:
        return f"{self.scenario} {self.revision}"


@dataclass(frozen=True)
class Expectation:
    """What one run gives.

    Attributes:
        checks: Each check and how often the suite makes it: several cases share one id and name.
        reasons: Why a check does not end in SUCCESS.
    """

    checks: Counter[Check]
    reasons: dict[Check, str]


def read_expectations(text: str) -> dict[Run, Expectation]:
    """Parse the file: a line ``scenario revision`` per run, its checks indented below; ``#`` starts a comment line.

    Raises:
        ValueError: A line is neither, or a check that does not end in SUCCESS has no reason.
    """
    found: dict[Run, Expectation] = {}
    run: Run | None = None
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = _CHECK.fullmatch(line)
        if match is None:
            scenario, revision = line.split()
            run = Run(scenario, revision)
            found[run] = Expectation(Counter(), {})
        elif run is None or (match["status"] != "SUCCESS" and not match["reason"]):
            raise ValueError(f"expected.txt: no run or no reason: {line!r}")
        else:
            check = Check(match["id"], match["name"], match["status"])
            found[run].checks[check] += 1
            if match["reason"]:
                found[run].reasons[check] = match["reason"]
    return found


EXPECTED = read_expectations(Path(__file__).with_name("expected.txt").read_text())
