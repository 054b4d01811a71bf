"""Threads that are there before they are needed. Python waits for ever for a new one that finds no memory to begin with, and with it
the event loop that asked for it: a process at its memory limit would not even refuse."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from pileus import heap

WORKERS = min(32, (os.cpu_count() or 1) + 4)
"""Of the event loop's own pool: as many as asyncio would start one by one."""


def begin(pool: ThreadPoolExecutor, count: int) -> None:
    """Start all `count` threads of a pool, and return when they are there. Twice: the same."""
    everyone = threading.Barrier(count)
    for one in [pool.submit(everyone.wait) for _ in range(count)]:
        one.result()


def begin_own() -> None:
    """Give the running event loop a pool (`asyncio.to_thread`) whose threads are there, with one heap for all."""
    heap.in_one_piece()
    pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="asyncio")
    begin(pool, WORKERS)
    asyncio.get_running_loop().set_default_executor(pool)
