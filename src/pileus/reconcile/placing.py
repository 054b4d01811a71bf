"""Placing: servers get hosts, the hosts' resources, and their ports bound there. Those that wait are placed in one transaction."""

import asyncio
import logging
from collections import defaultdict

import msgspec

from pileus import clock
from pileus.config import Config
from pileus.core.metrics import Histogram
from pileus.core.placement import choose
from pileus.core.port_rates import rates_of
from pileus.core.servers import Next, fault_of, next_step
from pileus.model.errors import Conflict, PileusError
from pileus.model.placement import Claim, Decision, PlacementRequest
from pileus.model.servers import Server
from pileus.reconcile.observations import EVENTS
from pileus.reconcile.server_inputs import aggregate_metadata, placement_request
from pileus.store import actions, allocations, decisions, ports, servers
from pileus.store.database import Database, Transaction
from pileus.store.host_views import views_of

log = logging.getLogger(__name__)
SCHEDULE = EVENTS["scheduling"]
TOGETHER = 64
"""Servers placed in one transaction at most."""
TRIES = 8
"""Looks at hosts that others change under our hands before the engine is left to try later."""


class _Order:
    """A server that waits for its host."""

    __slots__ = ("after", "decision", "done", "error", "request", "server", "tries", "zone")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.request: PlacementRequest = PlacementRequest(resources={})
        self.decision = Decision()
        self.zone = ""
        self.tries = 0
        self.done = False
        self.error: PileusError | None = None
        self.after: Server | None = None  # the row as it is then

    def settle(self, error: PileusError | None = None) -> None:
        """No more to do."""
        self.done, self.error = True, error

    @property
    def alone(self) -> bool:
        """Whether it looks at where other servers are, and so must see those before it placed."""
        return self.request.group_policy is not None or bool(self.server.hints)


class Placing:
    """Chooses hosts, one batch at a time, each on the newest state."""

    def __init__(self, db: Database, config: Config) -> None:
        self.db = db
        self.config = config
        self.took: defaultdict[str, Histogram] = defaultdict(Histogram)  # by outcome: placed, refused (no host fits), failed
        self._turn = asyncio.Lock()
        self._waiting: list[_Order] = []

    async def place(self, server: Server) -> Server | None:
        """Choose a host for a server that has none and claim it; where none fits, the server's fault says why.

        Returns the server as it is then; None where it was changed meanwhile.
        Whoever has the turn places all that wait.
        """
        order = _Order(server)
        began = clock.monotonic()
        self._waiting.append(order)
        try:
            async with self._turn:
                while not order.done:
                    batch, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
                    try:
                        await self._place(batch)
                    finally:
                        self._waiting = [one for one in batch if not one.done] + self._waiting
        finally:
            if not order.done:  # cut off: nobody waits for it
                self._waiting.remove(order)
        outcome = "failed" if order.error is not None else "placed" if order.decision.host is not None else "refused"
        self.took[outcome].observe(clock.monotonic() - began)
        if outcome == "refused":
            log.warning("server %s has no host: %s", server.id, order.decision.message)
        if order.error is not None:
            raise order.error
        return order.after

    async def _place(self, batch: list[_Order]) -> None:
        """Give hosts to these; one whose host was changed meanwhile by another is left for the next look."""
        metadata = await aggregate_metadata(self.db)
        keys = frozenset(key for one in metadata.values() for key in one)
        batch = await self._with_requests(batch, keys)
        views = views_of(self.db)
        hosts = await views.refresh(clock.now(), self.config.node_silence, metadata)
        for one in batch:
            one.decision = choose(one.request, hosts)
            if one.decision.host is not None and one.decision.provider_id is not None:
                one.zone = hosts.by_name[one.decision.host].state.zone
                views.assume(one.decision.provider_id, one.decision.host, one.decision.resources)
        late = await self.db.write(lambda tx: _claim_all(tx, batch))
        for one in batch:
            one.tries += 1
            if one.server.id not in late:
                one.settle()
            elif one.tries >= TRIES:
                one.settle(Conflict(f"The hosts for {one.server.id} change all the time.", stale=True))

    async def _with_requests(self, batch: list[_Order], keys: frozenset[str]) -> list[_Order]:
        """Those of a batch that can be placed together, with what they ask for. Only the image's properties in `keys` matter."""
        found: list[_Order] = []
        for one in batch:
            try:
                request = await placement_request(self.db, one.server)
            except PileusError as error:
                one.settle(error)
                continue
            relevant = {key: value for key, value in request.properties.items() if key in keys}
            one.request = msgspec.structs.replace(request, properties=relevant)
            if one.alone and found:
                break
            found.append(one)
            if one.alone:
                break
        return found


async def _claim_all(tx: Transaction, batch: list[_Order]) -> set[str]:
    """Write what was decided; the ids of the servers that need a fresh look."""
    rows = await servers.several(tx, [one.server.id for one in batch])
    current = {server.id: server for server in rows if next_step(server) == Next.PLACE}  # others are placed, refused, or to go
    late = {one.server.id for one in batch if one.server.id in current and await _is_late(tx, one)}
    ready = [one for one in batch if one.server.id in current and one.server.id not in late]
    late |= await allocations.claim_together(tx, [claim_of(one.server, one.decision) for one in ready if one.decision.host is not None])
    for one in ready:
        if one.server.id not in late:
            one.after = await _record(tx, current[one.server.id], one.decision, one.zone)
    return late


async def _is_late(tx: Transaction, order: _Order) -> bool:
    """Whether the members of the server's group have moved since they were looked at: another process places, too."""
    if order.request.group_policy not in ("affinity", "anti-affinity"):
        return False
    return (await placement_request(tx, order.server)).group_hosts != order.request.group_hosts


async def _record(tx: Transaction, server: Server, decision: Decision, zone: str) -> Server:
    """The server's host and its ports', or the fault that says why there is none; and the event."""
    await decisions.keep(tx, server.id, decision)
    if decision.host is None:
        fault = fault_of(server, decision.message, clock.now())
        after = await servers.change(tx, server, fault=fault)
        await actions.finish(tx, server.id, server.request_id, SCHEDULE, result="Error", message=decision.message)
        return after
    await ports.bind_ports(tx, server.id, decision.host, zone, rates_of(server.flavor.extra_specs))
    after = await servers.change(tx, server, host=decision.host, availability_zone=zone)
    await actions.finish(tx, server.id, server.request_id, SCHEDULE, message=decision.message)
    return after


def claim_of(server: Server, decision: Decision) -> Claim:
    """What the server takes of the host that was chosen."""
    assert decision.provider_id is not None  # only a decision with a host is claimed
    return Claim(
        consumer_id=server.id,
        provider_id=decision.provider_id,
        generation=decision.generation,
        resources=decision.resources,
        project_id=server.project_id,
        user_id=server.user_id,
    )
