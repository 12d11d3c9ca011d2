"""Answers that are errors, and answers that are none of Mogplex's."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from mogplex_mcp.api import MogplexApi, MogplexError, StartRun
from tests.api.conftest import TOKEN, open_hosted
from tests.api.scripted_upstream import (
    REPO,
    RUN,
    Answer,
    ScriptedUpstream,
    cut,
    error,
    flood,
    gzip_bomb,
    html,
    http,
    json_answer,
    ok,
    raw,
    redirect,
)

JSON = {"content-type": "application/json"}


async def failure(api: MogplexApi) -> MogplexError:
    with pytest.raises(MogplexError) as caught:
        await api.list_repos()
    return caught.value


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BAD_REQUEST"),
        (401, "UNAUTHORIZED"),
        (403, "FORBIDDEN"),
        (404, "NOT_FOUND"),
        (409, "CONFLICT"),
        (409, "IDEMPOTENCY_CONFLICT"),
        (418, "SOMETHING_NEW"),
        (200, "BAD_REQUEST"),
    ],
)
async def test_an_error_keeps_code_status_message_and_request_id(
    api: MogplexApi, upstream: ScriptedUpstream, status: int, code: str
) -> None:
    upstream.answers(error(status, code, "Missing required scope: write.", headers={"X-Request-Id": "iad1::abc-1"}))
    caught = await failure(api)
    assert (caught.code, caught.status, caught.message) == (code, status, "Missing required scope: write.")
    assert caught.request_id == "iad1::abc-1"
    assert caught.suggestion
    assert (caught.outcome_unknown, caught.idempotency_key) == (False, None)
    assert len(upstream.requests) == 1


BIG = b'{"ok":true,"data":{"repos":[],"x":"' + b"x" * (8 * 1024**2) + b'"}}'


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (html(), "an HTML page"),
        (http(200), "nothing in it"),
        (http(204), "nothing in it"),
        (http(200, b"\xff\xfe\x00", JSON), "not whole JSON"),
        (http(200, b'{"ok":true,"data":{"repos":[', JSON), "not whole JSON"),
        (raw(b'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{"ok":true,"data":{', close=True), "not whole JSON"),
        (http(200, b"[" * 100_000, JSON), "not whole JSON"),
        (http(200, b'{"ok":true,"data":{"repos":[],"n":NaN}}', JSON), "not whole JSON"),
        (http(200, b'{"ok":true,"data":{"repos":[],"n":1e999}}', JSON), "not whole JSON"),
        (http(200, b'{"ok":true,"data":{"repos":[],"n":' + b"9" * 400 + b".5}}", JSON), "not whole JSON"),
        (json_answer({"repos": [REPO]}), "not its envelope"),
        (json_answer([1]), "not its envelope"),
        (json_answer({"ok": True, "data": [REPO]}), "not its envelope"),
        (json_answer({"ok": "true", "data": {"repos": [REPO]}}), "not its envelope"),
        (json_answer({"ok": False, "error": "broken"}), "not its envelope"),
        (json_answer({"ok": False, "error": {"code": "a b\n"}}), "not its envelope"),
        (http(200, BIG, JSON), "more than 8 MB"),
        (flood(b" " * 65536), "more than 8 MB"),
        (gzip_bomb(), "more than 8 MB"),
        (http(200, b"not gzip", {"content-encoding": "gzip"}), "broken compression"),
        (http(200, gzip.compress(gzip.compress(b"{}")), {"content-encoding": "gzip, gzip"}), "broken compression"),
        (
            http(200, gzip.compress(b'{"ok":true,"data":{"repos":[]}}')[:-12], {"content-encoding": "gzip"}),
            "whole JSON",
        ),
    ],
)
async def test_a_success_that_is_not_the_envelope_is_an_invalid_response(
    api: MogplexApi, upstream: ScriptedUpstream, answer: Answer, words: str
) -> None:
    upstream.answers(answer)
    caught = await failure(api)
    assert caught.code == "INVALID_RESPONSE"
    assert words in caught.message
    assert "Secret" not in str(caught)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (html(502), 502, "an HTML page"),
        (html(401), 401, "an HTML page"),
        (http(504), 504, "nothing in it"),
        (http(503, b"upstream connect error"), 503, "not whole JSON"),
        (json_answer({"error": {"code": "404", "message": "Secret"}}, 404), 404, "not its envelope"),
        (json_answer({"ok": True, "data": {"repos": []}}, 500), 500, "not its envelope"),
        (http(500, BIG, JSON), 500, "more than 8 MB"),
    ],
)
async def test_a_failure_that_is_not_the_envelope_is_an_http_error_with_its_status(
    api: MogplexApi, upstream: ScriptedUpstream, answer: Answer, status: int, words: str
) -> None:
    upstream.answers(answer)
    caught = await failure(api)
    assert (caught.code, caught.status) == ("HTTP_ERROR", status)
    assert words in caught.message
    assert "Secret" not in str(caught)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [http(200, BIG, JSON), flood(b" " * 65536), gzip_bomb(), cut(502), redirect("https://elsewhere.example/")],
)
async def test_an_answer_that_is_not_read_to_its_end_frees_its_connection(
    upstream: ScriptedUpstream, answer: Answer
) -> None:
    async with open_hosted(upstream.url, api_max_connections=1, api_read_timeout=5) as way:
        api = MogplexApi(way, TOKEN)
        upstream.answers(answer)
        await failure(api)
        upstream.answers(ok({"repos": []}))
        assert await api.list_repos() == []


async def test_an_answer_just_under_the_limit_is_read(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({"repos": [{**REPO, "note": "x" * (8 * 1024**2 - 300)}]}))
    assert len(await api.list_repos()) == 1


async def test_a_compressed_answer_is_unpacked(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    body = gzip.compress(json.dumps({"ok": True, "data": {"repos": [REPO]}}).encode())
    upstream.answers(http(200, body, {**JSON, "content-encoding": "gzip"}))
    assert [repo.wire() for repo in await api.list_repos()] == [REPO]
    assert upstream.requests[0].headers["accept-encoding"] == "gzip"


async def test_a_half_of_an_emoji_becomes_the_replacement_character(
    api: MogplexApi, upstream: ScriptedUpstream
) -> None:
    event = r'{"id":"e","type":"log","message":"cut \ud83d","payload":{"\udc00":"\ud83d\ude00"}}'
    body = f'{{"ok":true,"data":{{"run":{json.dumps(RUN)},"events":[{event}]}}}}'
    upstream.answers(http(200, body.encode(), JSON))
    events = (await api.list_run_events("run-1")).events
    assert events[0].wire() == {"id": "e", "type": "log", "message": "cut \ufffd", "payload": {"\ufffd": "😀"}}


async def test_optional_fields_of_any_type_pass_on(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    repo = {"id": "r", "full_name": "a/b", "default_branch": {"name": "main"}, "root_directory": 3, "wire": [1]}
    upstream.answers(ok({"repos": [repo], "next": None}))
    assert [repo.wire() for repo in await api.list_repos()] == [repo]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"repos": [REPO, {"id": "x"}]}, "repos.1.full_name"),
        ({"repos": [{**REPO, "id": 7}]}, "repos.0.id"),
        ({"repos": {}}, "repos"),
        ({}, "repos"),
    ],
)
async def test_a_missing_certainty_is_an_invalid_response_that_names_it(
    api: MogplexApi, upstream: ScriptedUpstream, data: dict[str, object], field: str
) -> None:
    upstream.answers(ok(data))
    caught = await failure(api)
    assert caught.code == "INVALID_RESPONSE"
    assert f"`{field}`" in caught.message


async def test_a_started_run_without_id_leaves_the_start_open(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({"status": "pending"}, status=202))
    with pytest.raises(MogplexError) as caught:
        await api.start_run(StartRun(repo_id="r", prompt="p"), idempotency_key="k-1")
    assert (caught.value.code, caught.value.outcome_unknown) == ("INVALID_RESPONSE", True)
    assert caught.value.idempotency_key == "k-1"


async def test_a_message_is_one_bounded_line_without_tokens(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    message = f"bad\r\n\x1b[31m token {TOKEN} and mog_other1234567 " + "x" * 50_000
    upstream.answers(error(400, "BAD_REQUEST", message, headers={"x-request-id": f"id-{TOKEN}"}))
    caught = await failure(api)
    assert caught.message.startswith("bad [31m token mog_… and mog_… xxx")
    assert len(caught.message) == 1000
    assert caught.request_id == "id-"


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({"cf-ray": "8c1-FRA"}, "8c1-FRA"),
        ({"x-vercel-id": "fra1::iad1::x-1", "cf-ray": "8c1"}, "fra1::iad1::x-1"),
        ({"x-request-id": '"><script>' + "a" * 500}, "script" + "a" * 122),
        ({"x-request-id": "  "}, None),
        ({}, None),
    ],
)
async def test_the_request_id_is_bounded_and_plain(
    api: MogplexApi, upstream: ScriptedUpstream, headers: dict[str, str], request_id: str | None
) -> None:
    upstream.answers(error(404, "NOT_FOUND", headers=headers))
    caught = await failure(api)
    assert caught.request_id is None if request_id is None else str(caught.request_id).startswith(request_id[:20])
    assert len(caught.request_id or "") <= 128


NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("60", 60, 60),
        ("1.5", 1.5, 1.5),
        ("999999999", 86_400, 86_400),
        (format_datetime(NOW + timedelta(hours=1), usegmt=True), 3000, 3600),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0, 0),
    ],
    # Names of their own: the times differ from one test process to the next.
    ids=["seconds", "fractions", "too-long", "date-ahead", "date-past"],
)
async def test_both_forms_of_retry_after_are_understood(
    api: MogplexApi, upstream: ScriptedUpstream, value: str, least: float, most: float
) -> None:
    upstream.answers(http(429, b"busy", {"retry-after": value}))
    caught = await failure(api)
    assert caught.retry_after is not None
    assert least <= caught.retry_after <= most


async def test_an_http_date_is_read_by_the_answers_own_clock(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    headers = {"date": "Fri, 01 Jan 2016 00:00:00 GMT", "retry-after": "Fri, 01 Jan 2016 00:02:00 GMT"}
    upstream.answers(error(429, "RATE_LIMITED", headers=headers))
    assert (await failure(api)).retry_after == 120


@pytest.mark.parametrize("value", ["soon", "-5", "nan", "inf", "1e3", "Fri, 99 Foo 2016 00:00:00 GMT", ""])
async def test_a_senseless_retry_after_counts_as_none(api: MogplexApi, upstream: ScriptedUpstream, value: str) -> None:
    upstream.answers(http(429, b"busy", {"retry-after": value}))
    assert (await failure(api)).retry_after is None


async def test_a_cut_answer_to_a_failure_is_an_http_error(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(cut(502))
    caught = await failure(api)
    assert (caught.code, caught.status) == ("HTTP_ERROR", 502)
    assert "only a part" in caught.message
