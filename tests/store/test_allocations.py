"""Claims and releases: what is used is counted once, and a lost race is told."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pileus.core.placement import choose
from pileus.model.errors import Conflict, Invalid
from pileus.model.hosts import Host, HostReport
from pileus.model.placement import Claim, Decision, PlacementRequest, Provider, Wanted
from pileus.store import allocations, decisions, providers
from pileus.store.database import Database, Transaction
from pileus.store.host_views import hosts_of
from pileus.store.hosts import HOSTS
from pileus.store.schema import migrate
from tests.store.conftest import store_at

RATIOS = {"VCPU": 4.0, "MEMORY_MB": 1.0, "DISK_GB": 1.0}


def with_database(path: Path, work: Callable[[Database], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        db = store_at(path)
        try:
            await migrate(db)
            return await work(db)
        finally:
            await db.close()

    return asyncio.run(run())


def report(name: str, **more: Any) -> HostReport:
    values = {"host": name, "address": "", "version": "1", "started_at": 0.0, "reported_at": 1000.0, "vcpus": 2, "memory_mib": 1024}
    return HostReport(**{**values, "disk_gib": 10, **more})


async def add_host(db: Database, name: str, at: float = 1000.0) -> str:
    host = Host(id=str(uuid.uuid4()), name=name, number=1, service_id="s", created_at=at, updated_at=at, seen_at=at)

    async def work(tx: Transaction) -> None:
        await HOSTS.insert(tx, host)
        await providers.register_host(tx, report(name), provider_id=host.id, ratios=RATIOS)

    await db.write(work)
    return host.id


def claim(provider: Provider, consumer: str = "c1", memory: int = 512) -> Claim:
    resources = {"VCPU": 1, "MEMORY_MB": memory}
    return Claim(
        consumer_id=consumer, provider_id=provider.id, generation=provider.generation, resources=resources, project_id="p", user_id="u"
    )


def test_a_claim_is_counted_and_a_release_gives_it_back(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        host = await add_host(db, "h1")
        seen = await providers.get(db, host)
        await db.write(lambda tx: allocations.claim(tx, claim(seen)))
        await db.write(lambda tx: allocations.claim(tx, claim(seen)))
        after = await providers.get(db, host)
        assert after.used == {"VCPU": 1, "MEMORY_MB": 512} and after.generation == seen.generation + 1
        assert await allocations.usage_of(db, [host]) == {host: after.used}
        assert await db.write(lambda tx: allocations.release(tx, "c1"))
        assert not await db.write(lambda tx: allocations.release(tx, "c1"))
        assert (await providers.get(db, host)).used == {}
        assert await allocations.CONSUMERS.get(db, "c1") is None

    with_database(tmp_path, work)


def test_the_loser_of_a_race_is_told_to_look_again(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        seen = await providers.get(db, await add_host(db, "h1"))
        await db.write(lambda tx: allocations.claim(tx, claim(seen)))
        with pytest.raises(Conflict) as lost:
            await db.write(lambda tx: allocations.claim(tx, claim(seen, "c2")))
        assert lost.value.data["stale"]
        assert await allocations.of_consumer(db, "c2") == [] and await allocations.CONSUMERS.get(db, "c2") is None

    with_database(tmp_path, work)


def test_more_than_there_is_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        seen = await providers.get(db, await add_host(db, "h1"))
        with pytest.raises(Conflict, match=r"exceed the capacity|constraints"):
            await db.write(lambda tx: allocations.claim(tx, claim(seen, memory=2048)))
        assert await providers.get(db, seen.id) == seen

    with_database(tmp_path, work)


def test_a_claim_elsewhere_moves_the_consumer(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        first = await providers.get(db, await add_host(db, "h1"))
        second = await providers.get(db, await add_host(db, "h2"))
        await db.write(lambda tx: allocations.claim(tx, claim(first)))
        await db.write(lambda tx: allocations.claim(tx, claim(second)))
        assert (await providers.get(db, first.id)).used == {}
        assert (await providers.get(db, second.id)).used == {"VCPU": 1, "MEMORY_MB": 512}
        assert (await allocations.CONSUMERS.get(db, "c1")).generation == 2  # pyright: ignore[reportOptionalMemberAccess]

    with_database(tmp_path, work)


def test_all_or_none_of_several_consumers_change(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        seen = await providers.get(db, await add_host(db, "h1"))
        good = Wanted(consumer_id="c1", allocations={seen.id: {"VCPU": 1}}, project_id="p", user_id="u")
        bad = Wanted(consumer_id="c2", allocations={"nowhere": {"VCPU": 1}}, project_id="p", user_id="u")
        with pytest.raises(Invalid):
            await db.write(lambda tx: allocations.replace(tx, [good, bad]))
        assert await allocations.of_provider(db, seen.id) == []
        await db.write(lambda tx: allocations.replace(tx, [good]))
        with pytest.raises(Conflict, match="expected 1 but got null"):
            await db.write(lambda tx: allocations.replace(tx, [good]))

    with_database(tmp_path, work)


def test_servers_placed_one_after_another_fill_the_hosts_and_no_more(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        for name in ("h1", "h2", "h3"):
            await add_host(db, name)
        placed: list[str] = []
        decision = Decision()
        for number in range(8):
            hosts = await hosts_of(db, 1001.0, 60.0)
            decision = choose(PlacementRequest(resources={"VCPU": 1, "MEMORY_MB": 512}, seed=number), hosts)
            if decision.host is None:
                break
            placed.append(decision.host)
            wanted = Claim(
                consumer_id=f"s{number}",
                provider_id=str(decision.provider_id),
                generation=decision.generation,
                resources=decision.resources,
                project_id="p",
                user_id="u",
            )
            await db.write(lambda tx, wanted=wanted: allocations.claim(tx, wanted))
        assert sorted(placed) == ["h1", "h1", "h2", "h2", "h3", "h3"] and sorted(placed[:3]) == ["h1", "h2", "h3"]
        assert "needs 512 MiB of memory more" in decision.nearest

    with_database(tmp_path, work)


def test_hosts_that_are_silent_disabled_or_new_are_seen_at_once(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        first = await add_host(db, "h1")
        assert (await hosts_of(db, 1001.0, 60.0)).by_name["h1"].state.up
        assert not (await hosts_of(db, 1061.0, 60.0)).by_name["h1"].state.up
        await db.write(lambda tx: HOSTS.set(tx, first, seen_at=1061.0))
        assert (await hosts_of(db, 1062.0, 60.0)).by_name["h1"].state.up
        host = await HOSTS.get(db, first)
        assert host
        await db.write(lambda tx: HOSTS.update(tx, host, enabled=False, disabled_reason="test"))
        await add_host(db, "h2", at=900.0)
        hosts = await hosts_of(db, 1063.0, 60.0)
        assert not hosts.by_name["h1"].state.enabled and "h2" in hosts.by_name
        await db.write(lambda tx: providers.remove(tx, first))
        await db.write(lambda tx: HOSTS.delete(tx, first))
        assert list((await hosts_of(db, 1070.0, 60.0)).by_name) == ["h2"]

    with_database(tmp_path, work)


def test_the_newest_decisions_about_a_server_are_kept(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        for number in range(7):
            await db.write(lambda tx, number=number: decisions.keep(tx, "s1", Decision(considered=number)))
        assert [kept.decision.considered for kept in await decisions.of_server(db, "s1")] == [6, 5, 4, 3, 2]
        await db.write(lambda tx: decisions.forget(tx, "s1"))
        assert await decisions.of_server(db, "s1") == []

    with_database(tmp_path, work)
