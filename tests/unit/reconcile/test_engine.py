"""The engine runs each id's steps one at a time, and tries again what failed."""

import asyncio
from collections.abc import Callable

import pytest

from pileus.reconcile import engine as engine_module
from pileus.reconcile.engine import Engine


class Recorder:
    """A reconciler that does what the test says."""

    name = "things"

    def __init__(self, behaviour: Callable[[int], float | None], found: list[str] | None = None) -> None:
        self.behaviour = behaviour
        self.found = found or []
        self.calls: list[str] = []
        self.at_once = 0
        self.most_at_once = 0

    async def step(self, id: str) -> float | None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.calls.append(id)
        await asyncio.sleep(0)
        self.at_once -= 1
        return self.behaviour(len(self.calls))

    async def scan(self) -> list[str]:
        return self.found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def run(reconciler: Recorder, script: Callable[[Engine], object]) -> Engine:
    async def main() -> Engine:
        engine = Engine([reconciler], workers=4, scan_every=60)
        await engine.start()
        await script(engine)  # type: ignore[misc]
        await engine.close()
        return engine

    return asyncio.run(main())


def test_a_wake_up_runs_a_step() -> None:
    reconciler = Recorder(lambda n: None)

    async def script(engine: Engine) -> None:
        engine.wake("things", "a")
        await until(lambda: reconciler.calls == ["a"])

    run(reconciler, script)


def test_what_a_scan_finds_is_stepped_without_a_wake_up() -> None:
    reconciler = Recorder(lambda n: None, found=["lost"])

    async def script(engine: Engine) -> None:
        await until(lambda: reconciler.calls == ["lost"])

    run(reconciler, script)


def test_an_id_never_steps_twice_at_once_and_a_wake_up_meanwhile_is_not_lost() -> None:
    reconciler = Recorder(lambda n: None)

    async def script(engine: Engine) -> None:
        for _ in range(3):
            engine.wake("things", "a")
            await asyncio.sleep(0)
        await until(lambda: len(reconciler.calls) >= 2 and engine.idle())

    run(reconciler, script)
    assert reconciler.most_at_once == 1


def test_a_step_that_fails_is_tried_again_and_its_reason_is_shown_meanwhile() -> None:
    seen: list[str] = []

    def behaviour(n: int) -> None:
        if n == 1:
            raise RuntimeError("the disk is full")

    reconciler = Recorder(behaviour)

    async def script(engine: Engine) -> None:
        engine.wake("things", "a")
        await until(lambda: bool(engine.failing))
        seen.extend(engine.failing.values())
        await until(lambda: len(reconciler.calls) == 2 and engine.idle())
        assert not engine.failing

    run(reconciler, script)
    assert seen == ["the disk is full"]


def test_a_step_that_asks_for_another_look_gets_it() -> None:
    reconciler = Recorder(lambda n: 0.01 if n < 3 else None)

    async def script(engine: Engine) -> None:
        engine.wake("things", "a")
        await until(lambda: len(reconciler.calls) == 3 and engine.idle())

    run(reconciler, script)


def test_a_kind_that_nobody_reconciles_is_ignored() -> None:
    reconciler = Recorder(lambda n: None)

    async def script(engine: Engine) -> None:
        engine.wake("others", "a")
        assert engine.idle()

    run(reconciler, script)


def test_steps_that_wait_for_long_do_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "PATIENCE", 0.01)

    class Mixed(Recorder):
        async def step(self, id: str) -> float | None:
            if id.startswith("silent"):
                await asyncio.Future()
            return await super().step(id)

    reconciler = Mixed(lambda n: None)

    async def script(engine: Engine) -> None:
        for number in range(20):
            engine.wake("things", f"silent{number}")
        engine.wake("things", "a")
        await until(lambda: reconciler.calls == ["a"])
        workers = len(engine._tasks)
        engine.wake("things", "b")
        await until(lambda: reconciler.calls == ["a", "b"])
        assert len(engine._tasks) == workers, "nobody is hired for what is quick"

    run(reconciler, script)


def test_a_worker_that_was_relieved_goes_when_its_step_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "PATIENCE", 0.01)
    answer = asyncio.Event()

    class Slow(Recorder):
        async def step(self, id: str) -> float | None:
            await answer.wait()
            return await super().step(id)

    reconciler = Slow(lambda n: None)

    async def script(engine: Engine) -> None:
        before = len(engine._tasks)
        for number in range(8):
            engine.wake("things", str(number))
        await until(lambda: len(engine._tasks) == before + 8)
        answer.set()
        await until(lambda: len(reconciler.calls) == 8 and len(engine._tasks) == before)

    run(reconciler, script)


def test_what_fails_is_tried_at_once_when_something_came_back() -> None:
    def behaviour(n: int) -> None:
        if n <= 6:
            raise RuntimeError("the host is away")

    reconciler = Recorder(behaviour)

    async def script(engine: Engine) -> None:
        engine.wake("things", "a")
        for tries in range(1, 7):
            await until(lambda tries=tries: len(reconciler.calls) == tries and engine.idle())
            engine.retry()
        await until(lambda: len(reconciler.calls) == 7 and engine.quiet())

    run(reconciler, script)
