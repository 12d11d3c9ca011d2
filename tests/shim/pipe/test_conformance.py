"""The official conformance suite's client scenarios that are not about signing in, with the shim in the middle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node_runtime import PACKAGES, node

SUITE = PACKAGES / "@modelcontextprotocol" / "conformance"
HOST = Path(__file__).with_name("conformance_host.py")

RUNS = [
    ("initialize", "2025-11-25"),
    ("tools_call", "2025-11-25"),
    ("elicitation-sep1034-client-defaults", "2025-11-25"),
    ("sse-retry", "2025-11-25"),
    ("json-schema-2020-12-preservation", "2025-11-25"),
    ("tools_call", "2026-07-28"),
    ("request-metadata", "2026-07-28"),
    ("sep-2322-client-request-state", "2026-07-28"),
    ("http-standard-headers", "2026-07-28"),
    ("http-custom-headers", "2026-07-28"),
    ("http-invalid-tool-headers", "2026-07-28"),
    ("json-schema-ref-no-deref", "2026-07-28"),
    ("json-schema-2020-12-preservation", "2026-07-28"),
]

NOT_EXERCISED = {
    "ClientDeclaresRootsCapability",  # the host declares no roots, and no sampling: that is its own choice
    "ClientDeclaresSamplingCapability",
    "ClientMcpMethodHeader_initialize",  # a host of 2026-07-28 sends neither
    "ClientMcpMethodHeader_notifications_initialized",
}
"""Checks that end in SKIPPED."""


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "revision"), RUNS)
def test_every_check_of_a_client_scenario_succeeds(scenario: str, revision: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(node(), str(SUITE / "dist" / "index.js"), "client", "--command", f"{sys.executable} {HOST}"),
            *("--scenario", scenario, "--spec-version", revision, "--output-dir", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    checks = [check for file in tmp_path.glob("*/checks.json") for check in json.loads(file.read_text())]
    assert {check["status"] for check in checks} <= {"SUCCESS", "INFO", "SKIPPED"}, checks
    assert {check["name"] for check in checks if check["status"] == "SKIPPED"} <= NOT_EXERCISED
    assert any(check["status"] == "SUCCESS" for check in checks)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_every_scenario_a_revision_requires_is_run_here_or_where_signing_in_is(revision: str) -> None:
    requirements = (SUITE / "requirements" / f"{revision}.yaml").read_text()
    scored = re.search(r"^client:\n((?:  - .+\n)+)", requirements, re.MULTILINE)
    assert scored is not None
    required = {line.removeprefix("  - ") for line in scored[1].splitlines()}
    others = {name for name in required if not name.startswith("auth/")}
    assert others <= {scenario for scenario, own in RUNS if own == revision}
