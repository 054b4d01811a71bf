"""The plan of faults at work in a cloud: its bus, its API, the choice of hosts, and the hosts that come and go."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from pileus.api.cloud import Cloud
from pileus.core.servers import Next
from pileus.model.errors import Invalid
from pileus.model.guests import ObservedPower
from pileus.model.servers import Server
from pileus.node.agent import Agent
from pileus.node.hypervisor.simulated import SimulatedDriver
from pileus.reconcile.servers import Servers
from pileus.simulation.api import FaultyApp
from pileus.simulation.bus import FaultyBus
from pileus.simulation.dice import Dice
from pileus.simulation.plan import HostFault, Kept, Placement

log = logging.getLogger("pileus.faults")


class Faults:
    """What goes wrong in one cloud."""

    def __init__(self, kept: Kept) -> None:
        self.plan = kept.plan
        self.dice = Dice(kept.seed)
        self.bus = FaultyBus(self.plan, self.dice)

    def app(self, cloud: Cloud, websockets: Mapping[str, Callable[..., Awaitable[None]]]) -> FaultyApp:
        """The API."""
        return FaultyApp(cloud, websockets, plan=self.plan.api, dice=self.dice)

    def hold(self, servers: Servers) -> None:
        """Let some placements fail."""
        if self.plan.placement.fails:
            servers.actions[Next.PLACE] = _placing(servers.actions[Next.PLACE], self.plan.placement, self.dice)

    async def run(self, agents: list[Agent]) -> None:
        """Let hosts come and go, by the time since now."""
        await asyncio.gather(*(self._away(one, agents[one.host - 1]) for one in self.plan.hosts))

    async def _away(self, fault: HostFault, agent: Agent) -> None:
        await asyncio.sleep(fault.at)
        log.warning("host %s is away for %g s from now on (plan of faults)", agent.host, fault.seconds)
        await leave(self.bus, agent)
        await asyncio.sleep(fault.seconds)
        log.warning("host %s is back (plan of faults)", agent.host)
        await come_back(self.bus, agent, died=not fault.guests_survive)


async def leave(bus: FaultyBus, agent: Agent) -> None:
    """Nothing is heard of the host, and nothing reaches it."""
    bus.away.add(agent.host)
    bus.lives[agent.host] += 1


async def come_back(bus: FaultyBus, agent: Agent, died: bool) -> None:
    """It is there again. `died`: it was started anew, and its guests were not."""
    if died:
        await agent.close()
        for driver in agent.hypervisors:
            if isinstance(driver, SimulatedDriver):
                power_off(driver)
    bus.away.discard(agent.host)
    if died:
        await agent.start(bus.report)
    else:
        agent.report_soon()


def power_off(driver: SimulatedDriver) -> None:
    """The host lost its power, and with it every guest that was in its memory."""
    for guest_id, power in driver.powers().items():
        if power in (ObservedPower.RUNNING, ObservedPower.PAUSED):
            driver.end(guest_id)


Place = Callable[[Server], Coroutine[Any, Any, Server | None]]


def _placing(place: Place, plan: Placement, dice: Dice) -> Place:
    async def faulty(server: Server) -> Server | None:
        if dice.next("placement", server.name).random() < plan.fails:
            raise Invalid(plan.error)  # trying again would not help: it becomes the server's fault
        return await place(server)

    return faulty
