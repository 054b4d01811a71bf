"""What every hypervisor driver promises, tried on each: verbs, twice each; guests that end by themselves; adoption; removal."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pileus.model.errors import NotFound
from pileus.model.guests import Guest, ObservedGuest, ObservedPower, Power
from pileus.node.hypervisor import accelerators
from pileus.node.hypervisor.driver import HypervisorDriver
from pileus.node.hypervisor.qemu import QemuDriver
from pileus.node.hypervisor.simulated import SimulatedDriver
from tests.driver import boot_sectors

TAG = "c0de"
DEADLINE = 20.0


class Bench:
    """A driver under test, with what it reported; `restart` is what a new process would do."""

    def __init__(self, kind: str, state: Path) -> None:
        self.kind = kind
        self.state = state
        self.changes: list[ObservedGuest] = []
        self.driver: HypervisorDriver = self._make()

    def _make(self) -> Any:
        if self.kind == "simulated":
            return SimulatedDriver(self.state)
        return QemuDriver(self.state, TAG, no_taps, find_probe_image=lambda: None, grace=0.3)

    async def restart(self) -> list[ObservedGuest]:
        await self.driver.close()
        self.driver = self._make()
        return await self.driver.start(self.changes.append)

    async def seen(self, guest: Guest) -> ObservedGuest | None:
        return next((one for one in await self.driver.observe() if one.id == guest.id), None)

    async def reach(self, guest: Guest) -> ObservedGuest:
        """Apply until it is reached in full, as a reconciler does."""
        observed = await self.driver.apply(guest)
        assert observed.error is None, (observed.error, observed.error_detail)
        return await self.until(guest, lambda one: one.generation == guest.generation)

    async def until(self, guest: Guest, wanted: Callable[[ObservedGuest], bool]) -> ObservedGuest:
        deadline = time.monotonic() + DEADLINE
        while (seen := await self.seen(guest)) is None or not wanted(seen):
            assert time.monotonic() < deadline, f"it stays {seen}"
            await asyncio.sleep(0.01)
        return seen

    async def kill(self, guest: Guest) -> None:
        """Let the guest die as if its process were killed."""
        seen = await self.seen(guest)
        if isinstance(self.driver, SimulatedDriver):
            self.driver.end(guest.id, ObservedPower.CRASHED)
        else:
            assert seen and seen.pid
            os.kill(seen.pid, signal.SIGKILL)


def no_taps(domain_id: str, port_id: str) -> int:
    raise AssertionError("these guests have no network")


@pytest.fixture(params=["simulated", "qemu"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    if request.param == "qemu" and not shutil.which("qemu-system-x86_64"):
        pytest.skip("qemu-system-x86_64 is missing")
    monkeypatch.setattr(accelerators, "KVM", tmp_path / "no-kvm")  # its probe has its own test and takes seconds
    yield Bench(request.param, tmp_path / "node")


Scenario = Callable[[Bench, Guest], Awaitable[None]]


def run(bench: Bench, guest: Guest, scenario: Scenario) -> None:
    """Play a scenario with a started driver; remove the guest whatever happens."""

    async def play() -> None:
        await bench.driver.start(bench.changes.append)
        try:
            await scenario(bench, guest)
        finally:
            await bench.driver.remove(guest.id)
            await bench.driver.close()

    asyncio.run(play())


def changed(guest: Guest, **changes: Any) -> Guest:
    return msgspec.structs.replace(guest, generation=guest.generation + 1, **changes)


async def twice(bench: Bench, guest: Guest, power: ObservedPower) -> ObservedGuest:
    """Reach a state, then apply the same once more: nothing may change."""
    first = await bench.reach(guest)
    assert first.power == power
    second = await bench.driver.apply(guest)
    assert second == first
    return first


def test_a_guest_is_created_stopped_and_started_again(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        first = await twice(bench, guest, ObservedPower.RUNNING)
        assert first.started_at is not None
        assert first.accelerator_reason
        stopped = changed(guest, power=Power.STOPPED)
        seen = await twice(bench, stopped, ObservedPower.STOPPED)
        assert seen.pid is None and seen.started_at is None
        again = await twice(bench, changed(stopped, power=Power.RUNNING), ObservedPower.RUNNING)
        assert again.pid != first.pid or first.pid is None

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_a_guest_created_stopped_does_not_run(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        await twice(bench, msgspec.structs.replace(guest, power=Power.STOPPED), ObservedPower.STOPPED)

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_a_guest_that_ignores_the_power_button_is_stopped_after_its_grace_time(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        await bench.reach(guest)
        await twice(bench, changed(guest, power=Power.STOPPED), ObservedPower.STOPPED)

    run(bench, boot_sectors.guest(tmp_path, boot_sectors.DEAF), scenario)


def test_a_guest_is_paused_and_goes_on(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        first = await bench.reach(guest)
        paused = changed(guest, power=Power.PAUSED)
        assert (await twice(bench, paused, ObservedPower.PAUSED)).pid == first.pid
        assert (await twice(bench, changed(paused, power=Power.RUNNING), ObservedPower.RUNNING)).pid == first.pid

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_a_guest_is_suspended_and_resumed(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        await bench.reach(guest)
        suspended = changed(guest, power=Power.SUSPENDED)
        assert (await twice(bench, suspended, ObservedPower.SUSPENDED)).pid is None
        assert [one.power for one in await bench.restart()] == [ObservedPower.SUSPENDED]
        await twice(bench, changed(suspended, power=Power.RUNNING), ObservedPower.RUNNING)
        assert bench.changes == []

    run(bench, boot_sectors.guest(tmp_path), scenario)


@pytest.mark.parametrize("sector", [boot_sectors.OBEDIENT, boot_sectors.DEAF], ids=["obedient", "deaf"])
def test_a_soft_reboot_happens_once(bench: Bench, tmp_path: Path, sector: bytes) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        first = await bench.reach(guest)
        again = await twice(bench, changed(guest, reboots_soft=1), ObservedPower.RUNNING)
        assert again.reboots_soft == 1
        assert again.started_at != first.started_at
        assert not [one for one in bench.changes if one.power is not ObservedPower.RUNNING], "a reboot looked like an end"

    run(bench, boot_sectors.guest(tmp_path, sector), scenario)


def test_a_hard_reboot_happens_once(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        first = await bench.reach(guest)
        again = await twice(bench, changed(guest, reboots_hard=1), ObservedPower.RUNNING)
        assert again.reboots_hard == 1
        assert again.started_at != first.started_at

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_a_rebuild_starts_from_the_image_again(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        await bench.reach(guest)
        other = boot_sectors.guest(tmp_path, boot_sectors.DEAF).disks
        seen = await twice(bench, changed(guest, builds=1, disks=other), ObservedPower.RUNNING)
        assert seen.builds == 1

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_a_guest_that_dies_is_reported_and_can_be_started_again(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        await bench.reach(guest)
        await bench.kill(guest)
        await bench.until(guest, lambda one: one.power is ObservedPower.CRASHED)
        assert [one.power for one in bench.changes] == [ObservedPower.CRASHED]
        follows = changed(guest, power=Power.STOPPED)
        await twice(bench, follows, ObservedPower.STOPPED)
        await twice(bench, changed(follows, power=Power.RUNNING), ObservedPower.RUNNING)

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_a_new_process_adopts_what_runs(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        first = await bench.reach(guest)
        adopted = await bench.restart()
        assert adopted == [first]
        assert bench.driver.guests() == [guest]
        await twice(bench, guest, ObservedPower.RUNNING)
        await bench.kill(guest)
        await bench.until(guest, lambda one: one.power is ObservedPower.CRASHED)

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_a_snapshot_stands_alone(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        await bench.reach(guest)
        running = await bench.driver.snapshot(guest.id, tmp_path / "snapshots" / "running.qcow2")
        assert running.virtual_size == guest.disks[0].size
        assert running == await bench.driver.snapshot(guest.id, tmp_path / "snapshots" / "running.qcow2")
        await bench.reach(changed(guest, power=Power.STOPPED))
        stopped = await bench.driver.snapshot(guest.id, tmp_path / "snapshots" / "stopped.qcow2")
        assert stopped.virtual_size == guest.disks[0].size

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_figures_and_console_log_are_read(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        await bench.reach(guest)
        deadline = time.monotonic() + DEADLINE
        while len((await bench.driver.console_log(guest.id, None)).splitlines()) < 3:
            assert time.monotonic() < deadline, "the guest prints nothing"
            await asyncio.sleep(0.01)
        assert len((await bench.driver.console_log(guest.id, 2)).splitlines()) == 2
        figures = await bench.driver.stats(guest.id)
        assert figures.state == "running"
        assert len(figures.cpu_details) == guest.vcpus
        assert len(figures.disk_details) == len(guest.disks)
        assert figures.memory_maximum == guest.memory_mib

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_removal_leaves_nothing_and_may_be_repeated(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        first = await bench.reach(guest)
        await bench.driver.remove(guest.id)
        await bench.driver.remove(guest.id)
        assert await bench.driver.observe() == []
        assert [path for path in bench.state.rglob("*") if guest.id in path.name] == []
        assert not (first.pid and Path(f"/proc/{first.pid}").exists())
        assert list(Path("/sys/fs/cgroup").rglob(f"pileus-{TAG}")) == []
        assert await bench.restart() == []

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_what_is_not_there_is_not_found(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        with pytest.raises(NotFound):
            await bench.driver.console_log(guest.id, None)
        with pytest.raises(NotFound):
            await bench.driver.stats(guest.id)
        await bench.driver.remove(guest.id)

    run(bench, boot_sectors.guest(tmp_path), scenario)


def test_the_probe_says_what_can_be_done_and_why(bench: Bench, tmp_path: Path) -> None:
    async def scenario(bench: Bench, guest: Guest) -> None:
        found = await bench.driver.probe()
        assert found.driver == bench.kind
        assert found.accelerator_reason
        assert "x86_64" in found.architectures
        assert {"pause", "snapshot", "reboot-soft"} <= set(found.features)

    run(bench, boot_sectors.guest(tmp_path), scenario)
