"""What the two hosts of a migration are asked and told; `migrations.py` decides when."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from pileus.bus.local import Bus
from pileus.config import Config
from pileus.core.migrations import GIVEN_AWAY
from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.guests import Guest, Power
from pileus.model.messages import AskMove, CancelMove, ForecastMove, GuestReply, MoveReply, NodeRequest, ResumeOutgoing
from pileus.model.migrations import Migration
from pileus.model.moves import MoveForecast, MoveProgress
from pileus.model.routing import RoutingDomain
from pileus.model.servers import Server
from pileus.reconcile.migration_place import is_live
from pileus.reconcile.move_keys import BothKeys
from pileus.reconcile.readings import Readings
from pileus.reconcile.server_inputs import guest_on
from pileus.store import ports, routing
from pileus.store.database import Database
from pileus.store.sealing import seal_of

R = TypeVar("R")
Wake = Callable[[str, str], None]
APPLY_TIMEOUT, ASK_TIMEOUT, SWITCH_TIMEOUT = 300.0, 20.0, 5.0
CARRY_TIMEOUT = 0.5  # seconds that a paused guest waits for its source to say what it tracks of it


class BothHosts:
    """The way to a migration's hosts."""

    def __init__(self, db: Database, bus: Bus, config: Config, wake: Wake) -> None:
        self.db = db
        self.bus = bus
        self.config = config
        self.wake = wake
        self.readings = Readings()

    async def reply(self, host: str, request: NodeRequest, kind: type[R], timeout: float) -> R:
        """The host's answer, which is of the kind that the request asks for."""
        reply = await self.bus.request(host, request, timeout=timeout)
        assert isinstance(reply, kind)  # the bus gives what the request asks for
        return reply

    async def move(self, host: str, request: NodeRequest, timeout: float = ASK_TIMEOUT) -> MoveProgress:
        """How far the move is, by this host, after what it was told."""
        return (await self.reply(host, request, MoveReply, timeout)).progress

    async def look(self, host: str, migration: Migration, timeout: float = ASK_TIMEOUT) -> MoveProgress:
        """How far the move is, by this host."""
        return await self.move(host, AskMove(migration_id=migration.move_id, guest_id=migration.server_id), timeout)

    async def cancel(self, host: str, migration: Migration, timeout: float = ASK_TIMEOUT) -> MoveProgress:
        """Have this host end the move; what it then says decides whether that was in time."""
        return await self.move(host, CancelMove(migration_id=migration.move_id, guest_id=migration.server_id), timeout)

    async def forecast(self, migration: Migration) -> MoveForecast | None:
        """What the source expects of a live migration; None when it does not say."""
        if not is_live(migration):
            return None
        try:
            request = ForecastMove(guest_id=migration.server_id, options=migration.options)
            return (await self.move(migration.sender, request)).forecast
        except (NodeFailed, Unavailable):  # it is an estimate: the move does without
            return None

    async def connections(self, migration: Migration) -> dict[str, list[str]]:
        """What the source tracks of the guest's connections; nothing where it does not say so at once, then they are judged anew."""
        if not is_live(migration):
            return {}
        ask = AskMove(migration_id=migration.move_id, guest_id=migration.server_id, connections=True)
        try:
            return (await self.reply(migration.sender, ask, MoveReply, CARRY_TIMEOUT)).connections
        except (NodeFailed, Unavailable):
            return {}

    async def last(self, migration: Migration) -> MoveProgress | None:
        """The figures of a live migration once it is over, when the source still has them."""
        if not is_live(migration):
            return None
        try:
            return await self.look(migration.sender, migration, SWITCH_TIMEOUT)
        except (NodeFailed, Unavailable):
            return None

    async def restore(self, migration: Migration) -> str:
        """Have the source go on with the guest; why it can't, if so."""
        progress = await self.cancel(migration.sender, migration)
        if progress.phase not in GIVEN_AWAY:
            return ""
        try:
            request = ResumeOutgoing(migration_id=migration.move_id, guest_id=migration.server_id)
            await self.reply(migration.sender, request, GuestReply, APPLY_TIMEOUT)
        except NodeFailed as error:
            return error.message
        return ""

    async def guest(self, migration: Migration, server: Server, host: str) -> tuple[Guest, list[RoutingDomain]]:
        """The guest as it is now, not as it is to be next: that is applied once it is there."""
        guest, domains = await guest_on(self.db, self.config, server, host, self.readings.begin())
        seen = server.observed
        changes = {} if seen is None else {"generation": seen.generation}
        power = Power.STOPPED if server.resize is not None else guest.power
        return msgspec.structs.replace(guest, power=power, **changes), domains

    def keys(self, migration: Migration) -> BothKeys:
        """The keys of the connection between the two."""
        assert migration.keys is not None  # made before the destination is prepared
        return msgspec.json.decode(seal_of(self.config.directory).open(migration.keys), type=BothKeys)

    async def wake_routing(self, server_id: str, *hosts: str | None) -> None:
        """Have the server's domains looked at: everywhere, or on hosts that may have something else than was sent there."""
        networks = {port.network_id for port in (await ports.ports_of(self.db, [server_id]))[server_id]}
        for component in await routing.components_of(self.db, sorted(networks)):
            for id in [f"{host}/{component.id}" for host in hosts if host] or [component.id]:
                self.wake("routing", id)
