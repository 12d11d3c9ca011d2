"""The repositories of each account, remembered for a minute: names are looked up in them without asking each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from mogplex_mcp.api import MogplexApi, Repo

LIST_SECONDS = 60.0
MAX_LISTS = 1_000
"""Most lists kept in memory; those that were used least lately go first."""
PAGE = 200
"""The most repositories that Mogplex gives (documentation, /web/api/repos)."""


@dataclass(frozen=True)
class RepoList:
    """Repositories of one account.

    Attributes:
        repos: In Mogplex's order.
        complete: Nothing that was asked for is missing.
        read_at: Seconds on the clock.
    """

    repos: tuple[Repo, ...]
    complete: bool
    read_at: float


class RepoLists:
    """One per process. Nothing is shared between accounts.

    Args:
        clock: Seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lists: OrderedDict[tuple[str, str | None], RepoList] = OrderedDict()

    async def get(
        self, api: MogplexApi, account: str, query: str | None = None, *, since: float | None = None
    ) -> RepoList:
        """An account's repositories, the first ``PAGE`` of them.

        Args:
            api: Mogplex as the account.
            account: Whose they are.
            query: Only those whose full name has this part; unset, all.
            since: Read again what was read before this time; unset, what is older than ``LIST_SECONDS``.

        Raises:
            MogplexError: They cannot be read.
        """
        key = account, query
        known = self._lists.get(key)
        if known is not None and known.read_at >= (self._clock() - LIST_SECONDS if since is None else since):
            self._lists.move_to_end(key)
            return known
        began = self._clock()
        repos = tuple(await api.list_repos(query=query, limit=PAGE))
        found = RepoList(repos, complete=len(repos) < PAGE, read_at=began)
        self._lists[key] = found
        self._lists.move_to_end(key)
        if len(self._lists) > MAX_LISTS:
            self._lists.popitem(last=False)
        return found

    def now(self) -> float:
        """The time on the clock that ``since`` is compared with."""
        return self._clock()
