"""The table of requirements is what the tests say today."""

from tests.oauth.requirements import DOCUMENT, requirements_table


def test_the_table_of_requirements_is_written_from_the_tests() -> None:
    assert DOCUMENT.read_text() == requirements_table(), "record it with: make tables"
