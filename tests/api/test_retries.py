"""Which failures are repeated, how often, and what a start whose fate is unknown says."""

from __future__ import annotations

import asyncio
import time

import pytest

from mogplex_mcp.api import MogplexApi, MogplexError, StartRun, client
from mogplex_mcp.api.retry import FailedAttempt, repeat
from tests.api.conftest import TOKEN, open_hosted
from tests.api.scripted_upstream import (
    REPO,
    RUN,
    Answer,
    ScriptedUpstream,
    cut,
    drip,
    drop,
    error,
    hang,
    html,
    ok,
    redirect,
    reset,
)

REPOS = ok({"repos": [REPO]})
STARTED = ok({**RUN, "replayed": False}, status=202)
START = StartRun(repo_id="repo-1", prompt="Fix the tests")


async def failed_start(api: MogplexApi) -> MogplexError:
    with pytest.raises(MogplexError) as caught:
        await api.start_run(START)
    return caught.value


@pytest.mark.parametrize(
    "first",
    [
        error(429, "RATE_LIMITED", retry_after="0"),
        error(503, "SERVICE_UNAVAILABLE", retry_after="0"),
        error(503, "SERVICE_UNAVAILABLE"),
        error(500, "INTERNAL_ERROR"),
        drop(),
        reset(),
        cut(),
        cut(hard=True),
    ],
)
async def test_a_passing_failure_of_a_read_is_mended(
    api: MogplexApi, upstream: ScriptedUpstream, first: Answer
) -> None:
    upstream.answers(first, REPOS)
    assert len(await api.list_repos()) == 1
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "first", [drop(), reset(), cut(202), error(500, "INTERNAL_ERROR"), error(503, "SERVICE_UNAVAILABLE")]
)
async def test_a_start_is_repeated_with_the_same_key_and_body(
    api: MogplexApi, upstream: ScriptedUpstream, first: Answer
) -> None:
    upstream.answers(first, STARTED)
    await api.start_run(START)
    one, two = upstream.requests
    assert one.headers["idempotency-key"] == two.headers["idempotency-key"]
    assert one.body == two.body


