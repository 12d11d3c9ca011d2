"""The contract that hosts see: each tool's wire schema is a checked-in snapshot; a change is a visible difference."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mogplex_mcp.server import INSTRUCTIONS
from mogplex_mcp.tools.registry import TOOLS

SNAPSHOTS = Path(__file__).parent / "schemas"
DOCUMENTED = {
    "mogplex_list_repos": {"query", "limit"},
    "mogplex_list_sandboxes": {"repoId", "status", "limit"},
    "mogplex_start_agent_run": {
        "repoId",
        "prompt",
        "harness",
        "baseBranch",
        "workingBranch",
        "createBranch",
        "rootDirectory",
        "idempotencyKey",
        "wait",
        "timeoutSeconds",
    },
    "mogplex_get_run": {"runId"},
    "mogplex_get_run_events": {"runId", "limit"},
    "mogplex_follow_run": {"runId", "sinceEventId", "until", "timeoutSeconds"},
    "mogplex_list_runs": {"repoId", "status", "limit", "cursor"},
    "mogplex_export_run": {"runId", "format", "scope"},
    "mogplex_cancel_run": {"runId"},
}
WIRE = {
    name: tool.declaration().model_dump(mode="json", by_alias=True, exclude_none=True) for name, tool in TOOLS.items()
}


@pytest.mark.parametrize("name", WIRE)
def test_the_wire_schema_is_the_one_that_was_reviewed(name: str) -> None:
    snapshot = SNAPSHOTS / f"{name}.json"
    assert json.loads(snapshot.read_text()) == WIRE[name], "a reviewed change is recorded by: make snapshots"


def test_every_snapshot_belongs_to_a_tool() -> None:
    assert {path.stem for path in SNAPSHOTS.glob("*.json")} == set(TOOLS)


@pytest.mark.parametrize(("name", "arguments"), DOCUMENTED.items())
def test_the_documented_arguments_are_there_under_their_names(name: str, arguments: set[str]) -> None:
    assert arguments <= set(WIRE[name]["inputSchema"]["properties"])


@pytest.mark.parametrize("name", WIRE)
def test_all_four_hints_are_stated(name: str) -> None:
    hints = {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    assert hints <= set(WIRE[name]["annotations"])


@pytest.mark.parametrize("name", WIRE)
def test_every_argument_is_bounded(name: str) -> None:
    for argument, schema in WIRE[name]["inputSchema"]["properties"].items():
        kinds = [schema, *schema.get("anyOf", [])]
        bounded = {"maxLength", "maximum", "enum"} & {key for kind in kinds for key in kind}
        assert bounded or schema.get("type") == "boolean", argument


@pytest.mark.parametrize("name", WIRE)
def test_null_is_taken_for_an_argument_left_out(name: str) -> None:
    schema = WIRE[name]["inputSchema"]
    required = schema.get("required", [])
    given = dict.fromkeys(required, "x")
    left_out = dict.fromkeys(set(schema["properties"]) - set(required))
    arguments = TOOLS[name].arguments
    assert arguments.model_validate(given | left_out) == arguments.model_validate(given)


@pytest.mark.parametrize("name", WIRE)
def test_the_output_schema_accepts_success_and_error_and_forbids_nothing(name: str) -> None:
    schema = WIRE[name]["outputSchema"]
    success = next(iter(TOOLS[name].result))
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"error": {"code": "X", "status": None, "message": "m", "suggestion": "s", "new": 1}})
    assert not validator.is_valid({})
    assert schema["anyOf"] == [{"required": [success]}, {"required": ["error"]}]
    assert "enum" not in json.dumps(schema)
    assert "additionalProperties" not in json.dumps(schema)


def test_descriptions_and_instructions_are_short_enough_for_hosts_that_cut() -> None:
    assert all(len(tool["description"]) < 2000 for tool in WIRE.values())
    assert len(INSTRUCTIONS) < 2000


def test_the_whole_catalogue_is_small() -> None:
    assert len(json.dumps({"tools": list(WIRE.values())}, separators=(",", ":"))) <= 16 * 1024


def test_starting_says_first_how_to_keep_the_base_branch_clean() -> None:
    assert "createBranch: true" in WIRE["mogplex_start_agent_run"]["description"][:200]
