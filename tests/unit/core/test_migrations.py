"""Whether a host can take a guest, how soon a move is looked at again, and what Nova's words for a server that moves are."""

from typing import Any

import msgspec
import pytest

from pileus.core.migrations import copies_disks, look_again, refusal
from pileus.core.servers import Next, derive, next_step, observe
from pileus.model.guests import ObservedGuest, ObservedPower, Power
from pileus.model.hosts import DriverCapabilities, HostReport
from pileus.model.migrations import Migration, MigrationKind
from pileus.model.moves import MovePhase, MoveProgress, MoveRound
from pileus.model.servers import Resize, ResizeStep, Server, ServerFlavor, Status

MOVE = Migration(id="00000000-0000-0000-0000-000000000001", number=1, server_id="s", kind=MigrationKind.LIVE, source="h1", destination="h2")
GUEST = ObservedGuest(id="s", power=ObservedPower.RUNNING, generation=3, hypervisor="qemu", machine="pc-q35-7.2", cpu_model="host")
FLAVOR = ServerFlavor(id="1", name="tiny", vcpus=1, ram=64, disk=1)


def report(shared: bool = False, **driver: Any) -> HostReport:
    found = DriverCapabilities(
        **{"driver": "qemu", "hypervisor_type": "KVM", "hypervisor_version": 7002000, "accelerator": "kvm", **driver}
    )
    return HostReport(
        host="h", address="", version="", started_at=0, reported_at=0, vcpus=1, memory_mib=1, disk_gib=1, capabilities=[found],
        shared_disks=shared,
    )  # fmt: skip


def server(**fields: Any) -> Server:
    made = Server(
        id="s", project_id="p", user_id="u", name="one", hostname="one", vcpus=1, memory_mib=64, generation=3, flavor=FLAVOR, host="h1",
        launched_at=1.0, observed=GUEST,
    )  # fmt: skip
    return derive(msgspec.structs.replace(made, **fields))


@pytest.mark.parametrize(
    ("source", "destination", "block", "live", "told"),
    [
        (report(), report(), None, True, ""),
        (report(), report(cpu_model="another"), None, True, "own CPU"),
        (report(), report(cpu_model="another"), None, False, ""),
        (report(), report(driver="simulated"), None, False, "has no hypervisor qemu"),
        (report(), report(hypervisor_version=6000000), None, True, "is older"),
        (report(), report(), False, True, "does not share"),
        (report(True), report(True), True, True, "are shared"),
        (report(True), report(True), False, True, ""),
        (report(True), report(), True, True, ""),
    ],
)
def test_a_host_that_can_not_take_the_guest_says_why(
    source: HostReport, destination: HostReport, block: bool | None, live: bool, told: str
) -> None:
    reason = refusal(msgspec.structs.replace(MOVE, block_migration=block), GUEST, source, destination, live)
    assert told in reason
    assert bool(reason) == bool(told)
    assert copies_disks(source, destination) == (not (source.shared_disks and destination.shared_disks))


def test_a_move_is_looked_at_often_when_it_is_nearly_over() -> None:
    one = MoveRound(number=1, seconds=1, sent=100, remaining=1000, dirty_rate=1, bandwidth=100)
    far = MoveProgress(phase=MovePhase.MEMORY, memory_remaining=1000, rounds=[one])
    near = msgspec.structs.replace(far, memory_remaining=50)
    disks = MoveProgress(phase=MovePhase.DISKS)
    assert look_again(near) < look_again(far) == look_again(disks)
    assert look_again(MoveProgress(phase=MovePhase.POST_COPY)) == look_again(near)


def test_the_way_back_is_a_move_of_its_own() -> None:
    back = msgspec.structs.replace(MOVE, back=True)
    assert (MOVE.sender, MOVE.receiver, back.sender, back.receiver) == ("h1", "h2", "h2", "h1")
    assert MOVE.move_id == MOVE.id != back.move_id


def test_a_server_that_moves_is_migrating_and_nothing_else_is_done_about_it() -> None:
    for changes in ({}, {"generation": 9}, {"deleted_at": 1.0}, {"pending_snapshot": "i"}):
        assert next_step(server(migration="m", **changes)) == Next.NOTHING
    moving = server(migration="m")
    assert (moving.status, moving.vm_state, moving.task_state) == (Status.MIGRATING, "active", "migrating")
    assert server(migration="m", deleted_at=1.0).task_state == "deleting"


def test_what_a_guest_does_on_its_way_changes_nothing_of_what_is_wanted() -> None:
    off = msgspec.structs.replace(GUEST, power=ObservedPower.STOPPED)
    after = observe(server(migration="m"), off, 5.0)
    assert (after.power, after.generation, after.observed) == (Power.RUNNING, 3, off)
    assert observe(server(), off, 5.0).power == Power.STOPPED


@pytest.mark.parametrize(
    ("step", "migration", "status", "task"),
    [
        (ResizeStep.CLAIM, None, Status.RESIZE, "resize_prep"),
        (ResizeStep.MOVE, "m", Status.RESIZE, "resize_migrating"),
        (ResizeStep.APPLY, None, Status.VERIFY_RESIZE, None),
        (ResizeStep.CONFIRM, "m", Status.VERIFY_RESIZE, None),
        (ResizeStep.REVERT, "m", Status.REVERT_RESIZE, "resize_reverting"),
    ],
)
def test_a_cold_migration_is_called_a_resize(step: ResizeStep, migration: str | None, status: Status, task: str | None) -> None:
    moving = server(migration=migration, resize=Resize(step=step, old=FLAVOR, new=FLAVOR, migration="m"))
    assert (moving.status, moving.task_state) == (status, task)
