"""A dear look is taken seldom, a cheap one each time."""

import asyncio

from pileus.reconcile.lately import SHARE, Lately


def looks(cost: float) -> tuple[Lately[int], list[float]]:
    now, spent, taken = [100.0], [0.0], list[int]()

    async def look() -> int:
        taken.append(len(taken))
        spent[0] += cost
        return len(taken)

    return Lately(look, lambda: now[0], lambda: spent[0]), now


def test_a_dear_look_is_taken_again_once_it_has_cost_a_twentieth_of_the_time() -> None:
    async def script() -> None:
        lately, now = looks(0.25)
        assert await lately() == await lately() == 1
        now[0] += 0.25 * SHARE - 0.01
        assert await lately() == 1
        now[0] += 0.02
        assert await lately() == 2

    asyncio.run(script())


def test_a_cheap_look_is_always_taken() -> None:
    async def script() -> None:
        lately, _ = looks(0.001)
        assert [await lately() for _ in range(3)] == [1, 2, 3]

    asyncio.run(script())
