"""Ending tasks for certain."""

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN = 0.1


async def end(tasks: Iterable["asyncio.Task[Any] | None"]) -> None:
    """Cancel tasks until they have ended, however that is.

    Once is not enough: before Python 3.12 `asyncio.wait_for` may swallow a cancellation that comes as what it waits for is done
    (CPython issue 86296), and a loop around it then goes on for ever.
    """
    left = {task for task in tasks if task is not None and task is not asyncio.current_task()}
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=AGAIN)
        for task in done:
            if not task.cancelled():
                task.exception()  # whoever wanted to know has asked
