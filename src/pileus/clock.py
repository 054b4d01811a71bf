"""What time it is. Whoever decides by the time asks here, so that a simulation can put a clock of its own in the place of the machine's."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Clock(Protocol):
    """Seconds."""

    def now(self) -> float:
        """Since the epoch; may be set back and forth."""
        ...

    def monotonic(self) -> float:
        """Since some moment; never goes back."""
        ...

    def worked(self) -> float:
        """That this thread has had a CPU for."""
        ...


class MachineClock:
    """The machine's."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def worked(self) -> float:
        return time.thread_time()


_current: Clock = MachineClock()


def now() -> float:
    """Seconds since the epoch."""
    return _current.now()


def monotonic() -> float:
    """Seconds since some moment; never goes back."""
    return _current.monotonic()


def worked() -> float:
    """Seconds that this thread has had a CPU for."""
    return _current.worked()


@contextmanager
def replaced(clock: Clock) -> Iterator[None]:
    """Another clock for the whole process, meanwhile."""
    global _current
    before, _current = _current, clock
    try:
        yield
    finally:
        _current = before
