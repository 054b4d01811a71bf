"""Hosts in memory follow the store: clusters, NUMA nodes, aggregates' ratios; claims that are written together."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pileus.config import Config
from pileus.core.placement import choose
from pileus.core.servers import LOST_AFTER
from pileus.model.hosts import Host, HostReport, NumaNode
from pileus.model.placement import Claim, Inventory, PlacementRequest, Provider
from pileus.reconcile.host_registry import HostRegistry
from pileus.store import allocations, providers
from pileus.store.database import Database
from pileus.store.host_views import hosts_of, stocks_of, views_of
from pileus.store.hosts import HOSTS
from pileus.store.placement_names import all_resource_classes
from pileus.store.providers import PROVIDERS
from pileus.store.schema import migrate
from tests.store.conftest import store_at


def run(place: Path, script: Any) -> None:
    async def main() -> None:
        db = store_at(place)
        try:
            await migrate(db)
            await script(db, HostRegistry(db, Config(state="/nowhere", reserved_memory_mib=0)))
        finally:
            await db.close()

    asyncio.run(main())


def report(name: str, at: float = 1000.0, **more: Any) -> HostReport:
    values: dict[str, Any] = {
        "host": name,
        "address": "",
        "version": "1",
        "started_at": 0.0,
        "reported_at": at,
        "vcpus": 2,
        "memory_mib": 1024,
    }
    return HostReport(**{**values, "disk_gib": 10, **more})


async def registered(db: Database, registry: HostRegistry, *reports: HostReport) -> list[Host]:
    waiting = {one.host: [one] for one in reports}
    for one in reports:
        await registry.register(one, waiting)
        registry.note(one)
    return await HOSTS.find(db, "1 = 1 ORDER BY number")


def claim(provider: Provider, memory: int, generation: int | None = None) -> Claim:
    seen = provider.generation if generation is None else generation
    resources = {"MEMORY_MB": memory}
    return Claim(consumer_id=str(uuid.uuid4()), provider_id=provider.id, generation=seen, resources=resources, project_id="p", user_id="u")


def test_hosts_that_wait_are_registered_together_each_with_its_number_and_cluster(tmp_path: Path) -> None:
    async def script(db: Database, registry: HostRegistry) -> None:
        hosts = await registered(db, registry, *(report(f"h{number}", cluster=f"c{number % 2}") for number in range(5)))
        assert [(host.name, host.number, host.cluster) for host in hosts] == [
            (f"h{number}", number + 1, f"c{number % 2}") for number in range(5)
        ]
        found = await PROVIDERS.find(db, "1 = 1 ORDER BY name")
        assert [one.inventories["MEMORY_MB"].total for one in found] == [1024] * 5
        seen = await hosts_of(db, 1001.0, 60.0)
        assert choose(PlacementRequest(resources={"VCPU": 1}, cluster="c1"), seen).fitting == 2

    run(tmp_path, script)


def test_a_host_that_comes_to_another_cluster_or_gets_other_nodes_is_seen_so_at_once(tmp_path: Path) -> None:
    async def script(db: Database, registry: HostRegistry) -> None:
        await registered(db, registry, report("h1"), report("h2"))
        assert (await hosts_of(db, 1001.0, 60.0)).by_name["h1"].state.cluster == "default"
        nodes = [NumaNode(cpus=2, memory_mib=1024, pages={2048: 64})]
        await registered(db, registry, report("h1", 1002.0, cluster="east", numa=nodes))
        state = (await hosts_of(db, 1002.0, 60.0)).by_name["h1"].state
        assert state.cluster == "east" and [cell.memory_mib for cell in state.cells] == [1024]
        assert ("CUSTOM_PAGES_2048KIB", 64) in [(name, inventory.total) for name, inventory, _ in state.stocks]
        assert "CUSTOM_PAGES_2048KIB" in await all_resource_classes(db)
        await registered(db, registry, report("h1", 1003.0, cluster="east"))
        after = (await hosts_of(db, 1003.0, 60.0)).by_name["h1"].state
        assert not after.cells and [name for name, _, _ in after.stocks] == ["DISK_GB", "MEMORY_MB", "VCPU"]

    run(tmp_path, script)


def test_a_report_that_says_nothing_new_only_moves_a_time(tmp_path: Path) -> None:
    async def script(db: Database, registry: HostRegistry) -> None:
        await registered(db, registry, report("h1", 1000.0))
        assert not registry.is_repeated(report("h1", 1001.0)), "guests count as gone only some time after they were missed"
        await registered(db, registry, report("h1", 1001.0 + LOST_AFTER))
        assert registry.is_repeated(report("h1", 1020.0))
        assert not registry.is_repeated(report("h1", 1020.0, memory_mib=2048))
        assert not registry.is_repeated(report("h1", 1021.0, complete=False))
        await registry.flush()
        host = await HOSTS.first(db, "name = ?", "h1")
        assert host and host.seen_at == 1020.0 and host.report and host.report.reported_at == 1001.0 + LOST_AFTER
        assert not registry.is_repeated(report("h1", 1200.0)), "it was silent for long: what waits for it is to be woken"
        registry.note(report("h1", 1021.0, complete=False))
        assert not registry.is_repeated(report("h1", 1022.0)), "a guest changed in between"

    run(tmp_path, script)


def test_claims_together_count_on_each_other_and_only_those_that_came_late_are_refused(tmp_path: Path) -> None:
    async def script(db: Database, registry: HostRegistry) -> None:
        await registered(db, registry, report("h1"), report("h2"))
        one, other = await PROVIDERS.find(db, "1 = 1 ORDER BY name")
        claims = [claim(one, 512), claim(one, 512), claim(one, 1), claim(other, 512), claim(other, 1, generation=other.generation - 1)]
        refused = await db.write(lambda tx: allocations.claim_together(tx, claims))
        assert refused == {claims[2].consumer_id, claims[4].consumer_id}
        after = {provider.name: provider for provider in await PROVIDERS.find(db)}
        assert (after["h1"].used, after["h2"].used) == ({"MEMORY_MB": 1024}, {"MEMORY_MB": 512})
        assert (after["h1"].generation, after["h2"].generation) == (one.generation + 1, other.generation + 1)
        assert await allocations.usage_of(db, [one.id]) == {one.id: {"MEMORY_MB": 1024}}
        again = msgspec.structs.replace(claims[3], generation=after["h2"].generation, resources={"MEMORY_MB": 256})
        assert await db.write(lambda tx: allocations.claim_together(tx, [again])) == set()
        assert (await providers.get(db, other.id)).used == {"MEMORY_MB": 256}

    run(tmp_path, script)


def test_a_claim_that_was_only_assumed_is_forgotten(tmp_path: Path) -> None:
    async def script(db: Database, registry: HostRegistry) -> None:
        [host] = await registered(db, registry, report("h1"))
        views = views_of(db)
        hosts = await views.refresh(1001.0, 60.0, {})
        views.assume(host.id, "h1", {"MEMORY_MB": 1000})
        request = PlacementRequest(resources={"MEMORY_MB": 100})
        assert choose(request, hosts).nearest == "Nearest: h1 needs 76 MiB of memory more."
        assert choose(request, await views.refresh(1001.0, 60.0, {})).host == "h1"

    run(tmp_path, script)


@pytest.mark.parametrize(
    ("texts", "ratio"), [([], 4.0), (["2.0"], 2.0), (["2", "1.5"], 1.5), (["16.0"], 4.0), (["many"], 4.0), (["-1"], 4.0)]
)
def test_an_aggregates_ratio_narrows_that_of_the_provider(texts: list[str], ratio: float) -> None:
    inventories = {"VCPU": Inventory(total=8, allocation_ratio=4.0)}
    provider = Provider(id="1", name="h1", root_id="1", created_at=0.0, updated_at=0.0, inventories=inventories)
    [(_, inventory, _)] = stocks_of(provider, [("cpu_allocation_ratio", text) for text in texts])
    assert inventory.allocation_ratio == ratio
