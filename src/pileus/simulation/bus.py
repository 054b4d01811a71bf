"""The bus to hosts that go wrong: they are away for a while, take their time, and refuse."""

import asyncio
from collections import Counter

from pileus.bus.local import Handle, LocalBus
from pileus.model.errors import Unavailable
from pileus.model.guests import Guest, ObservedGuest, ObservedPower, Power
from pileus.model.hosts import HostReport
from pileus.model.messages import ApplyGuest, Failed, NodeReply, NodeRequest, PrepareIncoming, RemoveGuest, Snapshot
from pileus.simulation.dice import Dice
from pileus.simulation.plan import FaultPlan, Operation, drawn

REMEMBERED = 100_000
NOTHING = Operation()
_POWER: dict[tuple[ObservedPower, Power], str] = {
    (ObservedPower.PAUSED, Power.RUNNING): "unpause",
    (ObservedPower.SUSPENDED, Power.RUNNING): "resume",
}
_WANTED: dict[Power, str] = {Power.RUNNING: "start", Power.STOPPED: "stop", Power.PAUSED: "pause", Power.SUSPENDED: "suspend"}


class FaultyBus(LocalBus):
    """Agents of one process, between which and us a plan of faults stands."""

    def __init__(self, plan: FaultPlan, dice: Dice) -> None:
        super().__init__()
        self.plan = plan
        self.dice = dice
        self.away: set[str] = set()  # hosts that answer nothing, and of which nothing is heard
        self.lives: Counter[str] = Counter()  # how often a host came back: what it was asked before that is lost
        self._names: dict[str, str] = {}  # guest id -> name
        self._outcomes: dict[tuple[str, int], str] = {}  # what a generation of a guest came to: asked again it is the same

    def attach(self, host: str, handle: Handle) -> None:
        """Requests go there by way of the plan."""

        async def faulty(request: NodeRequest) -> NodeReply:
            return await self._handle(host, handle, request)

        super().attach(host, faulty)

    async def request(self, host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        """The agent's reply, unless the host is away, or was meanwhile."""
        if host in self.away:
            raise Unavailable(f"Host {host} is not connected.")
        life = self.lives[host]
        reply = await super().request(host, message, timeout)
        self._still(host, life)
        return reply

    def report(self, report: HostReport) -> None:
        """Nothing is heard of a host that is away."""
        if report.host not in self.away:
            super().report(report)

    async def _handle(self, host: str, handle: Handle, request: NodeRequest) -> NodeReply:
        life = self.lives[host]
        operation, name = self._what(request)
        planned = self.plan.operations.of(operation) if operation else NOTHING
        if planned != NOTHING:
            key = (request.guest.id, request.guest.generation) if isinstance(request, ApplyGuest) else None
            error = self._outcomes.get(key) if key else None
            if error is None:
                source = self.dice.next(operation, name)
                error = planned.error if source.random() < planned.fails else ""
                await asyncio.sleep(drawn(planned.takes, source))
                self._still(host, life)
                self._remember(key, error)
            if error:
                return Failed(reason=error, detail=f"operations.{operation}.fails of the plan of faults", kind="NodeFailed")
        return await handle(request)

    def _still(self, host: str, life: int) -> None:
        if host in self.away or self.lives[host] != life:
            raise Unavailable(f"Host {host} was lost before it answered.")

    def _what(self, request: NodeRequest) -> tuple[str, str]:
        """The operation, and the name of the guest."""
        match request:
            case ApplyGuest(guest=guest, seen=seen):
                self._names[guest.id] = guest.name
                return operation_of(guest, seen), guest.name
            case PrepareIncoming(guest=guest):
                return "move", guest.name
            case RemoveGuest(guest_id=guest_id):
                return "delete", self._names.get(guest_id, "")
            case Snapshot(guest_id=guest_id):
                return "snapshot", self._names.get(guest_id, "")
            case _:
                return "", ""

    def _remember(self, key: tuple[str, int] | None, error: str) -> None:
        if key is not None:
            self._outcomes[key] = error
            while len(self._outcomes) > REMEMBERED:
                del self._outcomes[next(iter(self._outcomes))]


def operation_of(guest: Guest, seen: ObservedGuest | None) -> str:
    """What an apply comes to."""
    if seen is None or seen.generation == 0:
        return "build"
    if guest.builds != seen.builds:
        return "rebuild"
    if (guest.reboots_soft, guest.reboots_hard) != (seen.reboots_soft, seen.reboots_hard):
        return "reboot"
    if guest.power.value == seen.power.value:
        return "change"
    return _POWER.get((seen.power, guest.power)) or _WANTED[guest.power]
