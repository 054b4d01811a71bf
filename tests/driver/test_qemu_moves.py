"""Guests of 512 bytes move from one QEMU driver to another: running, off and suspended, with their disks and without, at every mishap."""

import os
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from pileus.model.errors import Conflict, NodeFailed, NotFound
from pileus.model.guests import Guest, GuestDisk, ObservedPower, Power
from pileus.model.messages import FinishIncoming
from pileus.model.moves import MoveOptions, MovePhase
from pileus.node.hypervisor import accelerators, qemu, qemu_move_record
from pileus.node.hypervisor.confinement import Confinement
from tests.driver import boot_sectors
from tests.driver.move_hosts import MOVE, Host, begin, boot, finish, goes_on, later, play, runs, until

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is missing")

SLOW = MoveOptions(bandwidth=60_000, auto_converge=False)
"""The few MiB of these guests take half a minute."""


@pytest.fixture(autouse=True)
def no_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "KVM", tmp_path / "no-kvm")


def counting(tmp_path: Path, **changes: object) -> Guest:
    """It counts on its console and on its root disk, and has a blank disk."""
    guest = boot_sectors.guest(tmp_path, boot_sectors.COUNTING)
    disks = [*guest.disks, GuestDisk(name="data", size=8 << 20)]
    return msgspec.structs.replace(guest, disks=disks, **changes)


def fill(host: Host, guest: Guest, content: bytes) -> None:
    """Write to the blank disk of a guest that is off."""
    with (host.state / "guests" / guest.id / "disks" / "data").open("r+b") as file:
        file.write(content)


def read(host: Host, guest: Guest, name: str, size: int, offset: int = 0) -> bytes:
    path = host.state / "guests" / guest.id / "disks" / name
    kind = "qcow2" if name == "root" else "raw"
    flat = path.parent.parent / f"{name}.flat"
    subprocess.run(["qemu-img", "convert", "-U", "-f", kind, "-O", "raw", str(path), str(flat)], check=True, timeout=60)
    with flat.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def alphabet(text: str) -> bool:
    """Whether no letter is missing and none is there twice."""
    letters = [one for one in text if one.isalpha()]
    return len(letters) > 5 and all((ord(after) - ord(before)) % 26 == 1 for before, after in pairwise(letters))


async def filled(source: Host, guest: Guest, content: bytes) -> None:
    """Off, with content on its second disk, then running."""
    await boot(source, msgspec.structs.replace(guest, power=Power.STOPPED, generation=0))
    fill(source, guest, content)
    await boot(source, guest)
    await goes_on(source, guest)


def test_a_running_guest_moves_with_its_disks_over_tls_and_goes_on_counting(tmp_path: Path) -> None:
    guest, content = counting(tmp_path), os.urandom(1 << 20)

    async def scenario(source: Host, destination: Host) -> None:
        await filled(source, guest, content)
        await begin(source, destination, guest)
        waiting = await destination.seen(guest)
        assert waiting and (waiting.migration, waiting.power, waiting.generation) == (MOVE, ObservedPower.PAUSED, 0)
        with pytest.raises(Conflict):
            await finish(destination, guest)
        done = await source.reach(guest, MovePhase.SWITCHED)
        assert done.rounds is not None and done.pause_ms is not None and done.disk_total >= len(content)
        assert await destination.phase(guest) is MovePhase.SWITCHED
        assert await runs(guest, source, destination) == []
        assert not (destination.state / "guests" / guest.id / "tls").exists()
        moved = later(guest)
        for _ in range(2):
            seen = await finish(destination, moved)
            assert (seen.power, seen.generation, seen.migration) == (ObservedPower.RUNNING, moved.generation, "")
        await goes_on(destination, guest)
        assert await runs(guest, source, destination) == ["b"]
        here = await source.seen(guest)
        assert here and (here.migration, here.power) == (MOVE, ObservedPower.PAUSED)
        assert alphabet(source.log(guest) + destination.log(guest))
        await source.driver.remove(guest.id)
        await destination.restart()
        await goes_on(destination, guest)
        stopped = await destination.driver.apply(later(moved, power=Power.STOPPED, extra={"os_shutdown_timeout": "0"}))
        assert stopped.power is ObservedPower.STOPPED, stopped
        assert read(destination, guest, "data", len(content)) == content
        assert chr(read(destination, guest, "root", 1, 512)[0]) in destination.log(guest)[-2:]

    play(tmp_path, guest, scenario)


