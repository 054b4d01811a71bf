"""A look at all hosts that is dear where there are many: taken again so seldom that it costs a twentieth of the time at most."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from pileus import clock

T = TypeVar("T")
SHARE = 20
CHEAP = 0.005
"""Seconds of CPU that a look may take without being kept at all."""


class Lately(Generic[T]):
    """What `look` gave lately: with a few hosts now, with thousands some seconds ago. `clock` gives seconds, `spent` those of CPU."""

    def __init__(
        self, look: Callable[[], Awaitable[T]], clock: Callable[[], float] = clock.monotonic, spent: Callable[[], float] = clock.worked
    ) -> None:
        self._look = look
        self._clock = clock
        self._spent = spent
        self._found: tuple[float, T] | None = None  # good until then

    async def __call__(self) -> T:
        """The newest look that is not too old, or a fresh one."""
        if self._found is not None and self._clock() < self._found[0]:
            return self._found[1]
        before = self._spent()
        value = await self._look()
        cost = self._spent() - before
        self._found = (self._clock() + cost * SHARE, value) if cost > CHEAP else None
        return value
