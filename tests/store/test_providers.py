"""Resource providers: hosts register themselves, operators' settings stay, trees keep their shape."""

from pathlib import Path

import pytest
from tests.store.test_allocations import RATIOS, add_host, claim, report, with_database

from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.hosts import DriverCapabilities
from pileus.model.placement import Inventory, Provider
from pileus.store import allocations, providers
from pileus.store.database import Transaction
from pileus.store.provider_view import view_of
from pileus.store.sqlite import SqliteDatabase

QEMU = DriverCapabilities(driver="qemu", hypervisor_type="QEMU", hypervisor_version=7, architectures=["x86_64"], modes=["hvm"])


def test_a_host_becomes_a_provider_with_its_inventories_and_traits(tmp_path: Path) -> None:
    async def work(db: SqliteDatabase) -> None:
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
    async def work(db: SqliteDatabase) -> None:
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
    async def work(db: SqliteDatabase) -> None:
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
    async def work(db: SqliteDatabase) -> None:
        seen = await providers.get(db, await add_host(db, "h1"))
        await db.write(lambda tx: providers.save(tx, seen, traits=[]))
        with pytest.raises(Conflict) as refused:
            await db.write(lambda tx: providers.save(tx, seen, traits=["CUSTOM_A"]))
        assert refused.value.data["stale"] and refused.value.data["code"] == "placement.concurrent_update"

    with_database(tmp_path, work)


def test_trees_move_as_a_whole_and_never_bite_their_tails(tmp_path: Path) -> None:
    async def work(db: SqliteDatabase) -> None:
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
    async def work(db: SqliteDatabase) -> None:
        await db.write(lambda tx: providers.create(tx, "a", "one"))
        with pytest.raises(Conflict, match="name: one"):
            await db.write(lambda tx: providers.create(tx, "b", "one"))
        other = await db.write(lambda tx: providers.create(tx, "b", "two"))
        with pytest.raises(Conflict, match="name: one"):
            await db.write(lambda tx: providers.rename(tx, other, "one"))

    with_database(tmp_path, work)
