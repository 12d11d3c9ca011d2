"""The headless command line: repositories, runs and sandboxes from any shell, one module per group of commands.

Source: Mogplex documentation, /cli/automation and /cli/automation/headless-runs. What a command needs is imported when
it runs: ``--help`` of the whole program loads none of it.
"""
