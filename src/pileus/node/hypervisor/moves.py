"""The part of a hypervisor driver's contract that moves guests between hosts. `HypervisorDriver.moves` is one of these."""

from typing import Protocol

from pileus.model.guests import ObservedGuest
from pileus.model.messages import FinishIncoming, PrepareIncoming, StartOutgoing
from pileus.model.moves import MoveForecast, MoveOptions, MoveProgress, MoveTarget


class MoveDriver(Protocol):
    """Both sides of a move. Each verb may be repeated; see the messages of the same names. Errors that a user should read are `NodeFailed`.

    At most one side ever runs the guest: the source until SWITCHED (or POST_COPY), the destination from `finish_incoming` on.
    """

    async def forecast(self, guest_id: str, options: MoveOptions) -> MoveForecast:
        """What a live migration would take now; the dirty rate is measured for a second."""
        ...

    async def prepare_incoming(self, request: PrepareIncoming) -> MoveTarget:
        """Disks, a hypervisor that waits, listeners."""
        ...

    async def start_outgoing(self, request: StartOutgoing) -> MoveProgress:
        """Begin to send; goes on by itself, also after a restart of this process."""
        ...

    async def progress(self, migration_id: str, guest_id: str) -> MoveProgress:
        """How far it has come; phase UNKNOWN when this host knows nothing of it."""
        ...

    async def force(self, migration_id: str, guest_id: str) -> MoveProgress:
        """End it now, by post-copy or by a pause as long as it takes."""
        ...

    async def cancel(self, migration_id: str, guest_id: str) -> MoveProgress:
        """Source: the guest goes on here, unless it has been given away. Destination: nothing of it is left, unless it runs here."""
        ...

    async def finish_incoming(self, request: FinishIncoming) -> ObservedGuest:
        """Run it here. Conflict while the source has not given it away."""
        ...

    async def resume_outgoing(self, migration_id: str, guest_id: str) -> ObservedGuest:
        """Go on here, though it had been given away: the destination is gone and never ran it."""
        ...
