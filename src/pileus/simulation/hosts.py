"""The hosts of a life: machines that lose their power, agents that are started anew, hypervisors whose guests die."""

import asyncio
import random
from collections.abc import Iterable

from pileus.model.guests import ObservedPower
from pileus.node.agent import Agent
from pileus.node.hypervisor.simulated import SimulatedDriver
from pileus.node.machine import SimulatedMachine
from pileus.node.network.simulated import SimulatedNetwork
from pileus.simulation.faults import power_off
from pileus.simulation.trace import Trace
from pileus.simulation.wire import Wire

REPORTS = 3
"""Complete reports within the silence after which a host counts as down."""


class LifeHost:
    """One host: what outlives its agent, and the agent."""

    def __init__(self, number: int, wire: Wire, trace: Trace, silence: float) -> None:
        self.name = f"host-{number:04d}"
        self.driver = SimulatedDriver()
        self.network = SimulatedNetwork()
        self.agent: Agent | None = None
        self.wounded: dict[str, float] = {}  # guest id -> when it was last cut off
        self._wire = wire
        self._trace = trace
        self._period = silence / REPORTS * (0.75 + number % 100 / 400)

    async def start(self) -> None:
        """An agent that looks at what is there."""
        if self.agent is None:
            self.agent = Agent(self.name, [self.driver], self.network, SimulatedMachine(), period=self._period)
            self._wire.attach(self.name, self.agent.handle)
            starting = self._wire.processes.begin(self.name, self.agent.start(self._wire.report))
            await asyncio.wait({starting})

    async def kill_agent(self) -> None:
        """The agent's process ends; guests go on."""
        self._trace.note("agent killed", self.name)
        await self._stop()

    async def lose_power(self) -> None:
        """Everything ends."""
        self._trace.note("power lost", self.name)
        await self._stop()
        self.wound(self.driver.powers())
        power_off(self.driver)

    def crash_guest(self, source: random.Random) -> None:
        """A guest dies, if one runs."""
        running = sorted(guest_id for guest_id, power in self.driver.powers().items() if power == ObservedPower.RUNNING)
        if running:
            guest_id = source.choice(running)
            self._trace.note("guest crashed", self.name, guest_id)
            self.wound([guest_id])
            self.driver.end(guest_id, ObservedPower.CRASHED)

    def wound(self, guests: Iterable[str]) -> None:
        """These may be off from now on, whatever was asked for before."""
        for guest_id in guests:
            self.wounded[guest_id] = self._wire.processes.loop.time()

    async def _stop(self) -> None:
        self._wire.detach(self.name)
        self._wire.lives[self.name] += 1
        self.agent = None
        await self._wire.processes.ended(self._wire.processes.kill(self.name))