async def test_a_cancellation_whose_answer_was_lost_is_repeated(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(drop(), ok({"run": RUN, "status": "cancellation_requested"}))
    await api.cancel_run("run-1")
    assert [request.route for request in upstream.requests] == ["POST /runs/run-1/cancel"] * 2


@pytest.mark.parametrize("answer", [error(503, "SERVICE_UNAVAILABLE", retry_after="0"), drop()])
async def test_three_attempts_are_all(api: MogplexApi, upstream: ScriptedUpstream, answer: Answer) -> None:
    upstream.answers(answer)
    with pytest.raises(MogplexError):
        await api.list_repos()
    assert len(upstream.requests) == 3


async def test_an_internal_error_is_repeated_once(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(error(500, "INTERNAL_ERROR"))
    with pytest.raises(MogplexError) as caught:
        await api.list_repos()
    assert caught.value.code == "INTERNAL_ERROR"
    assert len(upstream.requests) == 2


async def test_an_internal_error_after_another_failure_is_still_repeated(
    api: MogplexApi, upstream: ScriptedUpstream
) -> None:
    upstream.answers(error(503, "SERVICE_UNAVAILABLE", retry_after="0"), error(500, "INTERNAL_ERROR"), REPOS)
    assert len(await api.list_repos()) == 1


@pytest.mark.parametrize(
    "answer", [html(502), html(429), html(200), error(409, "CONFLICT"), error(401, "UNAUTHORIZED")]
)
async def test_what_a_repeat_does_not_mend_is_not_repeated(
    api: MogplexApi, upstream: ScriptedUpstream, answer: Answer
) -> None:
    upstream.answers(answer)
    with pytest.raises(MogplexError):
        await api.list_repos()
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("code", ["RATE_LIMITED", "SERVICE_UNAVAILABLE"])
async def test_a_wait_that_does_not_fit_is_handed_on_at_once(
    api: MogplexApi, upstream: ScriptedUpstream, code: str
) -> None:
    upstream.answers(error(429, code, retry_after="60"))
    began = time.monotonic()
    with pytest.raises(MogplexError) as caught:
        await api.list_repos()
    assert time.monotonic() - began < 5
    assert caught.value.retry_after == 60
    assert "60 seconds" in caught.value.suggestion
    assert len(upstream.requests) == 1


async def test_a_wait_longer_than_the_callers_deadline_is_handed_on(upstream: ScriptedUpstream) -> None:
    upstream.answers(error(429, "RATE_LIMITED", retry_after="3"))
    async with open_hosted(upstream.url) as way:
        with pytest.raises(MogplexError) as caught:
            await MogplexApi(way, TOKEN, deadline_seconds=2).list_repos()
    assert (caught.value.code, caught.value.retry_after) == ("RATE_LIMITED", 3)


async def test_retry_after_is_waited_for(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(error(429, "RATE_LIMITED", retry_after="0.5"), REPOS)
    began = time.monotonic()
    await api.list_repos()
    assert time.monotonic() - began >= 0.5


async def test_repeats_end_with_the_time_for_all_attempts(
    api: MogplexApi, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_SECONDS", 1.5)
    upstream.answers(error(503, "SERVICE_UNAVAILABLE", retry_after="0"), hang())
    began = time.monotonic()
    with pytest.raises(MogplexError) as caught:
        await api.list_repos()
    assert caught.value.code == "TIMEOUT"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("answer", [hang(), drip()])
async def test_a_call_ends_at_its_deadline(upstream: ScriptedUpstream, answer: Answer) -> None:
    upstream.answers(answer, REPOS)
    async with open_hosted(upstream.url, api_max_connections=1) as way:
        with pytest.raises(MogplexError) as caught:
            await MogplexApi(way, TOKEN, deadline_seconds=0.5).list_repos()
        assert caught.value.code == "TIMEOUT"
        # The only connection is free again.
        assert len(await MogplexApi(way, TOKEN).list_repos()) == 1


async def test_a_read_that_hangs_is_tried_again(upstream: ScriptedUpstream) -> None:
    upstream.answers(hang(), REPOS)
    async with open_hosted(upstream.url, api_read_timeout=0.5) as way:
        assert len(await MogplexApi(way, TOKEN).list_repos()) == 1


async def test_a_caller_who_goes_away_gets_cancelled_and_frees_the_connection(upstream: ScriptedUpstream) -> None:
    upstream.answers(hang(), REPOS)
    async with open_hosted(upstream.url, api_max_connections=1) as way:
        call = asyncio.create_task(MogplexApi(way, TOKEN).list_repos())
        await upstream.received(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert len(await MogplexApi(way, TOKEN).list_repos()) == 1


async def test_a_callers_own_timeout_stays_the_callers(upstream: ScriptedUpstream) -> None:
    upstream.answers(hang())
    async with open_hosted(upstream.url) as way:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await MogplexApi(way, TOKEN).list_repos()


async def test_a_port_where_nobody_listens_is_unreachable_with_the_reason(free_tcp_port: int) -> None:
    async with open_hosted(f"http://127.0.0.1:{free_tcp_port}") as way:
        error = await failed_start(MogplexApi(way, TOKEN))
    assert error.code == "UNREACHABLE"
    assert "Connection refused" in error.message
    # Nothing was sent, so nothing was started.
    assert (error.outcome_unknown, error.idempotency_key) == (False, None)


@pytest.mark.parametrize(
    "answer",
    [drop(), reset(), cut(202), html(200), html(502), error(500, "INTERNAL_ERROR"), error(503, "SERVICE_UNAVAILABLE")],
)
async def test_a_start_of_unknown_fate_gives_back_its_key(
    api: MogplexApi, upstream: ScriptedUpstream, answer: Answer
) -> None:
    upstream.answers(answer)
    error = await failed_start(api)
    keys = {request.headers["idempotency-key"] for request in upstream.requests}
    assert error.outcome_unknown
    assert {error.idempotency_key} == keys
    assert str(error.idempotency_key) in error.suggestion


async def test_a_start_cut_at_its_deadline_gives_back_its_key(upstream: ScriptedUpstream) -> None:
    upstream.answers(hang())
    async with open_hosted(upstream.url) as way:
        error = await failed_start(MogplexApi(way, TOKEN, deadline_seconds=1))
    assert (error.code, error.outcome_unknown) == ("TIMEOUT", True)
    assert error.idempotency_key == upstream.requests[0].headers["idempotency-key"]


async def test_a_start_once_lost_stays_unknown_whatever_comes_after(
    api: MogplexApi, upstream: ScriptedUpstream
) -> None:
    upstream.answers(drop(), error(429, "RATE_LIMITED", retry_after="60"))
    error_ = await failed_start(api)
    assert (error_.code, error_.retry_after, error_.outcome_unknown) == ("RATE_LIMITED", 60, True)
    assert "60 seconds" in error_.suggestion


@pytest.mark.parametrize(
    "answer",
    [error(400, "BAD_REQUEST"), error(429, "RATE_LIMITED", retry_after="60"), html(403), redirect("https://a.example")],
)
async def test_a_start_that_was_refused_is_not_called_unknown(
    api: MogplexApi, upstream: ScriptedUpstream, answer: Answer
) -> None:
    upstream.answers(answer)
    error = await failed_start(api)
    assert (error.outcome_unknown, error.idempotency_key) == (False, None)


async def test_a_read_is_never_called_unknown(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(drop())
    with pytest.raises(MogplexError) as caught:
        await api.list_repos()
    assert (caught.value.code, caught.value.outcome_unknown) == ("UNREACHABLE", False)


async def test_a_request_that_must_not_happen_twice_is_repeated_only_if_it_was_not_sent() -> None:
    async def attempts(fate: str, code: str = "UNREACHABLE") -> int:
        made = 1
        failure = FailedAttempt(MogplexError(code, "m", retry_after=0.0), fate)  # type: ignore[arg-type]

        async def attempt() -> None:
            nonlocal made
            made += 1
            raise failure

        with pytest.raises(FailedAttempt):
            await repeat(failure, attempt, harmless=False, seconds_left=20)
        return made

    assert await attempts("unsent") == 3
    assert await attempts("lost") == 1
    assert await attempts("refused", "INTERNAL_ERROR") == 1
    assert await attempts("refused", "RATE_LIMITED") == 3
