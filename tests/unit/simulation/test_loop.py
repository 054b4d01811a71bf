"""Virtual time, processes that are killed, and one source of all chance."""

import asyncio
import os
import secrets
import time
import uuid

import pytest

from pileus import clock
from pileus.simulation.loop import EPOCH, Stalled, VirtualLoop, run
from pileus.simulation.processes import Processes
from pileus.simulation.trace import Trace


def test_a_month_of_waiting_takes_no_time() -> None:
    async def wait(loop: VirtualLoop) -> float:
        await asyncio.sleep(30 * 86400)
        assert clock.now() == pytest.approx(EPOCH + 30 * 86400, abs=2)
        assert clock.monotonic() == loop.time()
        return loop.time()

    began = time.monotonic()
    assert run(wait, seed=1) == pytest.approx(30 * 86400, abs=2)
    assert time.monotonic() - began < 5


def test_what_a_thread_would_do_is_done_at_once_and_seen_later() -> None:
    async def work(loop: VirtualLoop) -> list[str]:
        seen: list[str] = []
        asked = asyncio.ensure_future(asyncio.to_thread(seen.append, "thread"))
        await asyncio.sleep(0)
        seen.append("others")
        await asked
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return seen

    assert run(work, seed=1) == ["thread", "others"]


def test_who_waits_for_what_never_comes_is_told() -> None:
    async def wait(loop: VirtualLoop) -> None:
        await asyncio.Future()

    with pytest.raises(Stalled):
        run(wait, seed=1)


def test_all_chance_is_drawn_from_the_seed_and_only_meanwhile() -> None:
    async def draw(loop: VirtualLoop) -> list[object]:
        return [uuid.uuid4(), os.urandom(8), secrets.token_hex(8), secrets.randbits(64), secrets.choice(range(10**9))]

    assert run(draw, seed=1) == run(draw, seed=1) != run(draw, seed=2)
    assert os.urandom(16) != os.urandom(16) and uuid.uuid4() != uuid.uuid4()


def test_a_killed_process_does_nothing_more_while_others_go_on() -> None:
    async def script(loop: VirtualLoop) -> list[str]:
        processes, done = Processes(loop), list[str]()

        async def work(name: str) -> None:
            asyncio.get_running_loop().call_later(5, done.append, f"timer of {name}")
            child = asyncio.create_task(asyncio.sleep(5))
            try:
                await child
            finally:
                if child.cancelled():
                    await asyncio.sleep(100)  # who is killed does not get to this
                    done.append(f"{name} tidied up")
            done.append(name)

        processes.begin("first", work("first"))
        processes.begin("second", work("second"))
        await asyncio.sleep(1)
        await processes.ended(processes.kill("first"))
        await asyncio.sleep(200)
        return done

    assert run(script, seed=1) == ["timer of second", "second"]


def test_the_fuse_goes_off_once_after_so_many_turns() -> None:
    async def script(loop: VirtualLoop) -> list[float]:
        gone: list[float] = []
        loop.on_fuse = lambda: gone.append(loop.time())
        loop.fuse = 3
        await asyncio.sleep(0)
        assert gone == []
        for _ in range(10):
            await asyncio.sleep(0)
        return gone

    assert len(run(script, seed=1)) == 1


def test_a_digest_tells_sequences_of_events_apart() -> None:
    async def of(loop: VirtualLoop, order: list[str]) -> str:
        trace = Trace(loop.virtual)
        for word in order:
            trace.note("event", word)
        assert trace.counts["event"] == len(order)
        return trace.digest

    assert run(lambda loop: of(loop, ["a", "b"]), 1) == run(lambda loop: of(loop, ["a", "b"]), 1)
    assert run(lambda loop: of(loop, ["a", "b"]), 1) != run(lambda loop: of(loop, ["b", "a"]), 1)
