"""Errors are one line, translate to JSON, and every class says how the program exits."""

import json

import pytest

from shared import errors
from shared.exit_codes import ExitCode

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.StoreWeaveError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_of_its_own_and_an_exit_code(
    kind: type[errors.StoreWeaveError],
) -> None:
    assert isinstance(kind.exit_code, ExitCode)
    assert kind.exit_code not in {ExitCode.OK, ExitCode.USAGE}
    assert [other.code for other in KINDS].count(kind.code) == 1


@pytest.mark.parametrize(
    ("where", "remedy", "line"),
    [
        ("", "", "it broke"),
        ("a.toml", "", "a.toml: it broke"),
        ("", "mend it", "it broke — mend it"),
        ("a.toml", "mend it", "a.toml: it broke — mend it"),
    ],
)
def test_one_line_says_what_where_and_what_to_do(where: str, remedy: str, line: str) -> None:
    assert str(errors.BadInput("it broke", where=where, remedy=remedy)) == line


def test_json_form_keeps_the_facts_apart() -> None:
    error = errors.BudgetRefused("too much", where="leeds", remedy="wait", left=0.5)
    assert json.loads(json.dumps(error.as_dict())) == {
        "code": "budget_refused",
        "message": "too much",
        "where": "leeds",
        "remedy": "wait",
        "facts": {"left": 0.5},
    }


def test_who_catches_a_refusal_catches_a_budget_refusal() -> None:
    assert issubclass(errors.BudgetRefused, errors.Refused)
    assert issubclass(errors.NotFound, errors.BadInput)
    assert issubclass(errors.LateReply, errors.BadUpdate)
