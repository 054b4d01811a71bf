"""Placing: a server gets a host, the host's resources, and its ports bound there, in one transaction."""

import asyncio
import time

from pileus.config import Config
from pileus.core.placement import choose
from pileus.core.servers import Next, next_step
from pileus.model.placement import Claim, Decision
from pileus.model.servers import Server, ServerFault
from pileus.reconcile.observations import EVENTS
from pileus.reconcile.server_inputs import aggregate_metadata, placement_request
from pileus.store import actions, allocations, decisions, host_views, ports, servers
from pileus.store.database import Database, Transaction

SCHEDULE = EVENTS["scheduling"]


class Placing:
    """Chooses hosts, one placement at a time, each on the newest state."""

    def __init__(self, db: Database, config: Config) -> None:
        self.db = db
        self.config = config
        self._turn = asyncio.Lock()

    async def place(self, server: Server) -> None:
        """Choose a host for a server that has none and claim it; where none fits, the server's fault says why."""
        async with self._turn:
            request = await placement_request(self.db, server)
            metadata = await aggregate_metadata(self.db)
            hosts = await host_views.hosts_of(self.db, time.time(), self.config.node_silence, metadata)
            decision = choose(request, hosts)
            zone = hosts.by_name[decision.host].state.zone if decision.host else ""
            await self.db.write(lambda tx: _claim(tx, server, decision, zone))


async def _claim(tx: Transaction, server: Server, decision: Decision, zone: str) -> None:
    """The decision's claim, ports and host; or the fault that says why there is none."""
    current = await servers.get(tx, server.id)
    if next_step(current) != Next.PLACE:  # it is placed, refused, or to go
        return
    await decisions.keep(tx, server.id, decision)
    if decision.host is None or decision.provider_id is None:
        fault = ServerFault(code=500, message=decision.message, created_at=time.time())
        await servers.save(tx, current, fault=fault)
        await actions.finish(tx, server.id, server.request_id, SCHEDULE, result="Error", message=decision.message)
        return
    await allocations.claim(tx, claim_of(server, decision))
    await ports.bind_ports(tx, server.id, decision.host, zone)
    await servers.save(tx, current, host=decision.host, availability_zone=zone)
    await actions.finish(tx, server.id, server.request_id, SCHEDULE, message=decision.message)


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
