"""Ports that were read before are as in the store, whatever was written since; only what has changed is read whole."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import pileus
from pileus.model.networks import Network
from pileus.store import known_ports, ports, schema
from pileus.store.database import Database, Transaction
from pileus.store.known_ports import KnownPorts
from pileus.store.networks import insert_network
from pileus.store.ports import PORTS, NewPort, create_port
from tests.store.conftest import store_at

NETWORKS = ("one", "two")


def run(tmp_path: Path, script: Callable[[Database], Awaitable[Any]]) -> None:
    async def inner() -> None:
        db = store_at(tmp_path)
        try:
            await schema.migrate(db)
            for key in (*NETWORKS, "other"):
                await db.write(lambda tx, key=key: insert_network(tx, Network(id=key, project_id="p")))
            await script(db)
        finally:
            await db.close()

    asyncio.run(inner())


async def add(db: Database, network: str, count: int = 1, **fields: Any) -> list[str]:
    async def work(tx: Transaction) -> list[str]:
        new = NewPort(project_id="p", network_id=network, security_groups=[], **fields)
        return [(await create_port(tx, new)).id for _ in range(count)]

    return await db.write(work)


async def in_store(db: Database) -> list[Any]:
    return await PORTS.find(db, "network_id IN ('one', 'two') AND device_owner <> 'network:floatingip' ORDER BY id")


WRITES: dict[str, Callable[[Transaction, str], Awaitable[Any]]] = {
    "bound": lambda tx, _: ports.bind_ports(tx, "server", "h1"),
    "moves": lambda tx, _: ports.prepare_move(tx, "server", "h2"),
    "moved": lambda tx, _: ports.finish_move(tx, "server", "h2"),
    "active": lambda tx, _: ports.set_ports_active(tx, "server", True),
    "down again": lambda tx, _: ports.set_ports_active(tx, "server", False),
    "moves once more": lambda tx, _: ports.prepare_move(tx, "server", "h3"),
    "stays": lambda tx, _: ports.cancel_move(tx, "server"),
    "its project": lambda tx, key: PORTS.set(tx, key, project_id="q"),
    "removed": lambda tx, _: ports.release_ports(tx, "server"),
}


async def renamed(tx: Transaction, key: str) -> None:
    seen = await PORTS.get(tx, key)
    assert seen is not None
    await ports.update_port(tx, seen, name="new", dns_name="new", security_groups=[])


def test_after_each_write_what_is_known_is_what_is_there(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        known = KnownPorts()
        await add(db, "one", 3)
        [key] = await add(db, "two", device_id="server", created_by_compute=True)
        await add(db, "other")
        assert await known.of(db, NETWORKS) == await in_store(db) and len(known) == 4
        for write in (renamed, *WRITES.values()):
            before = await in_store(db)
            await db.write(lambda tx, write=write: write(tx, key))
            after = await in_store(db)
            assert after != before and await known.of(db, NETWORKS) == after
        assert len(after) == 3

    run(tmp_path, script)


def test_only_what_has_changed_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(db: Database) -> None:
        read: list[str] = []
        decode = PORTS.decode
        known = KnownPorts()
        keys = await add(db, "one", 20)
        await known.of(db, NETWORKS)
        monkeypatch.setattr(PORTS, "decode", lambda row: read.append(row[0]) or decode(row))
        await known.of(db, NETWORKS)
        assert read == []
        await db.write(lambda tx: PORTS.set(tx, keys[7], status="ACTIVE"))
        assert await known.of(db, NETWORKS) and read == [keys[7]]

    run(tmp_path, script)


def test_no_more_are_kept_than_are_meant_to(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        known = KnownPorts(5)
        await add(db, "one", 3)
        await add(db, "two", 4)
        assert len(await known.of(db, ("one",))) == 3 and len(known) == 3
        assert len(await known.of(db, ("two",))) == 4 and len(known) == 4
        assert len(await known.of(db, NETWORKS)) == 7 and len(known) == 4

    run(tmp_path, script)


def test_a_write_of_a_port_makes_a_new_generation_or_is_of_a_column_that_is_looked_at() -> None:
    looked_at = set(known_ports.MARK.removeprefix("SELECT ").partition(" FROM")[0].split(", "))
    found = 0
    for file in Path(pileus.__file__).parent.rglob("*.py"):
        text = file.read_text()
        for columns in re.findall(r"\bPORTS\.set\([\w.]+, [\w.]+, ([^)]*)", text):
            found += 1
            assert set(re.findall(r"(\w+)=", columns)) <= looked_at, f"{file}: PORTS.set(..., {columns})"
        for statement in re.findall(r"UPDATE ports SET (.*?) ?\"?\n?\s*\"?WHERE", text, re.S):
            found += 1
            columns = set(re.findall(r"(\w+) = ", statement))
            assert columns <= looked_at or "generation = generation + 1" in statement, f"{file}: {statement}"
    assert found >= 8
