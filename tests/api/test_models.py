"""Whatever Mogplex sends comes back as it was, and no id gets out of its place in the path."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mogplex_mcp.api import McpServer, MogplexApi, MogplexError, Repo, Run, RunEvent, Sandbox, StartedRun, StartRun
from mogplex_mcp.api.models import Record
from mogplex_mcp.api.transport import Route, Upstream

NAMES = ["id", "status", "type", "runId", "run_id", "error", "payload", "wire", "model_config", "model_dump", "self"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), JSON, max_size=6)
CERTAIN: dict[type[Record], list[str]] = {
    Repo: ["id", "full_name"],
    Sandbox: ["id", "status"],
    Run: ["runId", "status"],
    StartedRun: ["runId", "status"],
    RunEvent: ["id", "type"],
    McpServer: ["name"],
}


@pytest.mark.parametrize("model", CERTAIN)
@settings(deadline=None, max_examples=50)
@given(data=OBJECTS, certain=st.lists(st.text(), min_size=2, max_size=2))
def test_a_record_gives_back_exactly_what_came(
    model: type[Record], data: dict[str, object], certain: list[str]
) -> None:
    sent = {**data, **dict(zip(CERTAIN[model], certain, strict=False))}
    assert model.model_validate(sent).wire() == sent


@pytest.mark.parametrize("model", CERTAIN)
def test_only_what_is_certain_is_required(model: type[Record]) -> None:
    required = {field.alias or name for name, field in model.model_fields.items() if field.is_required()}
    assert required == set(CERTAIN[model])


class Recorder(httpx2.AsyncBaseTransport):
    """Notes where a request would go."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.paths.append(request.url.raw_path)
        return httpx2.Response(404, json={"ok": False, "error": {"code": "NOT_FOUND", "message": "no"}})


@settings(deadline=None, max_examples=50)
@given(run_id=st.text(max_size=40) | st.text(alphabet="./%2eF\\?#;:@ ", max_size=12))
def test_an_id_stays_one_segment_of_the_path(run_id: str) -> None:
    transport = Recorder()
    upstream = Upstream(Route("hosted", "test", "http://127.0.0.1", Path("/")), transport, 1, 1)
    with suppress(MogplexError):
        asyncio.run(MogplexApi(upstream, "mog_token").list_run_events(run_id))
    for path in transport.paths:
        prefix, segment, events = path.removeprefix(b"/api/v1/mogplex/").split(b"/")
        assert (prefix, events) == (b"runs", b"events?limit=200")
        assert segment not in {b"", b".", b".."}
        assert b"?" not in segment
        assert httpx2.URL(f"http://h/{segment.decode()}").path == f"/{run_id}"


@pytest.mark.parametrize(
    "bad",
    [{"repo_id": ""}, {"prompt": ""}, {"prompt": "x" * 100_001}, {"prompt": 7}, {"create_branch": "yes"}, {"x": 1}],
)
def test_a_start_that_cannot_be_is_refused_without_quoting_it(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        StartRun.model_validate({"repo_id": "r", "prompt": "secret plan", **bad})
    assert "secret plan" not in str(caught.value)


def test_a_start_leaves_the_prompt_out_of_its_repr() -> None:
    assert "secret plan" not in repr(StartRun(repo_id="r", prompt="secret plan"))
