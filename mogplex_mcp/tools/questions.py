"""Questions to the person behind a host, in either era of the protocol.

On 2026-07-28 a question is the call's own result, ``input_required``, and the host calls again with the answer (MCP
specification 2026-07-28, basic, "Multi Round-Trip Requests"). Nothing is kept in between: the second call finds the
same question and takes only an answer that is one of its choices. Before, it is a request to the host while the call
waits (2025-06-18, client, "Elicitation").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.server.context import ServerRequestContext

    Context = ServerRequestContext[dict[str, Any], Any]

ANSWER_SECONDS = 10 * 60.0
"""How long a call waits for a person's answer, where it has to."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """One choice for a person to make.

    Attributes:
        argument: The argument of the tool that the answer replaces, by its name on the wire.
        title: What is chosen, for a form.
        text: What is asked.
        choices: What to show, and the value behind each.
    """

    argument: str
    title: str
    text: str
    choices: Mapping[str, str]

    def form(self) -> Json:
        """The JSON Schema of the form: the subset that every revision with elicitation knows."""
        choice = {"type": "string", "title": self.title, "enum": list(self.choices)}
        return {"type": "object", "properties": {self.argument: choice}, "required": [self.argument]}

    def chosen(self, answer: types.ElicitResult) -> str | None:
        """The value that the person chose; None when they chose none of them."""
        given = (answer.content or {}).get(self.argument) if answer.action == "accept" else None
        return self.choices.get(given) if isinstance(given, str) else None


@dataclass
class UndecidedError(Exception):
    """What the caller means is not clear.

    Attributes:
        error: The tool's error, for a caller who cannot be asked.
        question: What to ask; None when there is nothing to choose from.
    """

    error: Json
    question: Question | None = field(default=None)


async def ask(
    ctx: Context, params: types.CallToolRequestParams, question: Question
) -> str | types.InputRequiredResult | None:
    """Ask the person.

    Args:
        ctx: The request that the question is about.
        params: Its parameters; in the era of multi round-trip requests they may hold the answer.
        question: What to ask.

    Returns:
        The value chosen; or what to answer the request with, so that the person is asked; or None: the host cannot ask,
        or the person chose nothing.
    """
    # The command line, which asks in its own way, names repositories and runs too: it starts without the SDK.
    import mcp_types as types  # noqa: PLC0415
    from mcp.shared.exceptions import MCPError  # noqa: PLC0415

    if not _can_ask(ctx.session.client_capabilities):
        return None
    if ctx.protocol_version >= "2026-07-28":
        answer = (params.input_responses or {}).get(question.argument)
        if answer is None:
            form = types.ElicitRequestFormParams(message=question.text, requested_schema=question.form())
            return types.InputRequiredResult(input_requests={question.argument: types.ElicitRequest(params=form)})
        return question.chosen(answer) if isinstance(answer, types.ElicitResult) else None
    with anyio.move_on_after(ANSWER_SECONDS):
        try:
            answer = await ctx.session.elicit_form(question.text, question.form(), related_request_id=ctx.request_id)
        except MCPError:
            # A host that says that it can ask, and then cannot: the model gets the candidates.
            return None
        return question.chosen(answer)
    return None


def _can_ask(capabilities: types.ClientCapabilities | None) -> bool:
    """Whether the host shows forms. One that names no mode does (MCP specification 2025-11-25, "Elicitation")."""
    elicitation = capabilities.elicitation if capabilities is not None else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)
