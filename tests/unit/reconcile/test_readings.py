"""Numbers of readings: later is larger, whatever the clock does, and hosts carry us over what they know."""

from collections.abc import Iterator

import pytest

from pileus import clock
from pileus.model.errors import Conflict
from pileus.model.messages import DomainReply, Done
from pileus.reconcile.readings import Readings


class Hand(clock.MachineClock):
    """Set by hand."""

    at = 1000.0

    def now(self) -> float:
        return self.at


@pytest.fixture
def hand() -> Iterator[Hand]:
    made = Hand()
    with clock.replaced(made):
        yield made


def test_later_is_larger_also_when_the_clock_stands_or_is_set_back(hand: Hand) -> None:
    readings, numbers = Readings(), []
    for hand.at in (1000.0, 1000.0, 1001.0, 10.0, 1000.5, 2000.0):
        numbers.append(readings.begin())
    assert numbers == sorted(set(numbers)) and numbers[0] == 1_000_000_000


def test_two_processes_agree_by_the_clock(hand: Hand) -> None:
    one, other = Readings(), Readings()
    first = [one.begin() for _ in range(50)][-1]
    hand.at += 0.001
    assert other.begin() > first


def test_a_host_that_has_a_later_word_carries_us_over_it(hand: Hand) -> None:
    readings = Readings()
    later = readings.begin() + 3_600_000_000  # from before the clock was set back, or the records were restored
    with pytest.raises(Conflict) as caught:
        readings.heard("h1", DomainReply(domain_id="d", digest="", read_at=later))
    assert caught.value.data["stale"] and readings.begin() > later


def test_a_host_that_did_as_it_was_told_says_nothing(hand: Hand) -> None:
    readings = Readings()
    readings.heard("h1", DomainReply(domain_id="d", digest="x"))
    readings.heard("h1", Done())
    assert readings.begin() == 1_000_000_000
