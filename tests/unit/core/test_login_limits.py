"""How often a login may fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pileus.core.login_limits import (
    CLOUD_FREE,
    CLOUD_LEAK,
    FORGET,
    FREE,
    LONGEST_WAIT,
    CloudFailures,
    Failures,
    allowance,
    begun,
    ended,
    forgotten,
    given_up,
    raised,
    source_of,
    wait_of,
)

QUIET = CloudFailures()


def after(count: int, now: float = 0.0) -> Failures:
    failures = Failures()
    for _ in range(count):
        failures = ended(begun(failures, now), right=False, now=now)
    return failures


def test_the_first_failures_cost_nothing_and_each_further_one_doubles_the_wait() -> None:
    assert [wait_of(after(count), QUIET, 0.0) for count in range(FREE)] == [0.0] * FREE
    assert [wait_of(after(FREE + more), QUIET, 0.0) for more in range(4)] == [1.0, 2.0, 4.0, 8.0]
    assert wait_of(after(FREE + 500), QUIET, 0.0) == LONGEST_WAIT
    assert wait_of(after(FREE + 2), QUIET, 3.0) == 1.0
    assert wait_of(after(FREE + 2), QUIET, 4.0) == 0.0


def test_a_right_password_forgives_and_time_forgets() -> None:
    assert ended(begun(after(FREE + 5), 400.0), right=True, now=400.0) == Failures()
    assert wait_of(after(FREE + 50), QUIET, FORGET) == 0.0
    assert begun(after(FREE + 50), FORGET).count == 0
    assert forgotten(after(3), FORGET) and not forgotten(after(3), FORGET - 1)


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    assert wait_of(after(FREE + 50, now=1e6), QUIET, 0.0) == 0.0
    assert forgotten(after(5, now=1e6), 0.0)


def test_many_tries_at_once_are_no_way_around_the_wait() -> None:
    failures = after(1)
    for _ in range(FREE - 1):
        assert wait_of(failures, QUIET, 0.0) == 0.0
        failures = begun(failures, 0.0)
    assert wait_of(failures, QUIET, 0.0) > 0.0
    assert wait_of(given_up(failures), QUIET, 0.0) == 0.0


def test_many_right_passwords_at_once_wait_for_nothing() -> None:
    failures = Failures()
    for _ in range(1000):
        assert wait_of(failures, QUIET, 0.0) == 0.0
        failures = begun(failures, 0.0)


def test_a_storm_on_the_whole_cloud_makes_the_allowance_smaller_but_never_for_who_has_not_failed() -> None:
    cloud = QUIET
    seen = []
    for number in range(6 * CLOUD_FREE):
        if number % CLOUD_FREE == 0:
            seen.append(allowance(cloud, 0.0))
        cloud = raised(cloud, 0.0)
    assert seen == [10, 5, 2, 1, 1, 1]
    assert wait_of(Failures(), cloud, 0.0) == 0.0
    assert wait_of(after(1), cloud, 0.0) == 1.0
    assert allowance(cloud, 6 * CLOUD_FREE / CLOUD_LEAK) == FREE


@pytest.mark.parametrize(
    ("address", "source"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
     ("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::"), ("", ""), ("unix", "unix")],
)  # fmt: skip
def test_what_counts_as_one_address(address: str, source: str) -> None:
    assert source_of(address) == source


@given(st.lists(st.tuples(st.sampled_from(["begin", "wrong", "right", "gone"]), st.floats(0, 500)), max_size=60))
def test_no_history_makes_anybody_wait_longer_than_the_longest_wait(history: list[tuple[str, float]]) -> None:
    failures, cloud, now = Failures(), QUIET, 0.0
    for what, pause in history:
        now += pause
        assert 0.0 <= wait_of(failures, cloud, now) <= LONGEST_WAIT
        if what == "begin":
            failures = begun(failures, now)
        elif failures.pending and what == "gone":
            failures = given_up(failures)
        elif failures.pending:
            failures = ended(failures, what == "right", now)
            cloud = raised(cloud, now) if what == "wrong" else cloud
    assert failures.pending or wait_of(failures, cloud, now + LONGEST_WAIT) == 0.0
