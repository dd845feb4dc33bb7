"""Identifiers sort by time, never repeat, and cannot smuggle a path."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BadInput
from shared.ids import check_id, new_id


def test_new_ids_are_valid_distinct_and_in_order_of_time() -> None:
    made = []
    for _ in range(5):
        made.append(new_id("run"))
        time.sleep(0.002)
    assert made == sorted(made)
    assert len({new_id("run") for _ in range(1000)}) == 1000
    assert all(check_id(value, "run") == value for value in made)
    assert re.fullmatch(r"run-[0-9a-z]{18}", made[0])


@pytest.mark.parametrize("value", ["a", "0", "store-1", "a.b_c-d", "x" * 63])
def test_valid_ids_pass_unchanged(value: str) -> None:
    assert check_id(value, "store id") == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "A",
        "-a",
        "a-",
        ".",
        "..",
        "../a",
        "a/b",
        "a\\b",
        "a b",
        "a\n",
        "é",
        "店",
        "x" * 64,
        "\0",
    ],
)
def test_invalid_ids_are_refused(value: str) -> None:
    with pytest.raises(BadInput, match="store id"):
        check_id(value, "store id")


@given(st.text(max_size=80))
def test_whatever_passes_is_safe_as_a_file_name(value: str) -> None:
    try:
        check_id(value, "id")
    except BadInput:
        return
    assert not set(value) & set("/\\\0\n ")
    assert value not in {".", ".."}
    assert 1 <= len(value.encode()) <= 63
