"""Changes are told to those who listen for the account, and to nobody else."""

from mogplex_mcp.tools.changes import Change, Changes, RunChanged, RunsChanged


def test_a_change_is_told_to_the_accounts_listeners_and_to_no_other() -> None:
    changes = Changes()
    first: list[Change] = []
    second: list[Change] = []
    others: list[Change] = []
    changes.subscribe("ann", first.append)
    changes.subscribe("ann", second.append)
    changes.subscribe("bob", others.append)
    changes.tell_of_run("ann", "run-1", "events")
    changes.tell("ann", RunsChanged())
    assert first == second == [RunChanged("run-1", "events"), RunsChanged()]
    assert others == []


def test_who_has_left_is_not_told_and_may_leave_again() -> None:
    changes = Changes()
    left: list[Change] = []
    stayed: list[Change] = []
    leave = changes.subscribe("ann", left.append)
    changes.subscribe("ann", stayed.append)
    leave()
    leave()
    changes.tell("ann", RunsChanged())
    assert (left, stayed) == ([], [RunsChanged()])


def test_the_same_listener_twice_is_told_twice_and_leaves_once() -> None:
    changes = Changes()
    told: list[Change] = []
    changes.subscribe("ann", told.append)
    changes.subscribe("ann", told.append)()
    changes.tell("ann", RunsChanged())
    assert told == [RunsChanged()]


def test_a_listener_that_fails_keeps_nothing_from_the_others() -> None:
    changes = Changes()
    told: list[Change] = []

    def fail(change: Change) -> None:
        raise ValueError(change)

    changes.subscribe("ann", fail)
    changes.subscribe("ann", told.append)
    changes.tell("ann", RunsChanged())
    assert told == [RunsChanged()]
