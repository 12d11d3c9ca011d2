"""The official conformance suite's `auth/*` scenarios for clients, with the shim as the client."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node_runtime import PACKAGES, node

SUITE = PACKAGES / "@modelcontextprotocol" / "conformance"
CLIENT = Path(__file__).with_name("conformance_client.py")

BOTH = [
    "metadata-default",
    "metadata-var1",
    "metadata-var2",
    "metadata-var3",
    "basic-cimd",
    "scope-from-www-authenticate",
    "scope-from-scopes-supported",
    "scope-omitted-when-undefined",
    "scope-step-up",
    "scope-retry-limit",
    "token-endpoint-auth-basic",
    "token-endpoint-auth-post",
    "token-endpoint-auth-none",
    "pre-registration",
]
NEWEST = [
    "resource-mismatch",
    "offline-access-scope",
    "offline-access-not-supported",
    "authorization-server-migration",
    "iss-supported",
    "iss-not-advertised",
    "iss-supported-missing",
    "iss-wrong-issuer",
    "iss-unexpected",
    "iss-normalized",
    "metadata-issuer-mismatch",
]
OLDEST = ["2025-03-26-oauth-metadata-backcompat", "2025-03-26-oauth-endpoint-fallback"]
SCENARIOS = {"2025-03-26": OLDEST, "2025-11-25": BOTH, "2026-07-28": [*BOTH, *NEWEST]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("revision", "scenario"), [(revision, name) for revision, names in SCENARIOS.items() for name in names]
)
def test_every_check_of_an_auth_scenario_succeeds(revision: str, scenario: str, tmp_path: Path) -> None:
    command = [node(), str(SUITE / "dist" / "index.js"), "client", "--command", f"{sys.executable} {CLIENT}"]
    done = subprocess.run(
        [*command, "--scenario", f"auth/{scenario}", "--spec-version", revision, "--output-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    checks = [check for path in tmp_path.glob("**/checks.json") for check in json.loads(path.read_text())]
    assert any(check["status"] == "SUCCESS" for check in checks), done.stdout + done.stderr
    assert [check for check in checks if check["status"] not in ("SUCCESS", "INFO")] == []


@pytest.mark.slow
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_every_auth_scenario_that_a_revision_requires_is_run(revision: str) -> None:
    required = (SUITE / "requirements" / f"{revision}.yaml").read_text()
    scored = required[required.index("\nclient:") : required.index("\nnot_scored:")]
    assert sorted(SCENARIOS[revision]) == sorted(re.findall(r"- auth/(\S+)", scored))
