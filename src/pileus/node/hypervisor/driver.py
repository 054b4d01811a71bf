"""The contract of a hypervisor driver."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from pileus.model.guests import ConsoleKind, Diagnostics, Guest, ObservedGuest
from pileus.model.hosts import DriverCapabilities
from pileus.model.messages import SnapshotDone
from pileus.node.hypervisor.moves import MoveDriver

Changed = Callable[[ObservedGuest], None]
"""Called by a driver, in the event loop, when a guest changed by itself (it powered off, its process died)."""

DISKS_LOST = "The server's disks are not on its host any more. Bring them back there, or rebuild the server: then it begins anew."

OpenTap = Callable[[str, str], int]
"""(domain id, port id) -> an open descriptor of the port's tap device, owned by the caller afterwards."""


class HypervisorDriver(Protocol):
    """Few verbs, each idempotent and taking whole desired structs. Errors that a user should read are `NodeFailed`."""

    name: str
    starts_stopped: bool
    """Whether it can start a guest while its network is made; its CPUs wait for that."""

    @property
    def moves(self) -> MoveDriver:
        """The verbs that move guests between hosts. While a guest is on its way, `apply` leaves it as it is."""
        ...

    async def probe(self) -> DriverCapabilities:
        """Try what this host can do; functional, with a time-out, kept for the life of the host's boot."""
        ...

    async def start(self, changed: Changed) -> list[ObservedGuest]:
        """Adopt what runs already, begin to watch it, and say what there is."""
        ...

    async def observe(self) -> list[ObservedGuest]:
        """Every guest of which anything is left on this host."""
        ...

    def guests(self) -> list[Guest]:
        """Every guest as it was applied last, also by an earlier process."""
        ...

    async def apply(self, guest: Guest, network: "asyncio.Future[Any] | None" = None) -> ObservedGuest:
        """Bring the guest to the desired state, or nearer to it; the result carries `error` where that failed.

        Where `network` is given, its taps can be opened, and nothing of the guest runs before it is done; where that fails, so does this.

        What takes a guest's help (a clean shutdown, a soft reboot) goes on after the reply; `changed` says when it is done.
        Until then the result's power is what it was, and `generation` and the counters are those of the last Guest reached in full.
        A guest that ended by itself is started again by an apply that wants it running, and by nothing else.
        """
        ...

    async def remove(self, guest_id: str) -> None:
        """Leave nothing of the guest: process, disks, records. Fine when it is gone already."""
        ...

    async def snapshot(self, guest_id: str, destination: Path) -> SnapshotDone:
        """Copy the root disk as it is now (running or not) to a stand-alone qcow2 file."""
        ...

    async def console(self, guest_id: str, kind: ConsoleKind) -> str:
        """The path of a Unix socket that carries this console."""
        ...

    async def console_log(self, guest_id: str, lines: int | None) -> str:
        """The last lines of the serial console since the guest's last power-on."""
        ...

    async def stats(self, guest_id: str) -> Diagnostics:
        """Figures of a running guest."""
        ...

    async def close(self) -> None:
        """Let go of everything; guests go on."""
        ...
