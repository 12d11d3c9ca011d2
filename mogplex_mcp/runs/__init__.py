"""Live runs: one poller a run, however many follow; the runs an account has seen."""

from mogplex_mcp.runs.follower import Follower
from mogplex_mcp.runs.watched_run import Change, LiveRun, Pace
from mogplex_mcp.runs.watcher import Listener, Watchers

__all__ = ["Change", "Follower", "Listener", "LiveRun", "Pace", "Watchers"]
