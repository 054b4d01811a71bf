"""One-time passwords, by the vectors of RFC 6238 and by what must hold for any seed."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core.totp import EARLIER, PERIOD, passcode, seed_of, step_of

RFC = b"12345678901234567890"


@pytest.mark.parametrize(
    ("moment", "digits"), [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")]
)
def test_the_passcodes_are_those_of_the_standard(moment: int, digits: str) -> None:
    assert passcode(RFC, moment // PERIOD) == digits


@given(st.binary(min_size=1, max_size=64))
def test_a_seed_is_read_as_people_write_it(seed: bytes) -> None:
    text = base64.b32encode(seed).decode()
    for written in (text, text.rstrip("="), text.lower(), f" {text[:4]} {text[4:]}"):
        assert seed_of(written) == seed


@pytest.mark.parametrize("text", ["", "=", "1", "not base 32!", "é"])
def test_what_is_no_seed_is_none(text: str) -> None:
    assert seed_of(text) is None


@given(st.integers(0, 1 << 40), st.integers(-3, 3))
def test_a_passcode_counts_for_its_step_and_a_little_longer(step: int, away: int) -> None:
    now = float((step + 10) * PERIOD)
    given = passcode(RFC, step + 10 + away)
    near = {passcode(RFC, step + 10 - back) for back in range(EARLIER + 1)}
    found = step_of(RFC, given, now)
    assert (found is not None) == (given in near)
    if -EARLIER <= away <= 0:
        assert found is not None


@pytest.mark.parametrize("text", ["", "00000", "0000000", "\uff11\uff12\uff13\uff14\uff15\uff16", "abcdef", "\ud800"])
def test_what_is_no_passcode_matches_nothing(text: str) -> None:
    assert step_of(RFC, text, 0.0) is None
