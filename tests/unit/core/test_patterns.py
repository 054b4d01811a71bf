"""Patterns of users: they find what Python's `re` finds, and can't keep anybody waiting."""

import re
import time

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from pileus.core.patterns import Pattern
from pileus.model.errors import Invalid

ATOMS = st.sampled_from(["a", "B", ".", "[ab]", "[^a]", "\\d", "\\.", "^", "$", "(?:a|b)", "(ab)", "-", "_", "x{2}", "a{1,2}", "(a*)"])
PIECES = st.lists(st.tuples(ATOMS, st.sampled_from(["", "", "*", "+", "?", "*?"])).map("".join), max_size=6).map("".join)


@given(pattern=st.lists(PIECES, min_size=1, max_size=2).map("|".join), text=st.text("abAB.x1-_", max_size=12))
def test_it_finds_what_re_finds(pattern: str, text: str) -> None:
    try:
        re.compile(pattern)
    except re.error:
        reject()
    assert Pattern(pattern).found_in(text) == (re.search(pattern, text, re.IGNORECASE) is not None)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(a|aa)+$", "(.*a){12}b", ".*.*.*.*.*=", "a?" * 60 + "a" * 60, "(a|b)*a(a|b){100}$"]
)
def test_a_pattern_made_to_take_forever_is_answered_or_refused_soon(pattern: str) -> None:
    started = time.monotonic()
    try:
        one = Pattern(pattern)
        for number in range(200):
            one.found_in("a" * 250 + str(number))
    except Invalid:
        pass
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("pattern", ["(", "[", "*", "a{9999999999999999}", "(" * 254, "(" * 120 + ")" * 120, "(?=a)", "(a)\\1", "x" * 256,
                                     "((a{99}){99}){99}", "(){999999999}", "((){9999}){9999}", "(?i)a", "\\x41", "a{2,1}"])  # fmt: skip
def test_what_is_no_pattern_or_too_much_of_one_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid):
        Pattern(pattern)
