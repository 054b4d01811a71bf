"""Servers in the store: what the reconciler is to look at, and when the gone are forgotten."""

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pileus.core.servers import Next
from pileus.model.errors import Conflict
from pileus.model.guests import ObservedGuest, ObservedPower, Power
from pileus.model.placement import Decision
from pileus.model.servers import Server, ServerFlavor
from pileus.store import actions, decisions, servers
from pileus.store.database import Database, Transaction
from pileus.store.schema import migrate
from tests.store.conftest import store_at

FLAVOR = ServerFlavor(id="1", name="tiny", vcpus=1, ram=64, disk=1)
SERVER = Server(
    id="", created_at=1.0, updated_at=1.0, project_id="p", user_id="u", name="one", hostname="one", vcpus=1, memory_mib=64, flavor=FLAVOR,
    generation=1, host="h1", launched_at=1.0,
)  # fmt: skip


def guest(server: Server, power: ObservedPower = ObservedPower.RUNNING, generation: int = 1) -> ObservedGuest:
    return ObservedGuest(id=server.id, power=power, generation=generation)


def run(place: Path, script: Any) -> None:
    async def main() -> None:
        db = store_at(place)
        await migrate(db)
        await script(db)
        await db.close()

    asyncio.run(main())


async def added(db: Database, **fields: Any) -> Server:
    server = msgspec.structs.replace(SERVER, id=str(uuid.uuid4()), **fields)
    await db.write(lambda tx: servers.insert_servers(tx, [server]))
    if "observed" not in fields:
        await db.write(lambda tx: servers.record_observed(tx, server.id, guest(server), 1.0))
    found = await servers.SERVERS.get(db, server.id)
    assert found
    return found


def test_a_scan_finds_what_is_to_be_done_and_nothing_else(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        quiet, renamed, ended, copied = [await added(db) for _ in range(4)]
        await db.write(lambda tx: servers.save(tx, renamed, name="other"))
        await db.write(lambda tx: servers.record_observed(tx, ended.id, guest(ended, ObservedPower.STOPPED), 2.0))
        await db.write(lambda tx: servers.save(tx, copied, pending_snapshot="image"))
        assert set(await servers.unsettled(db)) == {renamed.id, ended.id, copied.id}
        assert quiet.next_step == Next.NOTHING

    run(tmp_path, script)


def test_a_row_of_an_earlier_version_is_looked_at_once(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        server = await added(db)
        await db.write(lambda tx: servers.SERVERS.set(tx, server.id, next_step="apply"))
        assert await servers.unsettled(db) == [server.id]
        await db.write(lambda tx: servers.rederive(tx, server.id))
        assert await servers.unsettled(db) == []

    run(tmp_path, script)


def test_servers_that_are_gone_for_a_week_are_forgotten_with_their_history(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        now = time.time()
        decision = Decision(host="h1", provider_id="rp")

        async def past(tx: Transaction, server: Server, removed_at: float | None) -> None:
            await actions.start(tx, server.id, "create", "req-1")
            await actions.finish(tx, server.id, "req-1", "compute__do_build_and_run_instance")
            await decisions.keep(tx, server.id, decision)
            if removed_at:
                await servers.record_removed(tx, server.id, removed_at)

        living, recent, old = [await added(db) for _ in range(3)]
        for server, removed_at in ((living, None), (recent, now - 6 * 86400), (old, now - 8 * 86400)):
            await db.write(lambda tx, server=server, removed_at=removed_at: past(tx, server, removed_at))
        assert await db.write(lambda tx: servers.purge(tx, now)) == 1
        kept = {living.id, recent.id}
        assert {one.id for one in await servers.SERVERS.find(db)} == kept
        assert {row[0] for row in await db.all("SELECT server_id FROM server_actions")} == kept
        assert {row[0] for row in await db.all("SELECT server_id FROM placement_decisions")} == kept
        assert await db.value("SELECT count(*) FROM server_action_events") == 2

    run(tmp_path, script)


def test_a_change_of_what_was_seen_at_an_older_generation_is_refused(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        server = await added(db)
        await db.write(lambda tx: servers.save(tx, server, power=Power.STOPPED))
        with pytest.raises(Conflict):
            await db.write(lambda tx: servers.save(tx, server, power=Power.PAUSED))

    run(tmp_path, script)
