"""What unified limits may say of a tree of projects."""

from hypothesis import given
from hypothesis import strategies as st

from pileus.core.limits import UNLIMITED, exceeds, fits

AMOUNTS = st.integers(-1, 50)


@given(AMOUNTS, AMOUNTS)
def test_one_of_two_different_limits_exceeds_the_other(one: int, other: int) -> None:
    assert exceeds(one, other) + exceeds(other, one) == (one != other)


@given(AMOUNTS)
def test_no_limit_exceeds_unlimited(one: int) -> None:
    assert not exceeds(one, UNLIMITED)
    assert exceeds(UNLIMITED, one) == (one != UNLIMITED)


@given(AMOUNTS, AMOUNTS, st.lists(AMOUNTS, max_size=4))
def test_a_limit_that_fits_lies_between_those_below_and_the_one_above(limit: int, above: int, below: list[int]) -> None:
    between = not exceeds(limit, above) and all(not exceeds(child, limit) for child in below)
    assert fits(limit, above, below) == between
    assert fits(limit, None, [])
