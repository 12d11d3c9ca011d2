"""The runs an account has seen, off the event loop; what has not changed is not written again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from mogplex_mcp.store.known_runs import KnownPage, Noted, find_known_runs, list_known_runs, note_run
from mogplex_mcp.store.store import Store

LEAST_PREFIX = 8
"""Characters by which a run may be named."""
REMEMBERED = 5_000


class KnownRuns:
    """One per process.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: OrderedDict[tuple[str, object], Mapping[str, object]] = OrderedDict()

    async def note(self, account: str, run: Mapping[str, object]) -> Noted:
        """Remember a run as Mogplex shows it now.

        Args:
            account: Who may see it.
            run: The run as it came.

        Returns:
            Whether the account did not know it before, or knew it otherwise.
        """
        key = account, run.get("runId")
        noted = {name: value for name, value in run.items() if name != "replayed"}
        if self._noted.get(key) == noted:
            return "same"
        outcome = await self._store.db.call(note_run, self._store, account, noted)
        self._noted[key] = noted
        self._noted.move_to_end(key)
        if len(self._noted) > REMEMBERED:
            self._noted.popitem(last=False)
        return outcome

    async def list(
        self,
        account: str,
        *,
        repo_id: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> KnownPage:
        """An account's runs, the latest first.

        Args:
            account: Whose.
            repo_id: Only those of this repository.
            status: Only those seen last with this status.
            limit: At most so many.
            cursor: ``next_cursor`` of the page before.

        Raises:
            CursorError: The cursor is none of ours.
        """
        return await self._store.db.call(
            list_known_runs, self._store, account, repo_id=repo_id, status=status, limit=limit, cursor=cursor
        )

    async def find_prefix(self, account: str, prefix: str) -> tuple[str, ...]:
        """The ids of an account's runs that begin so, at most 20; none for fewer than 8 characters."""
        if len(prefix) < LEAST_PREFIX:
            return ()
        return tuple(await self._store.db.call(find_known_runs, self._store, account, prefix))
