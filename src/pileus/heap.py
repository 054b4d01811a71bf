"""Memory that is free goes back to the system once it has not been needed for a moment; the C library keeps it for ever otherwise.

A password's hash takes 19 MiB. Giving that back after each would cost a quarter of the hash's CPU, for pages that are made anew.
"""

import asyncio
import contextlib
import ctypes
from collections.abc import Callable
from concurrent.futures import Executor

QUIET = 1.0
"""Seconds without a use, after which memory is given back."""
M_ARENA_MAX = -8


def in_one_piece() -> None:
    """Have all threads that begin from now on share one heap: what is free at the end of a thread's own is never given back."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def trim() -> None:
    """Give back what is free."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Returning:
    """Says when memory was used; gives back what is free, in a thread of `executor`, when that was QUIET seconds ago. For an event loop."""

    def __init__(self, executor: Executor, give_back: Callable[[], None] = trim) -> None:
        self._executor = executor
        self._give_back = give_back
        self._used_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None  # that will look

    def used(self) -> None:
        """It was used just now."""
        loop = asyncio.get_running_loop()
        self._used_at = loop.time()
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(QUIET, self._look)

    def _look(self) -> None:
        assert self._loop is not None
        left = self._used_at + QUIET - self._loop.time()
        if left > 0.01:
            self._loop.call_later(left, self._look)
        else:
            self._loop = None
            self._executor.submit(self._give_back)
