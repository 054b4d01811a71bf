"""The engine: runs reconcilers' steps, one at a time for each id, with back-off after a failure."""

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import Coroutine
from typing import Any, Protocol

from pileus import clock
from pileus.core import request_ids
from pileus.ending import end
from pileus.model.errors import PileusError
from pileus.reconcile.step_times import Backlog, StepTimes

log = logging.getLogger("pileus.engine")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds between tries of a step that fails
PATIENCE = 1.0  # seconds after which a step counts as waiting (for a silent host), and another worker takes the next one


class Reconciler(Protocol):
    """Brings one kind of resource towards what is wanted."""

    name: str

    async def step(self, id: str) -> float | None:
        """Do one idempotent thing; the seconds until the next look, or None when there is nothing left to do."""
        ...

    async def scan(self) -> list[str]:
        """The ids that need a look."""
        ...


class Engine:
    """Steps of all reconcilers in one process. `wake` may be called at any time from the event loop."""

    def __init__(self, reconcilers: list[Reconciler], workers: int = 16, scan_every: float = 20.0) -> None:
        self.reconcilers = {one.name: one for one in reconcilers}
        self.workers = workers
        self.scan_every = scan_every
        self.steps = 0
        self.failing: dict[tuple[str, str], str] = {}  # what fails now, and why
        self.times: defaultdict[str, StepTimes] = defaultdict(StepTimes)  # by kind
        self._queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._waiting: dict[tuple[str, str], float] = {}  # since when, by the monotonic clock
        self._running: set[tuple[str, str]] = set()
        self._again: set[tuple[str, str]] = set()
        self._failures: dict[tuple[str, str], int] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._waits: set[tuple[str, str]] = set()  # steps whose worker was relieved

    def wake(self, name: str, id: str) -> None:
        """Look at this soon. A kind that nobody reconciles here is ignored."""
        item = (name, id)
        if name not in self.reconcilers or item in self._waiting:
            return
        if timer := self._timers.pop(item, None):
            timer.cancel()
        if item in self._running:
            self._again.add(item)
            return
        self._waiting[item] = clock.monotonic()
        self._queue.put_nowait(item)

    def retry(self) -> None:
        """Try again now what fails: something came back that it may have waited for."""
        for item in list(self.failing):
            self.wake(*item)

    async def start(self) -> None:
        """Begin: scan at once, then step and scan until `close`."""
        for _ in range(self.workers):
            self._begin(self._work())
        self._begin(self._scan())

    async def close(self) -> None:
        """Stop; a step that is cut off is done again at the next start."""
        for timer in self._timers.values():
            timer.cancel()
        await end(list(self._tasks))

    def idle(self) -> bool:
        """Whether no step waits or runs now (timers may)."""
        return not (self._waiting or self._running)

    def quiet(self) -> bool:
        """Whether no step waits, runs, or is due later."""
        return self.idle() and not self._timers

    def backlog(self) -> dict[str, Backlog]:
        """What is left to do now, by kind."""
        counts = [Counter(name for name, _ in items) for items in (self._waiting, self._running, self._timers, self.failing)]
        return {name: Backlog(*(count[name] for count in counts)) for name in self.reconcilers}

    @property
    def tasks(self) -> int:
        """Tasks of this engine: its workers, those that relieve them, its scan."""
        return len(self._tasks)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _relieve(self, item: tuple[str, str]) -> None:
        """A step takes long: another worker goes on in its place, so that hosts that are silent don't hold up those that answer."""
        self._waits.add(item)
        self._begin(self._work())

    async def _work(self) -> None:
        relieved = False
        while not relieved:
            item = await self._queue.get()
            self.times[item[0]].waited.observe(clock.monotonic() - self._waiting.pop(item))
            self._running.add(item)
            relief = asyncio.get_running_loop().call_later(PATIENCE, self._relieve, item)
            try:
                pause = await self._step(item)
            finally:
                relief.cancel()
                relieved = item in self._waits
                self._waits.discard(item)
                self._running.discard(item)
            if item in self._again:
                self._again.discard(item)
                self.wake(*item)
            elif pause is not None:
                self._later(item, pause)

    async def _step(self, item: tuple[str, str]) -> float | None:
        name, id = item
        self.steps += 1
        request_ids.CURRENT.set("")  # the step says whose work it is, once it knows
        began = clock.monotonic()
        try:
            pause = await self.reconcilers[name].step(id)
        except Exception as error:
            return self._failed(item, error)
        finally:
            self.times[name].took.observe(clock.monotonic() - began)
        self._failures.pop(item, None)
        self.failing.pop(item, None)
        return pause

    def _failed(self, item: tuple[str, str], error: Exception) -> float:
        count = self._failures.get(item, 0)
        self._failures[item] = count + 1
        pause = min(FIRST_PAUSE * 2**count, LONGEST_PAUSE)
        known = isinstance(error, PileusError)
        self.failing[item] = str(error)
        self.times[item[0]].failed += 1
        if not (known and error.data.get("stale")):
            log.warning("%s %s: %s; next try in %.1f s", *item, error, pause, exc_info=None if known else error)
        return pause

    def _later(self, item: tuple[str, str], pause: float) -> None:
        if pause <= 0:
            self.wake(*item)
            return
        if old := self._timers.pop(item, None):
            old.cancel()
        self._timers[item] = asyncio.get_running_loop().call_later(pause, self._due, item)

    def _due(self, item: tuple[str, str]) -> None:
        self._timers.pop(item, None)
        self.wake(*item)

    def scan_soon(self) -> None:
        """Look at everything now instead of at the next turn."""
        self._look.set()

    async def _scan(self) -> None:
        while True:
            self._look.clear()
            for reconciler in self.reconcilers.values():
                try:
                    for id in await reconciler.scan():
                        if (reconciler.name, id) not in self._timers:
                            self.wake(reconciler.name, id)
                except Exception:
                    log.exception("scan of %s failed", reconciler.name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), self.scan_every)
