"""Which repository a name means, and which lists are read to find out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogplex_mcp.api import MogplexApi, Repo
from mogplex_mcp.tools.repo_lists import LIST_SECONDS, RepoLists
from mogplex_mcp.tools.repo_names import choices_of, find, nearest

NAMES = ("acme/web", "acme/website", "acme/api", "beta/api", "beta/Tools")


def repo(id_: str, name: str) -> Repo:
    return Repo.model_validate({"id": id_, "full_name": name})


REPOS = tuple(repo(f"id-{number}", name) for number, name in enumerate(NAMES))


@pytest.mark.parametrize(
    ("name", "meant", "certain"),
    [
        ("id-1", ["acme/website"], True),
        ("acme/web", ["acme/web"], True),
        ("ACME/Web", ["acme/web"], True),
        ("web", ["acme/web"], True),
        ("tools", ["beta/Tools"], True),
        ("api", ["acme/api", "beta/api"], True),
        ("acme/webs", ["acme/website"], False),
        ("too", ["beta/Tools"], False),
        ("acme", ["acme/web", "acme/website", "acme/api"], False),
        ("ID-1", [], False),
        ("eb", [], False),
        ("nothing", [], False),
    ],
)
def test_a_name_means_what_fits_best(name: str, meant: list[str], certain: bool) -> None:
    match = find(name, REPOS)
    assert [each.full_name for each in match.repos] == meant
    assert match.certain is certain


def test_a_repository_whose_name_is_anothers_id_does_not_take_its_place() -> None:
    assert [each.id for each in find("id-0", [*REPOS, repo("other", "evil/id-0")]).repos] == ["id-0"]


@given(st.text(min_size=1, max_size=20), st.lists(st.text(min_size=1, max_size=20), max_size=8))
def test_only_a_name_or_its_beginning_is_found(name: str, names: list[str]) -> None:
    repos = [repo(f"{number}", each) for number, each in enumerate(names)]
    match = find(name, repos)
    for each in match.repos:
        full = each.full_name.casefold()
        beginning = full.startswith(name.casefold()) or full.rpartition("/")[2].startswith(name.casefold())
        assert each.id == name or beginning
    assert match.certain <= bool(match.repos)


def test_a_slip_of_the_finger_has_the_intended_name_nearest() -> None:
    assert nearest("acme/wbe", REPOS)[0].full_name == "acme/web"
    assert nearest("tolos", REPOS)[0].full_name == "beta/Tools"
    assert nearest("zzzzzzzz", REPOS) == []


class Listing(MogplexApi):
    """A Mogplex whose list is what the test says, and which counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    async def list_repos(self, *, query: str | None = None, limit: int | None = None) -> list[Repo]:
        self.asked.append(query)
        return list(REPOS[:limit])


async def test_a_list_is_read_once_a_minute_for_each_account() -> None:
    now = 100.0
    lists, api = RepoLists(lambda: now), Listing()
    for _ in range(3):
        assert (await lists.get(api, "one")).complete
    assert len(api.asked) == 1
    await lists.get(api, "two")
    assert len(api.asked) == 2
    now += LIST_SECONDS + 1
    await lists.get(api, "one")
    assert len(api.asked) == 3


async def test_lists_of_many_accounts_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mogplex_mcp.tools.repo_lists.MAX_LISTS", 2)
    lists, api = RepoLists(), Listing()
    for account in ("one", "two", "one", "three", "one"):
        await lists.get(api, account)
    assert len(api.asked) == 3
    await lists.get(api, "two")
    assert len(api.asked) == 4


def test_what_a_person_is_asked_commands_no_terminal() -> None:
    labels = choices_of([repo("id-1", "acme/\x1b[2Jweb\u202e"), repo("id-2", "acme/api")])
    assert all(label.isprintable() for label in labels)
    assert list(labels.values()) == ["id-1", "id-2"]
