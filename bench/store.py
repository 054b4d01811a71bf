"""Measures the store: a row by its id, a list of a hundred, a durable insert, and inserts of 16 writers at once.

    python bench/store.py [postgresql://...]

CPU is that of this process (PostgreSQL's server has its own besides); "wall" is what one call after another takes.
"""

import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from pileus.config import Config
from pileus.model.networks import Network
from pileus.store import schema
from pileus.store.database import Database, Transaction
from pileus.store.listing import Condition, Listing, list_rows
from pileus.store.networks import NETWORKS
from pileus.store.open import open_database
from pileus.store.quotas import charge, set_limits

GETS, LISTS, WRITES, WRITERS = 3000, 200, 500, 16


def network(project: str) -> Network:
    return Network(id=str(uuid.uuid4()), project_id=project, name="bench", created_at=time.time(), updated_at=time.time())


async def measure(name: str, count: int, work: Callable[[], Awaitable[Any]]) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    cpu, wall = (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count
    print(f"  {name:<46} {cpu * 1e6:8.0f} us CPU {wall * 1e6:8.0f} us wall {1 / wall:8.0f}/s")


async def run(db: Database) -> None:
    await schema.migrate(db)
    project = uuid.uuid4().hex
    rows = [network(project) for _ in range(1000)]
    await db.write(lambda tx: NETWORKS.insert_many(tx, rows))
    await db.write(lambda tx: set_limits(tx, "", {"network": 1_000_000}))

    async def get() -> None:
        for number in range(GETS):
            await NETWORKS.get(db, rows[number % len(rows)].id)

    async def lists() -> None:
        wanted = Listing(conditions=[Condition(column="project_id", value=project)], sort=[("name", "asc")], limit=100)
        for _ in range(LISTS):
            await list_rows(db, NETWORKS, wanted)

    async def insert(count: int, owner: str) -> None:
        for _ in range(count):
            one = network(owner)
            await db.write(lambda tx, one=one: NETWORKS.insert(tx, one))

    async def charged(tx: Transaction, owner: str) -> None:
        await charge(tx, owner, network=1)
        await NETWORKS.insert(tx, network(owner))

    async def together(owners: list[str]) -> None:
        async def writer(owner: str) -> None:
            for _ in range(WRITES // WRITERS):
                await db.write(lambda tx: charged(tx, owner))

        await asyncio.gather(*(writer(owner) for owner in owners))

    await get()
    await measure("a row by its id", GETS, get)
    await measure("a page of 100 of 1,000 rows", LISTS, lists)
    await insert(20, "w")
    await measure("an insert", WRITES, lambda: insert(WRITES, "w"))
    await measure(f"an insert with its quota, {WRITERS} writers", WRITES, lambda: together([uuid.uuid4().hex for _ in range(WRITERS)]))
    await measure(f"the same, {WRITERS} writers in 4 projects", WRITES, lambda: together([f"{project}{n % 4}" for n in range(WRITERS)]))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for url in (None, *sys.argv[1:]):
            print("SQLite" if url is None else "PostgreSQL")
            db = open_database(Config(state=folder, database=url))
            try:
                await run(db)
            finally:
                await db.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
