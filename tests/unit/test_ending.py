"""Tasks that end for certain."""

import asyncio

from pileus.ending import end


def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    async def deaf(times: int) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                times -= 1
                if times < 0:
                    raise

    async def fails() -> None:
        raise ValueError("by itself")

    async def main() -> None:
        tasks = [asyncio.create_task(deaf(times)) for times in range(3)]
        tasks += [asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(0))]
        await asyncio.sleep(0)
        await asyncio.wait_for(end([*tasks, None]), 10)
        assert all(task.done() for task in tasks)

    asyncio.run(main())


def test_who_ends_tasks_may_be_one_of_them() -> None:
    async def main() -> None:
        own = asyncio.current_task()
        await end([own])
        stays = asyncio.create_task(asyncio.sleep(60))
        ending = asyncio.create_task(end([stays]))
        await ending
        assert stays.cancelled()

    asyncio.run(main())
