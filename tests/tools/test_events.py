"""Which events a caller gets of the 200 that Mogplex gives, and how they are kept within bounds."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES, fit_run, size
from mogplex_mcp.tools.errors import BadArgumentsError
from mogplex_mcp.tools.get_run_events import WINDOW, GetRunEventsArguments, choose_events

Json = dict[str, Any]
RUN: Json = {"runId": "r", "status": "streaming"}


def event(number: int, text: str = "") -> Json:
    return {"id": f"e{number}", "type": "log", "message": None, "payload": {"text": text}, "createdAt": "2026-01-01"}


def choose(events: list[Json], **arguments: Any) -> Json:
    return choose_events(RUN, events, GetRunEventsArguments.model_validate({"runId": "r", **arguments}, by_name=False))


def ids(result: Json) -> list[str]:
    return [shown["id"] for shown in result["events"]]


def test_without_a_choice_the_first_hundred_come_and_the_rest_is_announced() -> None:
    result = choose([event(n) for n in range(150)])
    assert ids(result) == [f"e{n}" for n in range(100)]
    assert result["nextEventId"] == "e99"
    assert result["eventsTruncated"] is True
    assert "sinceEventId" in result["truncatedReason"]


def test_reading_on_from_the_last_event_misses_and_repeats_nothing() -> None:
    events = [event(n) for n in range(150)]
    first = choose(events)
    second = choose(events, sinceEventId=first["nextEventId"])
    assert ids(first) + ids(second) == [e["id"] for e in events]
    assert second["eventsTruncated"] is False
    assert "truncatedReason" not in second


def test_with_nothing_new_the_place_is_kept() -> None:
    result = choose([event(0)], sinceEventId="e0")
    assert result["events"] == []
    assert result["nextEventId"] == "e0"


def test_a_run_without_events_has_no_place_yet() -> None:
    assert choose([])["nextEventId"] is None


def test_tail_gives_the_last_ones() -> None:
    assert ids(choose([event(n) for n in range(9)], tail=2)) == ["e7", "e8"]


def test_tail_counts_from_the_place_given() -> None:
    assert ids(choose([event(n) for n in range(9)], sinceEventId="e7", tail=5)) == ["e8"]


def test_limit_and_tail_together_are_refused() -> None:
    with pytest.raises(BadArgumentsError):
        choose([], limit=1, tail=1)


def test_an_event_that_is_none_of_the_run_is_refused_by_name() -> None:
    with pytest.raises(BadArgumentsError) as refused:
        choose([event(0)], sinceEventId="elsewhere")
    assert "sinceEventId" in refused.value.fields


def test_a_full_window_is_announced_since_later_events_cannot_be_read() -> None:
    result = choose([event(n) for n in range(WINDOW)], tail=5)
    assert result["eventsTruncated"] is True
    assert "200" in result["truncatedReason"]


def test_payloads_are_shortened_before_events_are_left_out() -> None:
    result = choose([event(n, "x" * 2000) for n in range(50)], limit=50)
    assert len(result["events"]) == 50
    assert all(shown["shortened"] for shown in result["events"])
    assert size(result) <= MAX_RESULT_BYTES


def test_small_answers_are_left_as_they_came() -> None:
    events = [event(n, "x" * 2000) for n in range(3)]
    assert choose(events)["events"] == events


def test_full_detail_keeps_payloads_whole_and_leaves_out_events_instead() -> None:
    events = [event(n, "x" * 2000) for n in range(50)]
    result = choose(events, detail="full")
    assert result["events"] == events[: len(result["events"])]
    assert 0 < len(result["events"]) < 50
    assert result["eventsTruncated"] is True
    assert size(result) <= MAX_RESULT_BYTES


def test_a_tail_that_is_too_big_keeps_its_end() -> None:
    events = [event(n, "x" * 2000) for n in range(50)]
    result = choose(events, detail="full", tail=50)
    assert ids(result)[-1] == "e49"
    assert "last" in result["truncatedReason"]


def test_one_event_larger_than_the_answer_is_shortened_even_in_full_detail() -> None:
    result = choose([event(0, "x" * 100_000)], detail="full")
    assert result["events"][0]["shortened"] is True
    assert size(result) <= MAX_RESULT_BYTES


def test_a_monstrous_run_is_cut_to_what_is_certain() -> None:
    run = {"runId": "r", "status": "streaming", **{f"x{n}": "y" * 1000 for n in range(1000)}}
    fitted = fit_run(run)
    assert size(fitted) <= 8 * 1024
    assert fitted["runId"] == "r"
    assert fitted["status"] == "streaming"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3000),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=20), inner, max_size=8),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(
    payloads=st.lists(json_values, max_size=60),
    repeat=st.integers(1, 4),
    detail=st.sampled_from(["short", "full"]),
    tail=st.none() | st.integers(1, WINDOW),
    limit=st.none() | st.integers(1, WINDOW),
)
def test_whatever_payloads_come_reading_on_gives_every_event_once_within_bounds(
    payloads: list[object], repeat: int, detail: str, tail: int | None, limit: int | None
) -> None:
    events = [{**event(n), "payload": payload} for n, payload in enumerate(payloads * repeat)][: WINDOW - 1]
    if tail is not None:
        result = choose(events, detail=detail, tail=tail)
        assert size(result) <= MAX_RESULT_BYTES
        assert ids(result) == [e["id"] for e in events][len(events) - len(result["events"]) :]
        return
    seen: list[str] = []
    since: str | None = None
    while True:
        result = choose(events, detail=detail, sinceEventId=since, limit=limit)
        assert size(result) <= MAX_RESULT_BYTES
        seen += ids(result)
        since = result["nextEventId"]
        if not result["eventsTruncated"]:
            break
        assert result["events"], "reading on must make progress"
    assert seen == [e["id"] for e in events]
