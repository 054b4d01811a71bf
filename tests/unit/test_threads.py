"""Threads that are there before they are needed."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from pileus import threads


def named(prefix: str) -> set[threading.Thread]:
    return {one for one in threading.enumerate() if one.name.startswith(prefix)}


def test_all_of_a_pool_are_there_and_none_is_added() -> None:
    pool = ThreadPoolExecutor(max_workers=5, thread_name_prefix="early")
    try:
        threads.begin(pool, 5)
        begun = named("early")
        threads.begin(pool, 5)
        assert len(begun) == 5 and named("early") == begun
    finally:
        pool.shutdown()


def test_an_event_loop_starts_no_thread_when_it_needs_one() -> None:
    async def main() -> None:
        threads.begin_own()
        before = named("asyncio")
        assert len(before) == threads.WORKERS
        await asyncio.gather(*(asyncio.to_thread(threading.current_thread) for _ in range(50)))
        assert named("asyncio") == before

    asyncio.run(main())
