"""What the QEMU driver promises beyond the contract: clean shutdown, confinement, exclusion, what happens unwatched, reasons."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pileus.model.errors import NodeFailed
from pileus.model.guests import ConsoleKind, Guest, GuestDisk, ObservedGuest, ObservedPower, Power
from pileus.node.hypervisor import accelerators, qemu, shutdown_timer
from pileus.node.hypervisor.confinement import FIRST_UID, Confinement, limits_of
from pileus.node.hypervisor.driver import DISKS_LOST
from pileus.node.hypervisor.qemu import QemuDriver
from pileus.node.hypervisor.qmp import unix_socket
from tests.driver import boot_sectors

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is missing")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can confine guests")

TAG = "beef"
DEADLINE = 20.0


@pytest.fixture(autouse=True)
def no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "KVM", tmp_path / "no-kvm")


def no_taps(domain_id: str, port_id: str) -> int:
    raise AssertionError("these guests have no network")


def make(tmp_path: Path, grace: float = 30.0) -> QemuDriver:
    return QemuDriver(tmp_path / "node", TAG, no_taps, find_probe_image=lambda: None, grace=grace)


def run(tmp_path: Path, guest: Guest, scenario: Callable[[QemuDriver, list[ObservedGuest]], Awaitable[None]]) -> None:
    async def play() -> None:
        driver, changes = make(tmp_path), list[ObservedGuest]()
        await driver.start(changes.append)
        try:
            await scenario(driver, changes)
        finally:
            last = make(tmp_path)
            await driver.close()
            await last.start(lambda _: None)
            await last.remove(guest.id)
            await last.close()

    asyncio.run(play())


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


async def ready(driver: QemuDriver, guest: Guest) -> ObservedGuest:
    """Started, and its 512 bytes wait for the power button."""
    observed = await driver.apply(guest)
    assert observed.error is None, (observed.error, observed.error_detail)
    log = driver._host.guests / guest.id / "console.log"
    await until(lambda: b"ready" in log.read_bytes(), "the guest does not boot")
    return observed


def later(guest: Guest, **changes: Any) -> Guest:
    return msgspec.structs.replace(guest, generation=guest.generation + 1, **changes)


def test_a_guest_that_obeys_the_power_button_is_not_kept_waiting(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await ready(driver, guest)
        began = time.monotonic()
        asked = await driver.apply(later(guest, power=Power.STOPPED))
        assert asked.power is ObservedPower.RUNNING
        await until(lambda: bool(changes), "it does not go down")
        assert [(one.power, one.generation) for one in changes] == [(ObservedPower.STOPPED, 2)]
        assert time.monotonic() - began < 10.0

    run(tmp_path, guest, scenario)


def test_a_guest_that_boots_when_the_power_button_is_pressed_hears_it_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown_timer, "AGAIN", 1.0)
    guest = boot_sectors.guest(tmp_path, boot_sectors.LATE)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await ready(driver, guest)
        await driver.apply(later(guest, power=Power.STOPPED))
        await until(lambda: bool(changes), "it does not go down")
        assert changes[-1].power is ObservedPower.STOPPED

    run(tmp_path, guest, scenario)


def test_a_disk_that_is_lost_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await ready(driver, guest)
        root = driver._host.guests / guest.id / "disks" / "root"
        root.unlink()
        again = await driver.apply(later(guest, made=True, reboots_hard=1))
        assert again.error == DISKS_LOST
        assert not root.exists()
        rebuilt = await driver.apply(later(later(guest), reboots_hard=1, builds=1))
        assert (rebuilt.error, rebuilt.power) == (None, ObservedPower.RUNNING)

    run(tmp_path, guest, scenario)


def test_a_soft_reboot_goes_through_the_guests_own_shutdown(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await ready(driver, guest)
        await driver.apply(later(guest, reboots_soft=1))
        await until(lambda: bool(changes), "it does not come back")
        assert [(one.power, one.reboots_soft) for one in changes] == [(ObservedPower.RUNNING, 1)]

    run(tmp_path, guest, scenario)


def test_a_resumed_guest_goes_on_where_it_was(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await ready(driver, guest)
        suspended = await driver.apply(later(guest, power=Power.SUSPENDED))
        assert (suspended.power, suspended.error) == (ObservedPower.SUSPENDED, None)
        resumed = await driver.apply(later(later(guest)))
        assert (resumed.power, resumed.error, resumed.error_detail) == (ObservedPower.RUNNING, None, None)
        assert await driver.console_log(guest.id, None) == "", "it booted instead"
        assert not list((tmp_path / "node" / "guests" / guest.id).glob("memory*"))
        await driver.apply(later(later(later(guest, power=Power.STOPPED))))
        await until(lambda: bool(changes), "it hears the power button no more")

    run(tmp_path, guest, scenario)


def test_a_guest_wanted_again_while_it_shuts_down_is_started_again(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        first = await ready(driver, guest)
        await driver.apply(later(guest, power=Power.STOPPED))
        await driver.apply(later(later(guest)))
        await until(lambda: any(one.pid not in (None, first.pid) for one in changes), "it does not come back")
        assert changes[-1].power is ObservedPower.RUNNING

    run(tmp_path, guest, scenario)


def test_a_guest_that_powers_itself_off_is_stopped_not_crashed(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path, boot_sectors.SHORT_LIVED)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await driver.apply(guest)
        await until(lambda: bool(changes), "its end is not noticed")
        assert [one.power for one in changes] == [ObservedPower.STOPPED]

    run(tmp_path, guest, scenario)


@pytest.mark.parametrize(
    ("sector", "end", "expected"),
    [
        (boot_sectors.DEAF, "kill", ObservedPower.CRASHED),
        (boot_sectors.SHORT_LIVED, "itself", ObservedPower.STOPPED),
    ],
)
def test_what_ended_while_nobody_watched_is_seen_at_the_start(tmp_path: Path, sector: bytes, end: str, expected: ObservedPower) -> None:
    guest = msgspec.structs.replace(boot_sectors.guest(tmp_path, sector), power=Power.PAUSED)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        observed = await driver.apply(guest)
        await driver.close()
        assert observed.pid
        if end == "kill":
            os.kill(observed.pid, signal.SIGKILL)
            await until(lambda: not Path(f"/proc/{observed.pid}/cmdline").read_bytes(), "it does not die")
        else:
            await let_go_on(tmp_path / "node" / "guests" / guest.id)
        again = make(tmp_path)
        seen = await again.start(changes.append)
        if seen[0].power is not expected:
            await until(lambda: bool(changes), "its end is not noticed")
            seen = changes
        assert [one.power for one in seen] == [expected]
        await again.close()

    run(tmp_path, guest, scenario)


async def let_go_on(directory: Path) -> None:
    """What another program could do by QMP: set the CPUs going, and wait until the guest has powered off."""
    from qemu.qmp import QMPClient

    client = QMPClient("test")
    await client.connect(unix_socket(directory / "qmp.sock"))
    await client.execute("cont")
    deadline = time.monotonic() + DEADLINE
    while (await client.execute("query-status"))["status"] != "shutdown":  # type: ignore[index]
        assert time.monotonic() < deadline, "the guest does not power off"
        await asyncio.sleep(0.01)
    await client.disconnect()


def test_two_processes_never_run_one_guest_twice(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        first = await ready(driver, guest)
        await driver.close()
        (tmp_path / "node" / "guests" / guest.id / "pid").unlink()  # as if killed just after the start
        second = make(tmp_path)
        adopted = await second.start(changes.append)
        assert [(one.pid, one.power) for one in adopted] == [(first.pid, ObservedPower.RUNNING)]
        assert (await second.apply(guest)).pid == first.pid
        await second.close()

    run(tmp_path, guest, scenario)


def test_a_guest_whose_record_is_lost_can_still_be_removed(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        first = await ready(driver, guest)
        await driver.close()
        (tmp_path / "node" / "guests" / guest.id / "guest.json").write_text("{")
        second = make(tmp_path)
        assert await second.start(changes.append) == []
        await second.remove(guest.id)
        assert not (tmp_path / "node" / "guests" / guest.id).exists()
        assert not Path(f"/proc/{first.pid}/cmdline").exists() or not Path(f"/proc/{first.pid}/cmdline").read_bytes()
        await second.close()

    run(tmp_path, guest, scenario)


def test_a_path_is_no_guests_id(tmp_path: Path) -> None:
    async def scenario() -> None:
        driver = make(tmp_path)
        await driver.start(lambda _: None)
        for wrong in ("..", "../base", "", "."):
            with pytest.raises(NodeFailed):
                await driver.remove(wrong)
        assert (tmp_path / "node" / "base").exists()
        await driver.close()

    asyncio.run(scenario())


@needs_root
def test_a_guest_is_confined(tmp_path: Path) -> None:
    guest = msgspec.structs.replace(boot_sectors.guest(tmp_path), cpu_quota=0.5, video="vga")

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        observed = await ready(driver, guest)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{observed.pid}/status").read_text().splitlines() if ":\t" in line)
        user = int(status["Uid"].split()[0])
        assert user >= FIRST_UID
        assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(user)}
        assert (int(status["CapEff"], 16), int(status["CapBnd"], 16)) == (0, 0)
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        confinement = Confinement(TAG)
        groups = Path(f"/proc/{observed.pid}/cgroup").read_text()
        assert not confinement.controllers or f"/pileus-{TAG}/{guest.id}" in groups
        directory = tmp_path / "node" / "guests" / guest.id
        for name in ("guest.json", "qmp.sock", "serial.sock", "lock"):
            about = (directory / name).stat()
            assert (about.st_uid, stat.S_IMODE(about.st_mode)) == (0, 0o600), name
        assert not (directory / "run").exists()
        assert unix_socket(Path(await driver.console(guest.id, ConsoleKind.VNC))).fileno() >= 0

    run(tmp_path, guest, scenario)


def test_limits_are_the_flavors() -> None:
    guest = Guest(id="a", name="a", project_id="p", vcpus=2, memory_mib=1024, cpu_shares=512)
    limits = limits_of(guest, 256)
    memory = str((1024 + 256 + 256) << 20)
    assert limits["v1"]["cpu.cfs_quota_us"] == "200000"
    assert limits["v1"]["memory.limit_in_bytes"] == limits["v2"]["memory.max"] == memory
    assert limits["v2"]["cpu.max"] == "200000 100000"
    assert (limits["v1"]["cpu.shares"], limits["v2"]["cpu.weight"]) == ("512", "20")


def test_a_disk_smaller_than_its_image_is_an_error_that_says_both_sizes(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)
    root = msgspec.structs.replace(guest.disks[0], size=1 << 19)
    guest = msgspec.structs.replace(guest, disks=[root])

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        observed = await driver.apply(guest)
        assert observed.power is ObservedPower.STOPPED
        assert observed.generation == 0
        assert observed.error == "The disk root has 0.000488 GiB but the image needs 0.000977 GiB."
        mended = later(guest, disks=[msgspec.structs.replace(root, size=1 << 20)])
        assert (await driver.apply(mended)).power is ObservedPower.RUNNING

    run(tmp_path, guest, scenario)


def test_a_qemu_that_does_not_start_says_why(tmp_path: Path) -> None:
    guest = msgspec.structs.replace(boot_sectors.guest(tmp_path), machine="pdp11")

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        observed = await driver.apply(guest)
        assert observed.error == "The guest's QEMU did not start."
        assert "unsupported machine type" in (observed.error_detail or "")
        assert observed.power is ObservedPower.STOPPED

    run(tmp_path, guest, scenario)


def test_all_disks_cards_buses_and_machines_are_accepted_by_qemu(tmp_path: Path) -> None:
    plain = boot_sectors.guest(tmp_path)
    buses = ("scsi", "sata", "usb", "nvme", "virtio")
    extra = [GuestDisk(name=f"disk{index}", size=64 << 20, bus=bus) for index, bus in enumerate(buses)]
    extra.append(GuestDisk(name="swap", size=64 << 20, filesystem="swap", label="swap"))
    extra.append(GuestDisk(name="cd", size=1 << 20, image=boot_sectors.image(tmp_path, boot_sectors.DEAF), cdrom=True))
    metadata = {"openstack/latest/meta_data.json": "{}"}
    throttled = {"quota:disk_total_iops_sec": "100"}
    guest = msgspec.structs.replace(plain, disks=plain.disks + extra, config_drive=True, metadata=metadata, extra=throttled)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        first = await driver.apply(guest)
        assert first.error is None, first.error_detail
        old = [msgspec.structs.replace(disk, bus="ide") for disk in plain.disks]
        second = await driver.apply(later(guest, disks=old + extra, reboots_hard=1))
        assert second.error is None, second.error_detail
        assert second.machine.startswith("pc-i440fx-")

    run(tmp_path, guest, scenario)


def test_a_base_image_goes_with_its_last_guest(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)
    other = msgspec.structs.replace(boot_sectors.guest(tmp_path), disks=guest.disks)
    image = guest.disks[0].image
    assert image
    base = tmp_path / "node" / "base" / image.sha256

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await driver.apply(guest)
        await driver.apply(other)
        await driver.remove(other.id)
        assert base.exists()
        await driver.remove(guest.id)
        assert not base.exists()
        assert Path(image.path).exists()

    run(tmp_path, guest, scenario)


def test_a_guest_can_not_fill_the_hosts_disk_by_printing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = boot_sectors.guest(tmp_path)
    monkeypatch.setattr(qemu, "LOG_KEPT", 1000)
    monkeypatch.setattr(qemu, "LOG_SECONDS", 0.01)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await ready(driver, guest)
        log = tmp_path / "node" / "guests" / guest.id / "console.log"
        with log.open("a") as file:
            file.write("".join(f"line {number}\n" for number in range(1000)))
        await until(lambda: log.stat().st_size <= 1000, "the log is not cut")
        kept = (await driver.console_log(guest.id, None)).splitlines()
        assert kept[-1] == "line 999"
        assert kept[0].startswith("line ")

    run(tmp_path, guest, scenario)


def test_a_snapshot_holds_the_disks_content_without_its_image(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path)
    snapshot, flat = tmp_path / "snapshot.qcow2", tmp_path / "flat.raw"

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await ready(driver, guest)
        done = await driver.snapshot(guest.id, snapshot)
        assert (done.path, done.size) == (str(snapshot), snapshot.stat().st_size)
        assert (await driver.observe())[0].power is ObservedPower.RUNNING

    run(tmp_path, guest, scenario)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(snapshot), str(flat)], check=True, timeout=60)
    assert flat.read_bytes()[:512] == boot_sectors.OBEDIENT
    assert flat.stat().st_size == guest.disks[0].size


def test_a_stopped_guest_has_no_console(tmp_path: Path) -> None:
    guest = msgspec.structs.replace(boot_sectors.guest(tmp_path), power=Power.STOPPED)

    async def scenario(driver: QemuDriver, changes: list[ObservedGuest]) -> None:
        await driver.apply(guest)
        with pytest.raises(NodeFailed, match="does not run"):
            await driver.console(guest.id, ConsoleKind.SERIAL)

    run(tmp_path, guest, scenario)
