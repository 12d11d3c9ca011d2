"""One module for each coding agent that a run can use."""
