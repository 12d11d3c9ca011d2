"""No token in an exception, in what hangs on to it, or in a log."""

from __future__ import annotations

import logging
import traceback

import pytest
import structlog

from mogplex_mcp.api import MogplexApi, MogplexError
from tests.api.conftest import TOKEN, open_hosted
from tests.api.scripted_upstream import Answer, ScriptedUpstream, cut, drop, error, hang, html, ok, raw, redirect, reset

FAILURES = [
    drop(),
    reset(),
    hang(),
    html(500),
    cut(),
    redirect("https://elsewhere.example/"),
    error(401, "UNAUTHORIZED", f"Token {TOKEN} was revoked", headers={"x-request-id": TOKEN}),
    error(503, "SERVICE_UNAVAILABLE", retry_after="0"),
    ok({"repos": [{"id": 1}]}),
    raw(b"SSH-2.0-OpenSSH_9.6\r\n", close=True),
    raw(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", close=True),
]


@pytest.mark.parametrize("answer", FAILURES)
async def test_a_failure_carries_no_token(
    upstream: ScriptedUpstream, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answers(answer)
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        async with open_hosted(upstream.url) as way:
            api = MogplexApi(way, TOKEN, deadline_seconds=1)
            with pytest.raises(MogplexError) as caught:
                await api.list_repos()
    assert caught.value.__traceback__ is not None
    # Everything that a logger which prints local variables could print of our own frames.
    inner = caught.value.__traceback__.tb_next
    told = "".join(traceback.TracebackException(MogplexError, caught.value, inner, capture_locals=True).format())
    assert "list_repos" in told
    everything = told + repr(caught.value) + str(vars(caught.value)) + caplog.text + repr(lines) + repr((api, way))
    assert TOKEN not in everything
    assert "Bearer mog" not in everything
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("port", [0, 1])
async def test_a_connection_that_fails_carries_no_token(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_hosted(f"http://127.0.0.1:{port}") as way:
        with pytest.raises(MogplexError) as caught:
            await MogplexApi(way, TOKEN).list_repos()
    assert TOKEN not in caplog.text + str(caught.value) + caught.value.suggestion
    assert caught.value.__context__ is None


async def test_the_http_library_logs_no_requests(upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_hosted(upstream.url) as way:
        await MogplexApi(way, TOKEN).list_repos(query="something private")
    assert [record.name for record in caplog.records if record.name.startswith("http")] == []
