"""The time that a guest has to shut down by itself. Its power button is pressed again and again: a guest that boots does not hear it."""

import asyncio
from collections.abc import Callable

AGAIN = 5.0
"""Seconds from one press to the next."""


class ShutdownTimer:
    """`press` and `give_up` are called in the event loop; `give_up` once, when the time is over."""

    def __init__(self, press: Callable[[], None], give_up: Callable[[], None]) -> None:
        self._press = press
        self._give_up = give_up
        self._handles: list[asyncio.TimerHandle] = []

    def begin(self, seconds: float) -> None:
        """Count from now; nothing, when it counts already."""
        if self._handles:
            return
        loop = asyncio.get_running_loop()
        moments = [AGAIN * number for number in range(1, int(seconds / AGAIN) + 1)]
        self._handles = [loop.call_later(moment, self._press) for moment in moments if moment < seconds]
        self._handles.append(loop.call_later(seconds, self._give_up))

    def forget(self) -> None:
        """It has gone down, or is wanted after all."""
        for handle in self._handles:
            handle.cancel()
        self._handles = []
