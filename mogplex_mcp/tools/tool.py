"""A tool is data plus one function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import mcp_types as types
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, SkipJsonSchema

from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.tasks import Task

Json = dict[str, Any]

Identifier = Annotated[str, Field(min_length=1, max_length=200)]
Absent = SkipJsonSchema[None]
"""Models send null for what they mean to leave out: accepted everywhere, advertised nowhere."""


class Arguments(BaseModel):
    """A tool's arguments. Unknown ones are refused: a misspelt ``createBranch`` must not commit to the base branch."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="forbid", hide_input_in_errors=True)


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True)
class Hints:
    """The four hints of a tool, all stated (MCP specification, tools, ``ToolAnnotations``)."""

    read_only: bool
    destructive: bool
    idempotent: bool
    open_world: bool


@dataclass(frozen=True)
class Tool(Generic[A]):
    """One tool.

    Attributes:
        name: The name in the Mogplex documentation.
        title: For people.
        description: For the model: when to use it and what comes next; under 2,000 characters.
        scope: The scope that a call needs (``auth/scopes.py``).
        hints: The four annotations.
        arguments: Model of the arguments; its schema is the input schema.
        result: Properties of the structured result; the first is present in every success.
        handle: Does the work and returns the structured result; or a task, when the client takes one and the result
            will be its.
    """

    name: str
    title: str
    description: str
    scope: str
    hints: Hints
    arguments: type[A]
    result: dict[str, Json]
    handle: Callable[[Call, A], Awaitable[Json]] | Callable[[Call, A], Awaitable[Json | Task]]

    @property
    def argument_names(self) -> frozenset[str]:
        """The arguments' names on the wire."""
        return frozenset(field.alias or name for name, field in self.arguments.model_fields.items())

    def declaration(self) -> types.Tool:
        """The tool as ``tools/list`` shows it."""
        return types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=self.arguments.model_json_schema(by_alias=True, schema_generator=_InputSchema),
            output_schema=self.output_schema(),
            annotations=types.ToolAnnotations(
                title=self.title,
                read_only_hint=self.hints.read_only,
                destructive_hint=self.hints.destructive,
                idempotent_hint=self.hints.idempotent,
                open_world_hint=self.hints.open_world,
            ),
        )

    def output_schema(self) -> Json:
        """The schema of the structured result.

        Its root accepts the success key or ``error``: some clients validate error results too.
        """
        success = next(iter(self.result))
        return {
            "type": "object",
            "properties": {**self.result, "error": ERROR_SCHEMA},
            "anyOf": [{"required": [success]}, {"required": ["error"]}],
        }


class _InputSchema(GenerateJsonSchema):
    """JSON Schema of arguments without the titles and null defaults that only cost a model tokens."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - the base class's signature
        return False

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        described = super().model_schema(schema)
        described.pop("title", None)
        described.pop("description", None)
        return described


def nullable(type_: str) -> Json:
    """Schema of a value that may be null."""
    return {"type": [type_, "null"]}


# What a model acts on; the rest (requestId, fields, candidates, idempotencyKey) is in the guide and in the error.
# It stands in every tool's schema, so it is short.
ERROR_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "suggestion": {"type": "string"},
        "retryAfter": {"type": "number", "description": "seconds"},
    },
    "required": ["code", "message", "suggestion"],
}

EVENTS_SCHEMA: Json = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"id": {"type": "string"}, "type": {"type": "string"}},
        "required": ["id", "type"],
    },
}

# What each part means is said by mogplex_start_agent_run (branch) and mogplex_get_run (status, error).
RUN_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "runId": {"type": "string"},
        "status": {"type": "string"},
        "branch": {"type": ["object", "null"]},
        "error": {},
    },
    "required": ["runId", "status"],
}