def test_a_running_guest_moves_between_hosts_that_share_disks(tmp_path: Path) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await boot(source, guest)
        await goes_on(source, guest)
        target = await begin(source, destination, guest, copy=False, secured=False)
        assert (target.disk_port, target.exports) == (None, {})
        await source.reach(guest, MovePhase.SWITCHED)
        moved = later(guest)
        await finish(destination, moved)
        await goes_on(destination, guest)
        assert alphabet(source.log(guest) + destination.log(guest))
        refused = await source.driver.apply(later(moved))
        assert refused.power is not ObservedPower.RUNNING
        with pytest.raises(Conflict):
            await source.driver.moves.resume_outgoing(MOVE, guest.id)
        await source.driver.remove(guest.id)
        assert (tmp_path / "shared" / guest.id / "root").exists(), "the source deleted the disks of a guest that is not its own"
        await goes_on(destination, guest)
        assert alphabet(source.log(guest) + destination.log(guest))
        await destination.driver.remove(guest.id)
        assert not (tmp_path / "shared" / guest.id).exists()

    play(tmp_path, guest, scenario, tmp_path / "shared")


@pytest.mark.parametrize("shared", [False, True], ids=["copied", "shared"])
def test_a_guest_that_is_off_moves_with_what_is_on_its_disks(tmp_path: Path, shared: bool) -> None:
    guest, content = msgspec.structs.replace(counting(tmp_path), power=Power.STOPPED), os.urandom(1 << 20)

    async def scenario(source: Host, destination: Host) -> None:
        await boot(source, guest)
        fill(source, guest, content)
        await begin(source, destination, guest, copy=not shared)
        carrying = await destination.seen(guest)
        assert carrying and (carrying.power, carrying.pid, carrying.migration) == (ObservedPower.STOPPED, None, MOVE)
        await source.reach(guest, MovePhase.SWITCHED)
        assert source.processes(guest) == []
        here = await source.seen(guest)
        assert here and (here.migration, here.power) == (MOVE, ObservedPower.STOPPED)
        moved = later(guest)
        for _ in range(2):
            seen = await finish(destination, moved)
            assert (seen.power, seen.generation, seen.migration) == (ObservedPower.STOPPED, moved.generation, "")
        assert destination.processes(guest) == []
        await source.driver.remove(guest.id)
        assert read(destination, guest, "data", len(content)) == content
        await boot(destination, later(moved, power=Power.RUNNING))
        await goes_on(destination, guest)

    play(tmp_path, guest, scenario, tmp_path / "shared" if shared else None)


@pytest.mark.parametrize("shared", [False, True], ids=["copied", "shared"])
def test_a_suspended_guest_moves_and_is_resumed_where_it_was(tmp_path: Path, shared: bool) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await boot(source, guest)
        await goes_on(source, guest)
        suspended = later(guest, power=Power.SUSPENDED)
        await boot(source, suspended)
        await begin(source, destination, suspended, copy=not shared)
        await source.reach(guest, MovePhase.SWITCHED)
        seen = await finish(destination, later(suspended))
        assert (seen.power, seen.error, seen.migration) == (ObservedPower.SUSPENDED, None, "")
        before = source.log(guest)
        await source.driver.remove(guest.id)
        await boot(destination, later(later(suspended), power=Power.RUNNING))
        await goes_on(destination, guest)
        assert alphabet(before + destination.log(guest))

    play(tmp_path, guest, scenario, tmp_path / "shared" if shared else None)


@pytest.mark.parametrize("phase", [MovePhase.DISKS, MovePhase.MEMORY])
def test_a_cancelled_move_leaves_the_guest_running_and_may_be_tried_again(tmp_path: Path, phase: MovePhase) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await filled(source, guest, os.urandom(2 << 20 if phase is MovePhase.DISKS else 512))
        await begin(source, destination, guest, SLOW)
        await source.reach(guest, phase)
        for _ in range(2):
            assert (await source.driver.moves.cancel(MOVE, guest.id)).phase is MovePhase.CANCELLED
        assert (await destination.driver.moves.cancel(MOVE, guest.id)).phase is MovePhase.CANCELLED
        assert (await destination.driver.moves.cancel(MOVE, guest.id)).phase is MovePhase.UNKNOWN
        assert destination.processes(guest) == []
        assert not (destination.state / "guests" / guest.id).exists()
        assert await runs(guest, source, destination) == ["a"]
        await goes_on(source, guest)
        assert alphabet(source.log(guest))
        await begin(source, destination, guest, move="another")
        await until(lambda: source.driver._guests[guest.id].move.phase is MovePhase.SWITCHED, "the second move does not end")
        await destination.driver.moves.finish_incoming(FinishIncoming(migration_id="another", guest=guest))
        await goes_on(destination, guest)
        assert alphabet(source.log(guest) + destination.log(guest))

    play(tmp_path, guest, scenario)


