"""Memory is given back when it has not been used for a moment, once, and not while it is needed."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pileus import heap
from pileus.heap import Returning

LOGINS = """
import asyncio
from pathlib import Path
from pileus import heap, threads
from pileus.api.identity import passwords

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

async def story():
    threads.begin_own()
    passwords.begin()
    hashed = await passwords.hash_password("secret")
    assert await passwords.verify(hashed, "secret") and not await passwords.verify(hashed, "other")
    before = resident()
    for _ in range(200):
        if resident() <= before - 15:
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"{before} MiB before, {resident()} MiB now")

asyncio.run(story())
"""


def test_it_is_given_back_once_when_all_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "QUIET", 0.1)

    async def story() -> None:
        trimmed = asyncio.Event()
        loop = asyncio.get_running_loop()
        times: list[float] = []

        def trim() -> None:
            times.append(loop.time())
            loop.call_soon_threadsafe(trimmed.set)

        with ThreadPoolExecutor(1) as pool:
            memory = Returning(pool, trim)
            for _ in range(5):
                memory.used()
                await asyncio.sleep(0.04)  # a use, not a wait for something
            last = loop.time() - 0.04
            await asyncio.wait_for(trimmed.wait(), 10)
            assert len(times) == 1 and times[0] - last > 0.08
            trimmed.clear()
            memory.used()
            await asyncio.wait_for(trimmed.wait(), 10)
            assert len(times) == 2

    asyncio.run(story())


def test_what_a_login_has_taken_is_free_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", LOGINS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
