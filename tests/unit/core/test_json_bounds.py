"""Bounds of a decoded JSON body."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core.json_bounds import DEEPEST, LONGEST, MOST, problem, worth_a_look

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def nested(depth: int, core: Any = 1) -> Any:
    value = core
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


def has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any("\0" in name or has_nul(one) for name, one in value.items())
    return any(map(has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value


@given(VALUES)
def test_small_values_are_refused_for_a_nul_and_for_nothing_else(value: Any) -> None:
    assert bool(problem(value)) == has_nul(value)
    if has_nul(value):
        assert "NUL" in problem(value) and worth_a_look(msgspec.json.encode(value))


def test_depth_is_bounded() -> None:
    assert problem(nested(DEEPEST)) == ""
    assert "nested" in problem(nested(DEEPEST + 1))
    assert "nested" in problem(nested(900)) and worth_a_look(msgspec.json.encode(nested(900)))


@pytest.mark.parametrize("value", [[0] * (LONGEST + 1), {str(n): 0 for n in range(LONGEST + 1)}, {"a": [[0] * (LONGEST + 1)]}])
def test_a_list_or_object_is_bounded(value: Any) -> None:
    assert "items" in problem(value) and worth_a_look(msgspec.json.encode(value))


def test_a_list_at_the_bound_is_accepted() -> None:
    assert problem({"a": [0] * LONGEST}) == ""


def test_the_number_of_values_is_bounded() -> None:
    assert "values" in problem([[0] * LONGEST] * (MOST // LONGEST + 1))
