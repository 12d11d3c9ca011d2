"""What is under way for a grant ends with the grant, and with a scope that it needs."""

import asyncio

import pytest

from mogplex_mcp.auth.streams import OpenStreams

READ = frozenset({"tools:read"})
RUN = frozenset({"agents:run"})


async def test_losing_a_scope_ends_what_needs_it_and_nothing_else() -> None:
    streams = OpenStreams()
    with (
        streams.under("g", 60, needs=READ) as reading,
        streams.under("g", 60, needs=RUN) as running,
        streams.under("g", 60) as session,
        streams.under("other", 60, needs=RUN) as other,
    ):
        streams.narrow("g", ("tools:read",))
        assert [each.cancel_called for each in (reading, running, session, other)] == [False, True, False, False]


async def test_what_another_process_takes_away_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mogplex_mcp.auth.streams.WATCH_SECONDS", 0.01)
    streams = OpenStreams()
    cannot_tell = True

    async def live(grant_ids: object) -> dict[str, tuple[str, ...]] | None:
        nonlocal cannot_tell
        assert grant_ids == {"narrowed", "gone", "kept"}
        if cannot_tell:
            cannot_tell = False
            return None
        return {"narrowed": ("agents:run",), "kept": ("tools:read", "agents:run")}

    watching = asyncio.create_task(streams.watch(live))

    async def hold(grant_id: str) -> None:
        with streams.under(grant_id, 60, needs=READ):
            await asyncio.Event().wait()

    held = {name: asyncio.create_task(hold(name)) for name in ("narrowed", "gone", "kept")}
    async with asyncio.timeout(10):
        await asyncio.wait({held["narrowed"], held["gone"]})
    assert not held["kept"].done()
    assert not cannot_tell
    for task in (watching, held["kept"]):
        task.cancel()
    await asyncio.wait({watching, held["kept"]})
