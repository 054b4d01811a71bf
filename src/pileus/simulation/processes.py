"""Processes of a simulation: tasks that are killed together, as by SIGKILL, while others go on."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from pileus.simulation.loop import VirtualLoop

_NAME: contextvars.ContextVar[str] = contextvars.ContextVar("process", default="")


class Processes:
    """By name. What a task begins belongs to the process that it belongs to itself, timers included."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self._tasks: dict[str, dict[asyncio.Task[Any], None]] = {}  # in the order in which they began
        loop.set_task_factory(self._make)

    @property
    def current(self) -> str:
        """The process that this runs in; empty: the simulation itself."""
        return _NAME.get()

    def begin(self, name: str, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """A task of a process."""
        return self.loop.create_task(work, context=context_of(name))

    def later(self, name: str, seconds: float, call: Callable[..., object], *args: Any) -> None:
        """A call in a process, if it lives by then."""
        self.loop.call_later(seconds, call, *args, context=context_of(name))

    def kill(self, name: str) -> "list[asyncio.Task[Any]]":
        """Nothing of it goes on. Returns what is to be awaited: the tasks, which are cut off at the await where they are."""
        ended = list(self._tasks.pop(name, {}))
        for handle in list(self.loop._scheduled):  # type: ignore[attr-defined] # there is no public list of timers
            if handle._context.get(_NAME) == name:
                handle.cancel()
        for task in ended:
            task.cancel()
        return ended

    async def ended(self, tasks: "list[asyncio.Task[Any]]") -> None:
        """Wait until they are; one that goes on in spite of it is cut off again."""
        for _ in range(1000):
            left = [task for task in tasks if not task.done()]
            if not left:
                return
            await asyncio.sleep(0)
            for task in left:
                task.cancel()
        raise AssertionError(f"these don't end: {left}")

    def _make(self, loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None) -> "asyncio.Task[Any]":
        name = context.get(_NAME, "") if context is not None else _NAME.get()
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
        if name:
            mine = self._tasks.setdefault(name, {})
            mine[task] = None
            task.add_done_callback(lambda done: mine.pop(done, None))
        return task


def context_of(name: str) -> contextvars.Context:
    """The context of a process."""
    context = contextvars.copy_context()
    context.run(_NAME.set, name)
    return context
