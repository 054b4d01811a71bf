"""Connections that a burst has left over are closed again, those that are in use are not."""

import asyncio
import time
from typing import Any

import pytest

from pileus.store import schema
from pileus.store.postgresql_connections import Address, Connections
from tests import postgresql


@pytest.fixture(autouse=True)
def engine() -> str:
    """Of this file there is one."""
    postgresql.server()
    return "postgresql"


async def together(connections: Connections, count: int) -> None:
    """So many connections in use at one time."""
    there, all_there = 0, asyncio.Event()

    async def use() -> None:
        nonlocal there
        async with connections.one() as one:
            there += 1
            if there == count:
                all_there.set()
            await all_there.wait()
            assert await one.fetchval("SELECT 1") == 1

    await asyncio.gather(*(use() for _ in range(count)))


async def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_after_a_burst_one_connection_is_left_and_serves_on() -> None:
    async def run() -> None:
        connections = Connections(Address(url), 6, spare=0.1)
        await together(connections, 6)
        assert len(connections._free) == 6
        await until(lambda: len(connections._free) == 1 and not connections._closing)
        last = connections._free[0]
        await together(connections, 1)
        assert connections._free == [last] and not last.is_closed()
        await together(connections, 6)
        await connections.close()
        assert not connections._free and not connections._closing

    url = postgresql.database(schema.migrate)
    asyncio.run(run())


def test_no_more_are_made_than_there_is_room_for() -> None:
    async def run() -> None:
        connections = Connections(Address(url), 2)
        await asyncio.gather(*(together(connections, 1) for _ in range(10)))
        assert len(connections._free) <= 2
        await connections.close()

    url = postgresql.database(schema.migrate)
    asyncio.run(run())


def test_connections_that_are_used_all_the_time_stay() -> None:
    async def run() -> None:
        connections = Connections(Address(url), 4, spare=0.2)
        await together(connections, 4)
        known = set(connections._free)
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            await together(connections, 4)
        assert set(connections._free) == known
        await connections.close()

    url = postgresql.database(schema.migrate)
    asyncio.run(run())