@pytest.mark.parametrize("phase", [MovePhase.DISKS, MovePhase.MEMORY])
def test_a_destination_that_dies_fails_the_move_and_the_guest_goes_on(tmp_path: Path, phase: MovePhase) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await filled(source, guest, os.urandom(2 << 20 if phase is MovePhase.DISKS else 512))
        await begin(source, destination, guest, SLOW)
        await source.reach(guest, phase)
        destination.kill(guest)
        await until(lambda: source.driver._guests[guest.id].move.phase is MovePhase.FAILED, "the move does not fail")
        assert (await source.driver.moves.progress(MOVE, guest.id)).error
        await until(lambda: destination.driver._guests[guest.id].process is None, "its end is not seen")
        assert await destination.phase(guest) is MovePhase.FAILED
        assert await runs(guest, source, destination) == ["a"]
        await goes_on(source, guest)
        assert alphabet(source.log(guest))

    play(tmp_path, guest, scenario)


def test_a_guest_given_away_to_a_host_that_died_goes_on_at_its_source(tmp_path: Path) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await boot(source, guest)
        await goes_on(source, guest)
        await begin(source, destination, guest)
        await source.reach(guest, MovePhase.SWITCHED)
        assert (await source.driver.moves.cancel(MOVE, guest.id)).phase is MovePhase.SWITCHED
        destination.kill(guest)
        await until(lambda: destination.driver._guests[guest.id].process is None, "its end is not seen")
        with pytest.raises(NodeFailed):
            await finish(destination, guest)
        await source.restart()
        assert await source.phase(guest) is MovePhase.SWITCHED
        assert await runs(guest, source, destination) == []
        for _ in range(2):
            seen = await source.driver.moves.resume_outgoing(MOVE, guest.id)
            assert (seen.power, seen.migration) == (ObservedPower.RUNNING, "")
        await goes_on(source, guest)
        assert alphabet(source.log(guest))
        assert (await source.driver.apply(later(guest, power=Power.PAUSED))).power is ObservedPower.PAUSED

    play(tmp_path, guest, scenario)


