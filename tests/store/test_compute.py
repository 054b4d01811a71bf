"""Compute's part of the store: actions, consoles, aggregates, seals, what a removed server leaves."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from pileus.model.aggregates import Aggregate
from pileus.model.errors import Conflict, Unavailable
from pileus.model.guests import ConsoleKind
from pileus.model.servers import Server, ServerFlavor
from pileus.store import actions, aggregates, consoles, device_tags, sealing, server_groups, servers
from pileus.store.database import Database
from pileus.store.schema import migrate
from tests.store.conftest import store_at

T = TypeVar("T")


def with_store(tmp_path: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    """Run a coroutine on a fresh store."""

    async def run() -> T:
        db = store_at(tmp_path)
        await migrate(db)
        try:
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(run())


def test_a_step_of_an_action_is_recorded_once_and_begins_where_the_last_ended(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        action = await db.write(lambda tx: actions.start(tx, "s", "create", "req", "u", "p"))
        await db.write(lambda tx: actions.finish(tx, "s", "req", "schedule"))
        await db.write(lambda tx: actions.finish(tx, "s", "req", "build", host="one"))
        await db.write(lambda tx: actions.finish(tx, "s", "req", "build", host="one"))
        newest, oldest = await actions.events_of(db, action.id)
        assert (newest.event, newest.host, oldest.event) == ("build", "one", "schedule")
        assert newest.started_at == oldest.finished_at
        await db.write(lambda tx: actions.finish(tx, "s", "req", "boot", result="Error", message="no"))
        seen = await actions.get(db, "s", "req")
        assert seen and seen.message == "Error"
        await db.write(lambda tx: actions.finish(tx, "s", "unknown", "boot"))

    with_store(tmp_path, work)


def test_console_tokens_run_out(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        token = await db.write(lambda tx: consoles.issue(tx, "s", "one", ConsoleKind.VNC, 1000.0))
        assert await consoles.redeem(db, "x", 1000.0) is None
        found = await consoles.redeem(db, token, 1599.0)
        assert found and (found.server_id, found.kind) == ("s", ConsoleKind.VNC)
        assert await consoles.redeem(db, token, 1601.0) is None
        await db.write(lambda tx: consoles.issue(tx, "s", "one", ConsoleKind.VNC, 2000.0))
        assert await db.value("SELECT count(*) FROM console_tokens") == 1

    with_store(tmp_path, work)


def test_an_aggregates_zone_is_its_hosts_zone(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        one = await db.write(lambda tx: aggregates.create(tx, Aggregate(id="a", number=1, name="a", availability_zone="z")))
        assert await aggregates.zone_of(db, "h") == "nova"
        one = await db.write(lambda tx: aggregates.change(tx, one, hosts=["h"]))
        assert await aggregates.zone_of(db, "h") == "z"
        with pytest.raises(Conflict):
            await db.write(lambda tx: aggregates.create(tx, Aggregate(id="b", number=2, name="a")))
        with pytest.raises(Conflict):
            await db.write(lambda tx: aggregates.remove(tx, one))

    with_store(tmp_path, work)


def test_a_removed_server_leaves_only_its_row_and_its_history(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        flavor = ServerFlavor(id="1", name="f", vcpus=1, ram=1, disk=1)
        server = Server(id="s", project_id="p", user_id="u", name="n", hostname="n", flavor=flavor, vcpus=1, memory_mib=1)
        await db.write(lambda tx: servers.insert_servers(tx, [server]))
        await db.write(lambda tx: device_tags.keep(tx, "s", {"port": "front"}))
        await db.write(lambda tx: consoles.issue(tx, "s", "one", ConsoleKind.SERIAL, time.time()))
        await db.write(lambda tx: server_groups.join(tx, "g", ["s"]))
        await db.write(lambda tx: actions.start(tx, "s", "delete", "req"))
        await db.write(lambda tx: servers.record_removed(tx, "s", time.time()))
        for table in ("device_tags", "console_tokens", "server_group_members"):
            assert await db.value(f"SELECT count(*) FROM {table}") == 0
        assert len(await actions.of_server(db, "s")) == 1

    with_store(tmp_path, work)


def test_a_seal_opens_what_it_closed_and_nothing_else(tmp_path: Path) -> None:
    seal = sealing.Seal(tmp_path)
    sealed = seal.close("secret")
    assert "secret" not in sealed
    assert sealing.Seal(tmp_path).open(sealed) == "secret"
    key = tmp_path / "secrets" / "seal.key"
    assert key.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Unavailable):
        sealing.Seal(tmp_path / "other").open(sealed)
