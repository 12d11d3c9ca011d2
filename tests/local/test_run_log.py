"""A run's events are bounded in number and size; how it ends is always recorded."""

from __future__ import annotations

from pathlib import Path

from mogplex_mcp.local import events as event_log
from mogplex_mcp.local import runs
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.events import NewEvent
from mogplex_mcp.local.news import News
from mogplex_mcp.local.run_log import RunLog
from tests.local.test_database import recorded


def types_of(db: Database, run_id: str) -> list[object]:
    with db.read() as connection:
        return [event["message"] for event in event_log.listed(connection, run_id, 200)]


async def test_too_many_events_are_cut_off_and_said_so_once(db: Database, data_dir: Path) -> None:
    run = recorded(db, data_dir)
    log = RunLog(db, run, News(), max_events=3)
    await log.write([NewEvent("log", "1"), NewEvent("log", "2")])
    await log.write([NewEvent("log", "3"), NewEvent("log", "4")])
    await log.write([NewEvent("log", "5")])
    assert types_of(db, run.id) == ["1", "2", "3", "This run has had its share of events; no more are kept."]
    with db.write() as connection:
        runs.finish(connection, run, status="success", error=None, payload={}, now=9)
    assert types_of(db, run.id)[-1] == "Run finished"


async def test_too_much_text_is_cut_off(db: Database, data_dir: Path) -> None:
    run = recorded(db, data_dir)
    log = RunLog(db, run, News(), max_bytes=1_000)
    for _ in range(10):
        await log.write([NewEvent("log", "x" * 400)])
    assert len(types_of(db, run.id)) == 4
