"""Two QEMU drivers with state directories of their own on this machine, and a guest that goes from one to the other."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from pileus.model.guests import Guest, ObservedGuest, ObservedPower
from pileus.model.messages import FinishIncoming, PrepareIncoming, StartOutgoing
from pileus.model.moves import MoveOptions, MovePhase, MoveProgress, MoveTarget
from pileus.node.hypervisor.qemu import QemuDriver
from pileus.node.storage.shared import SharedDisks
from pileus.reconcile.move_keys import make_keys

MOVE = "5d2c7d4e"
DEADLINE = 40.0


def no_taps(domain_id: str, port_id: str) -> int:
    raise AssertionError("these guests have no network")


class Host:
    """A driver; `restart` is what a new process would be."""

    def __init__(self, root: Path, name: str, shared: Path | None = None) -> None:
        self.name = name
        self.state = root / name
        self._shared = shared
        self.changes: list[ObservedGuest] = []
        self.driver = self._make()

    def _make(self) -> QemuDriver:
        shared = SharedDisks(self._shared, self.name) if self._shared else None
        return QemuDriver(self.state, f"mv{self.name}", no_taps, find_probe_image=lambda: None, grace=0.3, shared=shared)

    async def start(self) -> None:
        await self.driver.start(self.changes.append)

    async def restart(self) -> None:
        await self.driver.close()
        self.driver = self._make()
        await self.start()

    async def seen(self, guest: Guest) -> ObservedGuest | None:
        return next((one for one in await self.driver.observe() if one.id == guest.id), None)

    async def phase(self, guest: Guest) -> MovePhase:
        return (await self.driver.moves.progress(MOVE, guest.id)).phase

    async def reach(self, guest: Guest, *phases: MovePhase) -> MoveProgress:
        deadline = time.monotonic() + DEADLINE
        while (found := await self.driver.moves.progress(MOVE, guest.id)).phase not in phases:
            assert time.monotonic() < deadline, found
            assert found.phase not in (MovePhase.FAILED, MovePhase.CANCELLED), found
            await asyncio.sleep(0.01)
        return found

    def log(self, guest: Guest) -> str:
        try:
            return (self.state / "guests" / guest.id / "console.log").read_text()
        except FileNotFoundError:
            return ""

    def processes(self, guest: Guest) -> list[int]:
        """The QEMUs of this guest here, whatever they do."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    argv = Path(f"/proc/{entry}/cmdline").read_bytes()
                    place = os.readlink(f"/proc/{entry}/cwd")
                except OSError:
                    continue
                if f"guest={guest.id},".encode() in argv and place == str(self.state / "guests" / guest.id):
                    found.append(int(entry))
        return found

    def kill(self, guest: Guest) -> None:
        for process in self.processes(guest):
            os.kill(process, signal.SIGKILL)


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


async def goes_on(host: Host, guest: Guest) -> None:
    """It prints more than it has printed."""
    before = len(host.log(guest))
    await until(lambda: len(host.log(guest)) > before + 2, f"the guest stands still on {host.name}")


async def runs(guest: Guest, *hosts: Host) -> list[str]:
    """The hosts on which the guest is observed to run."""
    seen = [(host.name, await host.seen(guest)) for host in hosts]
    return [name for name, one in seen if one and one.power is ObservedPower.RUNNING]


Scenario = Callable[[Host, Host], Awaitable[None]]


def play(root: Path, guest: Guest, scenario: Scenario, shared: Path | None = None) -> None:
    """A scenario on two started hosts, from which the guest is removed whatever happens."""

    async def inner() -> None:
        root.chmod(0o711)
        source, destination = Host(root, "a", shared), Host(root, "b", shared)
        for host in (source, destination):
            await host.start()
        try:
            await scenario(source, destination)
        finally:
            for host in (destination, source):
                await host.driver.remove(guest.id)
                await host.driver.close()
                assert host.processes(guest) == []

    asyncio.run(inner())


async def boot(source: Host, guest: Guest) -> ObservedGuest:
    observed = await source.driver.apply(guest)
    assert observed.error is None, (observed.error, observed.error_detail)
    return observed


async def begin(
    source: Host,
    destination: Host,
    guest: Guest,
    options: MoveOptions | None = None,
    *,
    copy: bool = True,
    secured: bool = True,
    move: str = MOVE,
) -> MoveTarget:
    """What the control plane does: prepare, start."""
    keys = make_keys(move, time.time()) if secured else None
    observed = await source.seen(guest)
    assert observed
    prepare = PrepareIncoming(
        migration_id=move,
        guest=guest,
        copy_disks=copy,
        address="127.0.0.1",
        keys=keys.destination if keys else None,
        machine=observed.machine,
        cpu_model=observed.cpu_model,
    )
    target = await destination.driver.moves.prepare_incoming(prepare)
    assert await destination.driver.moves.prepare_incoming(prepare) == target
    start = StartOutgoing(
        migration_id=move, guest_id=guest.id, target=target, options=options or MoveOptions(), keys=keys.source if keys else None
    )
    await source.driver.moves.start_outgoing(start)
    return target


async def finish(destination: Host, guest: Guest, move: str = MOVE) -> ObservedGuest:
    return await destination.driver.moves.finish_incoming(FinishIncoming(migration_id=move, guest=guest))


def later(guest: Guest, **changes: Any) -> Guest:
    return msgspec.structs.replace(guest, generation=guest.generation + 1, **changes)
