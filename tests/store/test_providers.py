"""Resource providers: hosts register themselves, operators' settings stay, trees keep their shape."""

from pathlib import Path

import pytest

from pileus.core.placement import choose
from pileus.model.aggregates import Aggregate
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.hosts import DriverCapabilities
from pileus.model.placement import Inventory, PlacementRequest, Provider
from pileus.store import aggregates, allocations, providers
from pileus.store.database import Database, Transaction
from pileus.store.host_views import hosts_of
from pileus.store.provider_view import view_of
from tests.store.test_allocations import RATIOS, add_host, claim, report, with_database

QEMU = DriverCapabilities(driver="qemu", hypervisor_type="QEMU", hypervisor_version=7, architectures=["x86_64"], modes=["hvm"])


def test_a_host_becomes_a_provider_with_its_inventories_and_traits(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        async def register(tx: Transaction) -> Provider:
            return await providers.register_host(
                tx, report("h1", capabilities=[QEMU]), provider_id="p1", ratios=RATIOS, reserved={"MEMORY_MB": 256}
            )

        made = await db.write(register)
        assert made.inventories["VCPU"] == Inventory(total=2, max_unit=2, allocation_ratio=4.0)
        assert made.inventories["MEMORY_MB"].capacity == 768
        assert made.traits == ["COMPUTE_ARCH_X86_64", "CUSTOM_HYPERVISOR_QEMU", "CUSTOM_VM_MODE_HVM"]
        again = await db.write(register)
        assert again.generation == made.generation and again.changed == made.changed

    with_database(tmp_path, work)


def test_what_an_operator_set_outlives_the_next_report(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        host = await add_host(db, "h1")
        seen = await providers.get(db, host)
        mine = {**seen.inventories, "VCPU": Inventory(total=2, allocation_ratio=16.0, reserved=1), "CUSTOM_GOLD": Inventory(total=3)}
        await db.write(lambda tx: providers.save(tx, seen, inventories=mine, traits=["CUSTOM_RACK_1", "HW_CPU_X86_AVX"]))
        more = report("h1", vcpus=8, capabilities=[QEMU])
        after = await db.write(lambda tx: providers.register_host(tx, more, provider_id=host, ratios=RATIOS))
        assert after.inventories["VCPU"] == Inventory(total=8, max_unit=8, allocation_ratio=16.0, reserved=1)
        assert "CUSTOM_GOLD" in after.inventories and "CUSTOM_RACK_1" in after.traits and "HW_CPU_X86_AVX" not in after.traits

    with_database(tmp_path, work)


def test_inventories_and_providers_in_use_stay(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        seen = await providers.get(db, await add_host(db, "h1"))
        await db.write(lambda tx: allocations.claim(tx, claim(seen)))
        used = await providers.get(db, seen.id)
        with pytest.raises(Conflict, match=r"VCPU.* in use") as refused:
            await db.write(lambda tx: providers.set_inventories(tx, used, {}))
        assert refused.value.data["code"] == "placement.inventory.inuse"
        with pytest.raises(Conflict, match="allocations"):
            await db.write(lambda tx: providers.remove(tx, seen.id))

    with_database(tmp_path, work)


def test_a_stale_change_is_refused(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        seen = await providers.get(db, await add_host(db, "h1"))
        await db.write(lambda tx: providers.save(tx, seen, traits=[]))
        with pytest.raises(Conflict) as refused:
            await db.write(lambda tx: providers.save(tx, seen, traits=["CUSTOM_A"]))
        assert refused.value.data["stale"] and refused.value.data["code"] == "placement.concurrent_update"

    with_database(tmp_path, work)


def test_trees_move_as_a_whole_and_never_bite_their_tails(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        for name, parent in (("a", None), ("b", "a"), ("c", "b"), ("z", None)):
            await db.write(lambda tx, name=name, parent=parent: providers.create(tx, name, name, parent))
        b = await providers.get(db, "b")
        with pytest.raises(Invalid, match="loop"):
            await db.write(lambda tx: providers.move(tx, b, "c"))
        await db.write(lambda tx: providers.move(tx, b, "z"))
        view = await view_of(db)
        assert view.forest.trees == {"a": {"a"}, "z": {"z", "b", "c"}}
        with pytest.raises(Conflict, match="child"):
            await db.write(lambda tx: providers.remove(tx, "b"))
        await db.write(lambda tx: providers.remove(tx, "c"))
        assert (await view_of(db)).forest.trees == {"a": {"a"}, "z": {"z", "b"}}
        with pytest.raises(NotFound):
            await db.write(lambda tx: providers.remove(tx, "c"))

    with_database(tmp_path, work)


def test_names_are_unique(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        await db.write(lambda tx: providers.create(tx, "a", "one"))
        with pytest.raises(Conflict, match="name: one"):
            await db.write(lambda tx: providers.create(tx, "b", "one"))
        other = await db.write(lambda tx: providers.create(tx, "b", "two"))
        with pytest.raises(Conflict, match="name: one"):
            await db.write(lambda tx: providers.rename(tx, other, "one"))

    with_database(tmp_path, work)


def test_host_aggregates_are_placements_aggregates_and_their_metadata_counts(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        await add_host(db, "h1")
        await add_host(db, "h2")
        row = Aggregate(id="a1", number=1, name="fast", created_at=1.0, updated_at=1.0)
        made = await db.write(lambda tx: aggregates.create(tx, row))
        made = await db.write(lambda tx: aggregates.change(tx, made, hosts=["h2"], metadata={"disk": "ssd"}))
        hosts = await hosts_of(db, 1001.0, 60.0, {made.id: made.metadata})
        assert choose(PlacementRequest(resources={"VCPU": 1}, metadata={"disk": "ssd"}), hosts).host == "h2"
        await db.write(lambda tx: aggregates.change(tx, made, hosts=[]))
        hosts = await hosts_of(db, 1001.0, 60.0, {made.id: made.metadata})
        assert choose(PlacementRequest(resources={"VCPU": 1}, metadata={"disk": "ssd"}), hosts).host is None

    with_database(tmp_path, work)


def test_a_zone_that_an_aggregate_gives_counts_at_once(tmp_path: Path) -> None:
    async def work(db: Database) -> None:
        await add_host(db, "h1")
        assert choose(PlacementRequest(resources={"VCPU": 1}, zone="hall2"), await hosts_of(db, 1001.0, 60.0)).host is None
        row = Aggregate(id="a1", number=1, name="hall2", created_at=1.0, updated_at=1.0, availability_zone="hall2")
        made = await db.write(lambda tx: aggregates.create(tx, row))
        await db.write(lambda tx: aggregates.change(tx, made, hosts=["h1"]))
        assert choose(PlacementRequest(resources={"VCPU": 1}, zone="hall2"), await hosts_of(db, 1001.0, 60.0)).host == "h1"

    with_database(tmp_path, work)
