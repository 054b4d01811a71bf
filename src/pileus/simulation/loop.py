"""An event loop whose time is virtual: when nothing is ready, it is the time of the next timer. No threads, no sockets.

What draws from the operating system's randomness draws from the seed meanwhile, ids and tokens included.
"""

import asyncio
import os
import random
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

from pileus import clock

T = TypeVar("T")
TURN = 1e-6
"""Seconds that a turn of the loop takes: who waits until a moment that is a rounding error away gets there."""
EPOCH = 1_767_225_600.0
"""1 January 2026, at which every life begins."""


class Stalled(Exception):
    """Nothing is ready and nothing is due: somebody waits for what will never come."""


class VirtualTime:
    """The clock of a simulation. `jump`: by how much the time of day is wrong."""

    def __init__(self) -> None:
        self.at = 1.0
        self.jump = 0.0

    def now(self) -> float:
        """Since the epoch."""
        return EPOCH + self.at + self.jump

    def monotonic(self) -> float:
        """Since the life began."""
        return self.at

    def worked(self) -> float:
        """Work takes no time."""
        return 0.0


class _Leaper(selectors.DefaultSelector):
    """Waits for nothing: what would be waited for is over."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stalled("Nothing is ready and nothing is due.")
        self._time.at += max(0.0, timeout) + TURN
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`fuse`: after so many turns of the loop, `on_fuse` is called once."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__(_Leaper(time))
        self.virtual = time
        self.fuse = 0
        self.on_fuse: Callable[[], None] = lambda: None
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Virtual."""
        return self.virtual.at

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:
        """There is one thread."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        """At once; others have their turn before its end is known."""
        future: asyncio.Future[T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            self.call_soon(_settle, future, None, error)
        else:
            self.call_soon(_settle, future, result, None)
        return future

    def _run_once(self) -> None:
        if self.fuse:
            self.fuse -= 1
            if not self.fuse:
                self.on_fuse()
        super()._run_once()  # type: ignore[misc]


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Whoever asks the operating system for random bytes gets those of the seed."""
    source = random.Random(f"bytes {seed}")
    before = random.getstate()
    random.seed(f"module {seed}")
    with mock.patch.object(os, "urandom", source.randbytes), mock.patch.object(random, "_urandom", source.randbytes):
        try:
            yield
        finally:
            random.setstate(before)


def run(work: Callable[[VirtualLoop], Coroutine[Any, Any, T]], seed: int) -> T:
    """Run to the end of what `work` gives, in virtual time, everything drawn from the seed."""
    time = VirtualTime()
    loop = VirtualLoop(time)
    with clock.replaced(time), seeded(seed):
        try:
            asyncio.set_event_loop(loop)
            return loop.run_until_complete(work(loop))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.call_later(60, loop.stop)
            loop.run_forever()
            asyncio.set_event_loop(None)
            loop.close()
