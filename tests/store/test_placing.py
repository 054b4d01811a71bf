"""Placing servers: many at once, members of a group apart, and lost races looked at again."""

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from pileus.config import Config
from pileus.model.errors import Invalid
from pileus.model.hosts import HostReport
from pileus.model.server_groups import ServerGroup
from pileus.model.servers import Server, ServerFlavor
from pileus.reconcile.host_registry import HostRegistry
from pileus.reconcile.placing import Placing
from pileus.store import decisions, providers, server_groups, servers
from pileus.store.database import Database, Transaction
from pileus.store.hosts import HOSTS
from pileus.store.providers import PROVIDERS
from pileus.store.schema import migrate
from tests.store.conftest import store_at

CONFIG = Config(state="/nowhere", reserved_memory_mib=0)


def run(place: Path, script: Any, hosts: int = 3) -> None:
    async def main() -> None:
        db = store_at(place)
        try:
            await migrate(db)
            registry = HostRegistry(db, CONFIG)
            for number in range(hosts):
                now = time.time()
                one = HostReport(
                    host=f"h{number}", address="", version="1", started_at=0.0, reported_at=now, vcpus=8, memory_mib=4096, disk_gib=100
                )
                await registry.register(one, {})
            await script(db)
        finally:
            await db.close()

    asyncio.run(main())


async def added(db: Database, count: int, group: str | None = None, memory: int = 512, **more: Any) -> list[Server]:
    flavor = ServerFlavor(id="1", name="tiny", vcpus=1, ram=memory, disk=1)
    made = [
        Server(
            id=str(uuid.uuid4()), created_at=1.0, updated_at=1.0, project_id="p", user_id="u", name=f"s{number}", hostname="s", vcpus=1,
            memory_mib=memory, flavor=flavor, reservation_id="r", launch_index=number, **more,
        )
        for number in range(count)
    ]  # fmt: skip

    async def work(tx: Transaction) -> None:
        await servers.insert_servers(tx, made)
        if group is not None:
            await server_groups.join(tx, group, [one.id for one in made])

    await db.write(work)
    return made


async def hosts_of(db: Database, made: list[Server]) -> list[str | None]:
    found = [await servers.get(db, one.id) for one in made]
    return [one.host for one in found]


def test_servers_that_wait_are_placed_together_and_fill_the_hosts_and_no_more(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        made = await added(db, 30)  # there is room for 24
        placing = Placing(db, CONFIG)
        await asyncio.gather(*(placing.place(one) for one in made))
        where = await hosts_of(db, made)
        assert [where.count(f"h{number}") for number in range(3)] == [8, 8, 8] and where.count(None) == 6
        assert [one.used["MEMORY_MB"] for one in await PROVIDERS.find(db)] == [4096] * 3
        refused = await servers.get(db, made[where.index(None)].id)
        assert refused.fault and "needs 512 MiB of memory more" in refused.fault.message
        [kept] = await decisions.of_server(db, refused.id)
        assert kept.decision.removals[-1].filter == "capacity"

    run(tmp_path, script)


@pytest.mark.parametrize(("policy", "least"), [("anti-affinity", 3), ("affinity", 1)])
def test_members_of_a_group_that_wait_together_see_each_other(tmp_path: Path, policy: str, least: int) -> None:
    async def script(db: Database) -> None:
        group = ServerGroup(id=str(uuid.uuid4()), created_at=1.0, updated_at=1.0, project_id="p", user_id="u", name="g", policy=policy)
        await db.write(lambda tx: server_groups.GROUPS.insert(tx, group))
        made = await added(db, 4, group.id)
        placing = Placing(db, CONFIG)
        await asyncio.gather(*(placing.place(one) for one in made))
        where = await hosts_of(db, made)
        assert len({one for one in where if one}) == least and where.count(None) == (1 if policy == "anti-affinity" else 0)

    run(tmp_path, script)


def test_a_host_that_another_process_has_filled_meanwhile_costs_another_look_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(db: Database) -> None:
        from pileus.reconcile import placing as module

        chosen, choose = list[str | None](), module.choose
        stolen = list[str]()

        def choosing(request: Any, hosts: Any) -> Any:
            chosen.append((decision := choose(request, hosts)).host)
            return decision

        async def steal(tx: Transaction, batch: Any) -> Any:
            decision = batch[0].decision
            if not stolen:
                stolen.append(decision.host)
                provider = await providers.get(tx, decision.provider_id)
                await providers.save(tx, provider, used={"MEMORY_MB": 4096})
            return await claim_all(tx, batch)

        claim_all = module._claim_all
        monkeypatch.setattr(module, "choose", choosing)
        monkeypatch.setattr(module, "_claim_all", steal)
        [one] = await added(db, 1)
        await Placing(db, CONFIG).place(one)
        assert (await hosts_of(db, [one])) == [chosen[1]] and chosen[0] == stolen[0] != chosen[1]

    run(tmp_path, script)


def test_what_can_not_be_asked_for_is_told_to_who_asked_and_holds_up_nobody(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        [wrong] = await added(db, 1, hints={"query": "x"})
        good = await added(db, 3)
        placing = Placing(db, CONFIG)
        outcomes = await asyncio.gather(*(placing.place(one) for one in [wrong, *good]), return_exceptions=True)
        assert isinstance(outcomes[0], Invalid) and [isinstance(one, Server) and one.host is not None for one in outcomes[1:]] == [True] * 3
        assert None not in await hosts_of(db, good)

    run(tmp_path, script)


def test_one_that_is_cut_off_leaves_the_others_their_turn(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        made = await added(db, 6)
        placing = Placing(db, CONFIG)
        tasks = [asyncio.ensure_future(placing.place(one)) for one in made]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        where = await hosts_of(db, made)
        assert None not in [where[number] for number in (1, 2, 4, 5)]

    run(tmp_path, script)


def test_hosts_that_are_down_get_nothing(tmp_path: Path) -> None:
    async def script(db: Database) -> None:
        host = await HOSTS.first(db, "name = ?", "h0")
        assert host
        await db.write(lambda tx: HOSTS.set(tx, host.id, seen_at=1.0))
        made = await added(db, 4)
        placing = Placing(db, CONFIG)
        await asyncio.gather(*(placing.place(one) for one in made))
        assert set(await hosts_of(db, made)) == {"h1", "h2"}

    run(tmp_path, script)
