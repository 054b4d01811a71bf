"""Silence says that a host is lost only after we have listened for long enough, and while somebody else is heard."""

import math
from typing import Any

import pytest

from pileus.bus.local import LocalBus
from pileus.model.hosts import Host
from pileus.reconcile import liveness
from pileus.reconcile.liveness import Liveness

NOW, SILENCE = 1000.0, 10.0


class Clock:
    """The monotonic clock, by hand."""

    def __init__(self) -> None:
        self.at = 500.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(liveness, "clock", made)
    return made


def host(name: str, silent_for: float = 0.0, **fields: Any) -> Host:
    return Host(id=name, created_at=0.0, updated_at=0.0, name=name, number=1, service_id=name, seen_at=NOW - silent_for, **fields)


def test_a_silent_host_is_lost_while_another_is_heard(clock: Clock) -> None:
    judge = Liveness(LocalBus(), SILENCE)
    clock.at += SILENCE + 1
    assert judge.lost([host("h1", 11), host("h2", 9)], NOW) == {"h1"}


def test_silence_does_not_count_before_we_have_listened_that_long(clock: Clock) -> None:
    judge = Liveness(LocalBus(), SILENCE)
    clock.at += SILENCE - 1
    assert judge.lost([host("h1", 3600), host("h2")], NOW) == set()


def test_silence_does_not_count_when_nobody_is_heard(clock: Clock) -> None:
    judge = Liveness(LocalBus(), SILENCE)
    clock.at += 3600
    assert judge.lost([host("h1", 11), host("h2", 11)], NOW) == set()
    assert judge.lost([host("h1", 11)], NOW) == set()


def test_who_was_forced_down_is_nobody_who_is_heard(clock: Clock) -> None:
    judge = Liveness(LocalBus(), SILENCE)
    clock.at += 3600
    assert judge.lost([host("h1", 11), host("h2", 0, forced_down=True)], NOW) == {"h2"}


def test_silence_does_not_count_right_after_the_bus_came_back(clock: Clock) -> None:
    bus: Any = LocalBus()
    bus.connected_at = math.inf  # there is no connection
    judge = Liveness(bus, SILENCE)
    clock.at += 3600
    assert judge.lost([host("h1", 11), host("h2")], NOW) == set()
    bus.connected_at = clock.at
    assert judge.lost([host("h1", 11), host("h2")], NOW) == set()
    clock.at += SILENCE + 1
    assert judge.lost([host("h1", 11), host("h2")], NOW) == {"h1"}


def test_an_operators_word_counts_at_once(clock: Clock) -> None:
    assert Liveness(LocalBus(), SILENCE).lost([host("h1", 0, forced_down=True)], NOW) == {"h1"}
