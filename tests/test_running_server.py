"""The installed command, as a person uses it: several processes on one data directory."""

from __future__ import annotations

import httpx2

from tests.running_server import RunningServer, running_server


def test_every_token_made_while_the_server_runs_is_accepted_at_once() -> None:
    # The command opens and closes the server's database each time; the server must go on seeing the same one.
    with running_server() as server:
        assert [_status(server, server.create_token()) for _ in range(3)] == [200, 200, 200]


def _status(server: RunningServer, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    return httpx2.post(server.url, json=body, headers=headers).status_code
