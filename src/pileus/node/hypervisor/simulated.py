"""Simulated guests: the semantics of a hypervisor without one, for clouds of thousands of servers on a laptop and for tests."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from pileus import clock
from pileus.core.disk_headers import empty_qcow2
from pileus.model.errors import NodeFailed, NotFound
from pileus.model.guests import ConsoleKind, Diagnostics, Guest, ObservedGuest, ObservedPower, Power
from pileus.model.hosts import DriverCapabilities
from pileus.model.messages import SnapshotDone
from pileus.node.hypervisor.driver import Changed
from pileus.node.hypervisor.simulated_moves import SimulatedMoves, State, refuse_when_held

log = logging.getLogger(__name__)
FAIL = "simulated:fail"
"""Extra spec: applying such a guest fails with this text, as a real hypervisor might."""

WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
_POWERS = {power: ObservedPower(power.value) for power in Power}


class SimulatedDriver:
    """Guests that only remember their state. With a `state` directory they outlive the process, as real ones do; else they are in memory.

    `delay` is how long an apply takes, in seconds; `clock` gives seconds since the epoch.
    """

    name = "simulated"
    starts_stopped = False

    def __init__(self, state: Path | None = None, delay: float = 0.0, clock: Callable[[], float] = clock.now) -> None:
        self._directory = state / "simulated" if state else None
        self._delay = delay
        self._clock = clock
        self._states: dict[str, State] = {}
        self._changed: Changed | None = None
        self.moves = SimulatedMoves(self._states, self._keep, self._forget, self._report, clock)

    async def probe(self) -> DriverCapabilities:
        """Everything works where nothing is real."""
        return _CAPABILITIES

    async def start(self, changed: Changed) -> list[ObservedGuest]:
        """Remember the guests of an earlier process, if a directory was given."""
        self._changed = changed
        if self._directory and self._directory.is_dir():
            for path in self._directory.glob("*.json"):
                try:
                    state = msgspec.json.decode(path.read_bytes(), type=State)
                except msgspec.MsgspecError:
                    log.warning("the simulated guest %s is lost: the power failed before it was written", path.stem)
                    path.unlink()
                    continue
                self._states[state.guest.id] = state
        self.moves.adopt()
        return await self.observe()

    async def observe(self) -> list[ObservedGuest]:
        """Every simulated guest."""
        self.moves.settle()
        return [state.observed for state in self._states.values()]

    def powers(self) -> dict[str, ObservedPower]:
        """Guest id -> what it does now."""
        return {guest_id: state.observed.power for guest_id, state in self._states.items()}

    def guests(self) -> list[Guest]:
        """Every guest as it was applied last."""
        return [state.guest for state in self._states.values()]

    async def apply(self, guest: Guest, network: "asyncio.Future[Any] | None" = None) -> ObservedGuest:
        """At once, or after `delay`, what was asked."""
        if network:
            await network
        if self._delay:
            await asyncio.sleep(self._delay)
        before = self._states.get(guest.id)
        if before and before.move and before.move.holds:
            return before.observed
        if failure := guest.extra.get(FAIL):
            observed = before.observed if before else ObservedGuest(id=guest.id, power=ObservedPower.ABSENT, hypervisor=self.name)
            observed = msgspec.structs.replace(observed, error=failure, error_detail="asked for by the extra spec " + FAIL)
        else:
            observed = self._reached(guest, before.observed if before else None)
        self._keep(State(guest=guest, observed=observed, move=before.move if before else None))
        return observed

    def _reached(self, guest: Guest, before: ObservedGuest | None) -> ObservedGuest:
        power = _POWERS[guest.power]
        ran = before is not None and before.power in (ObservedPower.RUNNING, ObservedPower.PAUSED)
        rebooted = before is not None and (
            (before.reboots_soft, before.reboots_hard, before.builds) != (guest.reboots_soft, guest.reboots_hard, guest.builds)
        )
        runs = power in (ObservedPower.RUNNING, ObservedPower.PAUSED)
        fresh = runs and (not ran or rebooted)
        return ObservedGuest(
            id=guest.id,
            power=power,
            generation=guest.generation,
            reboots_soft=guest.reboots_soft,
            reboots_hard=guest.reboots_hard,
            builds=guest.builds,
            hypervisor=self.name,
            accelerator="none",
            accelerator_reason="simulated",
            machine=guest.machine or "simulated",
            started_at=self._clock() if fresh else before.started_at if before and runs else None,
        )

    async def remove(self, guest_id: str) -> None:
        """Forget the guest."""
        self._forget(guest_id)

    def _forget(self, guest_id: str) -> None:
        self.moves.let_go(guest_id)
        self._states.pop(guest_id, None)
        if self._directory:
            (self._directory / f"{guest_id}.json").unlink(missing_ok=True)

    async def snapshot(self, guest_id: str, destination: Path) -> SnapshotDone:
        """An empty image of the root disk's size."""
        guest = self._state(guest_id).guest
        refuse_when_held(self._state(guest_id).move)
        size = next((disk.size for disk in guest.disks if not disk.cdrom), 1 << 30)
        content = empty_qcow2(size)
        if not destination.exists():
            destination.parent.mkdir(parents=True, exist_ok=True)
            partial = destination.with_name(destination.name + ".partial")
            partial.write_bytes(content)
            partial.rename(destination)
        return SnapshotDone(path=str(destination), size=destination.stat().st_size, virtual_size=size)

    async def console(self, guest_id: str, kind: ConsoleKind) -> str:
        """There is none to connect to."""
        self._state(guest_id)
        raise NodeFailed(f"A simulated server has no {kind.value} console.")

    async def console_log(self, guest_id: str, lines: int | None) -> str:
        """What a guest would print as it boots."""
        state = self._state(guest_id)
        if state.observed.started_at is None:
            return ""
        text = [
            f"[    0.000000] simulated guest {state.guest.name}, {state.guest.vcpus} CPUs, {state.guest.memory_mib} MiB",
            f"[    0.000001] boot {state.observed.reboots_soft + state.observed.reboots_hard + 1}",
            f"{state.guest.name} login: ",
        ]
        return "\n".join(text if lines is None else text[len(text) - min(lines, len(text)) :]) + "\n"

    async def stats(self, guest_id: str) -> Diagnostics:
        """Figures of a guest that uses a twentieth of its CPUs."""
        state = self._state(guest_id)
        uptime = self._clock() - state.observed.started_at if state.observed.started_at is not None else 0.0
        return Diagnostics(
            state=state.observed.power.value,
            driver=self.name,
            hypervisor="simulated",
            uptime=int(uptime),
            config_drive=state.guest.config_drive,
            cpu_details=[{"id": index, "time": int(uptime * 1e9 / 20), "utilisation": 5} for index in range(state.guest.vcpus)],
            nic_details=[{"mac_address": nic.mac, "rx_octets": 0, "tx_octets": 0} for nic in state.guest.nics],
            disk_details=[{"read_bytes": 0, "write_bytes": 0} for _ in state.guest.disks],
            memory_maximum=state.guest.memory_mib,
            memory_used=state.guest.memory_mib if uptime else 0,
        )

    async def close(self) -> None:
        """Nothing is held."""
        self._changed = None

    def end(self, guest_id: str, power: ObservedPower = ObservedPower.STOPPED) -> None:
        """Let a guest power itself off, or crash: for tests and simulations of failure."""
        state = self._state(guest_id)
        observed = msgspec.structs.replace(state.observed, power=power, started_at=None)
        self._keep(msgspec.structs.replace(state, observed=observed))
        self._report(observed)

    def _report(self, observed: ObservedGuest) -> None:
        if self._changed:
            self._changed(observed)

    def _state(self, guest_id: str) -> State:
        state = self._states.get(guest_id)
        if state is None:
            raise NotFound(f"There is no guest {guest_id} on this host.")
        return state

    def _keep(self, state: State) -> None:
        self._states[state.guest.id] = state
        if self._directory:
            path = f"{self._directory}/{state.guest.id}"
            try:
                descriptor = os.open(f"{path}.partial", WRITING, 0o600)  # what is kept of a guest has its passwords
            except FileNotFoundError:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(f"{path}.partial", WRITING, 0o600)
            with open(descriptor, "wb", buffering=0) as file:
                file.write(msgspec.json.encode(state))
            os.rename(f"{path}.partial", f"{path}.json")


MOVES = ["migrate-live", "migrate-off", "migrate-post-copy"]

_CAPABILITIES = DriverCapabilities(
    driver="simulated",
    hypervisor_type="simulated",
    hypervisor_version=1_000_000,
    accelerator="none",
    accelerator_reason="simulated",
    levels=["hardware"],
    architectures=["x86_64", "aarch64"],
    modes=["hvm"],
    features=["pause", "suspend", "snapshot", "reboot-soft", "reboot-hard", "console-log", "config-drive", "rebuild", *MOVES],
    cpu_model="simulated",
)
