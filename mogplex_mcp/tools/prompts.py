"""Prompts: the two ways people use Mogplex from a host, ready to pick."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import mcp_types as types

MAX_ARGUMENT = 20_000


class UnknownPromptError(LookupError):
    """No prompt has this name."""


class PromptArgumentError(ValueError):
    """A prompt's argument is missing, unknown or too long."""


@dataclass(frozen=True)
class Prompt:
    """One prompt: its arguments (all required) and its text with a ``{placeholder}`` for each."""

    name: str
    title: str
    description: str
    arguments: dict[str, str]
    text: str

    def declaration(self) -> types.Prompt:
        """The prompt as ``prompts/list`` shows it."""
        return types.Prompt(
            name=self.name,
            title=self.title,
            description=self.description,
            arguments=[
                types.PromptArgument(name=name, description=description, required=True)
                for name, description in self.arguments.items()
            ],
        )

    def render(self, given: dict[str, str]) -> types.GetPromptResult:
        """The prompt with its arguments filled in.

        Raises:
            PromptArgumentError: The arguments are not exactly the declared ones, or one is too long.
        """
        if missing := [name for name in self.arguments if not given.get(name, "").strip()]:
            raise PromptArgumentError(f"Missing argument: {', '.join(missing)}.")
        if unknown := [name for name in given if name not in self.arguments]:
            raise PromptArgumentError(f"Unknown argument: {unknown[0][:100]}.")
        if any(len(value) > MAX_ARGUMENT for value in given.values()):
            raise PromptArgumentError(f"An argument is longer than {MAX_ARGUMENT} characters.")
        text = self.text.format(**given)
        return types.GetPromptResult(
            description=self.description,
            messages=[types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))],
        )


PROMPTS = MappingProxyType(
    {
        prompt.name: prompt
        for prompt in (
            Prompt(
                name="delegate",
                title="Delegate a task to Mogplex",
                description="Start an agent run on a repository and follow it to its end.",
                arguments={"repository": "owner/name of the repository", "task": "what the agent should do"},
                text=(
                    "Delegate this task to a Mogplex agent.\n\nRepository: {repository}\nTask: {task}\n\n"
                    "Find the repository with mogplex_list_repos. Start the run with mogplex_start_agent_run and "
                    "createBranch: true, with a prompt that holds everything the agent must know. Follow it with "
                    "mogplex_follow_run until it ends, then tell me what was done, on which branch, and what "
                    "is left to do. If I want a record, mogplex_export_run makes one."
                ),
            ),
            Prompt(
                name="review_run",
                title="Review a Mogplex run",
                description="Read a run's events and say what its agent did.",
                arguments={"run_id": "id of the run"},
                text=(
                    "Review the Mogplex run {run_id}. Read how it ended with mogplex_export_run (scope result), then "
                    "all its events with mogplex_get_run_events, following nextEventId. Then tell me what the agent "
                    "did, what it changed and on which branch, whether it succeeded, and what looks wrong or "
                    "unfinished."
                ),
            ),
        )
    }
)
"""Every prompt by name."""


def get_prompt(name: str, arguments: dict[str, str] | None) -> types.GetPromptResult:
    """Render the prompt of this name.

    Raises:
        UnknownPromptError: There is none.
        PromptArgumentError: The arguments do not fit.
    """
    prompt = PROMPTS.get(name)
    if prompt is None:
        raise UnknownPromptError(name)
    return prompt.render(arguments or {})