@pytest.mark.parametrize("shared", [False, True])
def test_a_destination_says_whether_the_guest_may_have_run_there(tmp_path: Path, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        async def ran() -> bool:
            return (await destination.driver.moves.progress(MOVE, guest.id)).ran

        await boot(source, guest)
        await goes_on(source, guest)
        await begin(source, destination, guest, copy=not shared)
        assert not await ran()
        await source.reach(guest, MovePhase.SWITCHED)
        destination.kill(guest)
        await until(lambda: destination.driver._guests[guest.id].process is None, "its end is not seen")
        assert not await ran()
        with monkeypatch.context() as booted:
            booted.setattr(qemu_move_record, "boot_id", lambda: "another boot of the host")
            assert await ran(), "what was noted last may have been lost with the host's power"
        await destination.restart()
        assert not await ran()
        assert (await destination.driver.moves.cancel(MOVE, guest.id)).phase is MovePhase.CANCELLED
        with pytest.raises(NotFound):
            await finish(destination, guest)  # one that was on its way
        assert (await source.driver.moves.resume_outgoing(MOVE, guest.id)).power is ObservedPower.RUNNING
        await goes_on(source, guest)
        assert alphabet(source.log(guest))
        await begin(source, destination, guest, copy=not shared, move="again")
        await until(lambda: source.driver._guests[guest.id].move.phase is MovePhase.SWITCHED, "it is not given away")
        await finish(destination, guest, "again")
        assert (await destination.driver.moves.progress("again", guest.id)).ran
        await goes_on(destination, guest)

    play(tmp_path, guest, scenario, tmp_path / "shared" if shared else None)


def test_a_source_that_dies_leaves_a_crashed_guest_with_its_disks(tmp_path: Path) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await filled(source, guest, os.urandom(512))
        await begin(source, destination, guest, SLOW)
        await source.reach(guest, MovePhase.MEMORY)
        source.kill(guest)
        await until(lambda: source.driver._guests[guest.id].move.phase is MovePhase.FAILED, "the move does not fail")
        seen = await source.seen(guest)
        assert seen and (seen.power, seen.migration) == (ObservedPower.CRASHED, "")
        with pytest.raises((NodeFailed, Conflict)):
            await finish(destination, guest)
        assert (await destination.driver.moves.cancel(MOVE, guest.id)).phase is MovePhase.CANCELLED
        await boot(source, later(guest))
        await goes_on(source, guest)

    play(tmp_path, guest, scenario)


def test_both_drivers_may_be_replaced_on_the_way(tmp_path: Path) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await filled(source, guest, os.urandom(1 << 20))
        await begin(source, destination, guest, MoveOptions(bandwidth=500_000))
        await source.reach(guest, MovePhase.DISKS)
        await source.restart()
        await destination.restart()
        waiting = await destination.seen(guest)
        assert waiting and (waiting.power, waiting.migration) == (ObservedPower.PAUSED, MOVE)
        await source.reach(guest, MovePhase.MEMORY, MovePhase.SWITCHED)
        await source.restart()
        await source.reach(guest, MovePhase.SWITCHED)
        await destination.restart()
        assert await destination.phase(guest) is MovePhase.SWITCHED
        assert await runs(guest, source, destination) == []
        await finish(destination, guest)
        await goes_on(destination, guest)
        assert alphabet(source.log(guest) + destination.log(guest))

    play(tmp_path, guest, scenario)


def test_a_slow_move_is_forced_to_its_end(tmp_path: Path) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await boot(source, guest)
        await goes_on(source, guest)
        await begin(source, destination, guest, SLOW)
        await source.reach(guest, MovePhase.MEMORY)
        await source.driver.moves.force(MOVE, guest.id)
        done = await source.reach(guest, MovePhase.SWITCHED)
        assert done.seconds < 20.0
        await finish(destination, guest)
        await goes_on(destination, guest)
        assert alphabet(source.log(guest) + destination.log(guest))

    play(tmp_path, guest, scenario)


def test_a_stranger_without_the_moves_certificate_is_refused(tmp_path: Path) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await boot(source, guest)
        target = await begin(source, destination, guest, SLOW)
        url = f"nbd://127.0.0.1:{target.disk_port}/root"
        done = subprocess.run(["qemu-img", "info", url], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode != 0 and "TLS" in done.stderr

    play(tmp_path, guest, scenario)


def test_what_a_move_would_take_is_measured(tmp_path: Path) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await boot(source, guest)
        await goes_on(source, guest)
        found = await source.driver.moves.forecast(guest.id, MoveOptions(bandwidth=100 << 20))
        assert found.converges and found.memory > 0 and found.bandwidth == 100 << 20

    play(tmp_path, guest, scenario)


BUSY_OPTIONS = MoveOptions(bandwidth=1_000_000, pause_ms=100, deadline=6.0)
"""Half a MiB that changes all the time takes half a second."""


async def pages(host: Host, guest: Guest) -> list[str]:
    """The first word of each page that the busy guest changes."""
    qmp = host.driver._guests[guest.id].qmp
    assert qmp
    return [
        str(await qmp.execute("human-monitor-command", command_line=f"xp /1xw {address:#x}")) for address in range(0x10000, 0x90000, 0x1000)
    ]


def test_a_busy_guest_is_throttled_then_stopped_until_all_is_there(tmp_path: Path) -> None:
    guest = boot_sectors.guest(tmp_path, boot_sectors.BUSY)

    async def scenario(source: Host, destination: Host) -> None:
        await boot(source, guest)
        await goes_on(source, guest)
        await begin(source, destination, guest, msgspec.structs.replace(BUSY_OPTIONS, post_copy=False))
        done = await source.reach(guest, MovePhase.SWITCHED)
        assert len(done.rounds) >= 3 and done.pause_ms is not None
        assert [one.number for one in done.rounds] == list(range(1, len(done.rounds) + 1))
        limited = [one for one in done.rounds[1:] if one.bandwidth < 2 * BUSY_OPTIONS.bandwidth]  # at the end the limit is lifted
        late = max(limited, key=lambda one: one.remaining)
        assert late.dirty_rate > 0 and late.bandwidth > 0 and late.predicted_pause_ms > BUSY_OPTIONS.pause_ms, done.rounds
        assert any(one.throttle for one in done.rounds), done.rounds
        assert done.seconds >= BUSY_OPTIONS.deadline
        assert await pages(source, guest) == await pages(destination, guest), "memory that changed on the way was not sent again"
        await finish(destination, guest)
        await goes_on(destination, guest)
        assert alphabet(source.log(guest) + destination.log(guest))

    play(tmp_path, guest, scenario)


async def in_post_copy(source: Host, destination: Host, guest: Guest) -> None:
    """A busy guest runs on the source and is fetched from there, page by page."""
    await boot(source, guest)
    await goes_on(source, guest)
    target = await begin(source, destination, guest, msgspec.structs.replace(BUSY_OPTIONS, bandwidth=100_000, deadline=1.0))
    if not target.post_copy:
        pytest.skip("this kernel has no userfaultfd for QEMU")
    await source.reach(guest, MovePhase.POST_COPY)


def test_a_busy_guest_goes_on_in_post_copy_where_the_kernel_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU as root, as unprivileged users may not use userfaultfd on every host."""
    monkeypatch.setattr(qemu, "Confinement", lambda tag: Confinement(tag, privileged=False))
    guest = boot_sectors.guest(tmp_path, boot_sectors.BUSY)

    async def scenario(source: Host, destination: Host) -> None:
        await in_post_copy(source, destination, guest)
        assert await runs(guest, source, destination) == []
        await destination.reach(guest, MovePhase.POST_COPY, MovePhase.SWITCHED)
        assert (await source.driver.moves.cancel(MOVE, guest.id)).phase in (MovePhase.POST_COPY, MovePhase.SWITCHED)
        await finish(destination, guest)
        assert await runs(guest, source, destination) == ["b"]
        await goes_on(destination, guest)
        await destination.restart()
        assert await runs(guest, source, destination) == ["b"]
        await source.reach(guest, MovePhase.SWITCHED)
        await destination.reach(guest, MovePhase.FINISHED)
        assert await source.phase(guest) is MovePhase.SWITCHED
        await goes_on(destination, guest)
        assert alphabet(source.log(guest) + destination.log(guest))

    play(tmp_path, guest, scenario)


def test_a_busy_guest_whose_destination_is_lost_in_post_copy_is_ended_and_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU as root, as above."""
    monkeypatch.setattr(qemu, "Confinement", lambda tag: Confinement(tag, privileged=False))
    guest = boot_sectors.guest(tmp_path, boot_sectors.BUSY)

    async def scenario(source: Host, destination: Host) -> None:
        await in_post_copy(source, destination, guest)
        await destination.driver.remove(guest.id)
        if (await source.driver.moves.cancel(MOVE, guest.id)).phase is MovePhase.POST_COPY:  # else all was sent already
            with pytest.raises(NodeFailed, match="Its disks are whole"):
                await source.driver.moves.resume_outgoing(MOVE, guest.id)
            assert [one.power for one in await source.driver.observe()] == [ObservedPower.CRASHED]
        else:
            await source.driver.moves.resume_outgoing(MOVE, guest.id)
        assert await source.phase(guest) is MovePhase.FAILED
        await boot(source, later(guest))
        assert await runs(guest, source, destination) == ["a"]

    play(tmp_path, guest, scenario)


def test_a_paused_guest_arrives_paused_and_goes_on_when_it_is_told_to(tmp_path: Path) -> None:
    guest = counting(tmp_path)

    async def scenario(source: Host, destination: Host) -> None:
        await boot(source, guest)
        await goes_on(source, guest)
        paused = later(guest, power=Power.PAUSED)
        await boot(source, paused)
        await begin(source, destination, paused)
        await source.reach(guest, MovePhase.SWITCHED)
        assert (await finish(destination, later(paused))).power is ObservedPower.PAUSED
        await destination.driver.snapshot(guest.id, tmp_path / "snapshot.qcow2")
        assert await runs(guest, source, destination) == []
        await boot(destination, later(later(later(guest))))
        await goes_on(destination, guest)
        assert alphabet(source.log(guest) + destination.log(guest))

    play(tmp_path, guest, scenario)
