"""How many requests of a tenant are let in, whatever moments it asks at."""

from hypothesis import given
from hypothesis import strategies as st

from pileus.core.request_limits import BURST, PATIENCE, turn


@given(
    rate=st.floats(0.1, 1000.0),
    pauses=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200),
)
def test_in_any_time_no_more_are_let_in_than_its_rate_and_one_burst(rate: float, pauses: list[float]) -> None:
    now, full_at = 100.0, 0.0
    entered: list[float] = []
    for pause in pauses:
        now += pause
        wait, after = turn(full_at, now, rate)
        assert wait >= 0
        if wait <= PATIENCE:
            full_at = after
            entered.append(now + wait)
    for index, since in enumerate(entered):
        until = entered[-1]
        assert len(entered) - index <= rate * (until - since) + max(rate * BURST, 1.0) + 1.001


@given(rate=st.floats(0.1, 1000.0), count=st.integers(1, 100))
def test_who_keeps_to_its_rate_never_waits(rate: float, count: int) -> None:
    now, full_at = 0.0, 0.0
    for _ in range(count):
        now += 1.0 / rate
        wait, full_at = turn(full_at, now, rate)
        assert wait <= 1e-6


def test_after_a_silence_a_burst_is_free_and_no_more() -> None:
    full_at, free = 0.0, 0
    while (found := turn(full_at, 1000.0, 10.0))[0] == 0:
        full_at, free = found[1], free + 1
    assert free in (int(BURST * 10), int(BURST * 10) - 1)  # the last by the rounding of a float
