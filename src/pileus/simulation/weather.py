"""What goes wrong in a life by chance: hosts, agents, guests, the clock, and the control plane itself."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from pileus.model.base import Model
from pileus.simulation.hosts import LifeHost
from pileus.simulation.loop import VirtualTime
from pileus.simulation.trace import Trace
from pileus.simulation.wire import Wire

REACHES = (8, 40, 300)
"""Turns of the event loop: within a request, within its first step, within what follows from it."""


class Climate(Model, frozen=True, kw_only=True):
    """How often: times a day, for each host where it is of a host."""

    power: float = 0.02
    agents: float = 0.05
    silences: float = 0.05
    guests: float = 0.1
    control: float = 3.0  # kills of the control plane
    jumps: float = 0.2  # of the clock


class Victim(Protocol):
    """The control plane."""

    def strike(self, turns: int) -> None:
        """Kill it so many turns of the event loop after the next request."""
        ...


class Weather:
    """Faults from when it begins until it clears up; then all is healed."""

    def __init__(self, hosts: list[LifeHost], wire: Wire, trace: Trace, time: VirtualTime, victim: Victim) -> None:
        self._hosts = hosts
        self._wire = wire
        self._trace = trace
        self._time = time
        self._victim = victim

    def storms(self, climate: Climate, source: random.Random, until: float) -> list[Awaitable[None]]:
        """One for each kind of fault; each ends by `until`, or soon after, with what it broke mended."""
        of_hosts: list[tuple[float, Callable[[random.Random, float], Awaitable[None]]]] = [
            (climate.power, self._power),
            (climate.agents, self._agent),
            (climate.silences, self._silence),
            (climate.guests, self._guest),
        ]
        others = [(climate.control, self._control), (climate.jumps, self._jump)]
        rates = [(rate * len(self._hosts), what) for rate, what in of_hosts] + others
        return [self._often(rate, what, random.Random(source.random()), until) for rate, what in rates if rate]

    async def _often(
        self, rate: float, what: Callable[[random.Random, float], Awaitable[None]], source: random.Random, until: float
    ) -> None:
        while True:
            pause = source.expovariate(rate) * 86400
            if self._time.at + pause >= until:
                return
            await asyncio.sleep(pause)
            await what(source, until)

    async def _power(self, source: random.Random, until: float) -> None:
        host = source.choice(self._hosts)
        await host.lose_power()
        await self._while_away(source, until, 7200)
        self._trace.note("power is back", host.name)
        host.wound(host.driver.powers())
        await host.start()

    async def _agent(self, source: random.Random, until: float) -> None:
        host = source.choice(self._hosts)
        if host.agent is None:
            return
        await host.kill_agent()
        await self._while_away(source, until, 20)
        await host.start()

    async def _silence(self, source: random.Random, until: float) -> None:
        host = source.choice(self._hosts)
        self._trace.note("silent host", host.name)
        self._wire.away.add(host.name)
        await self._while_away(source, until, 900)
        self._wire.away.discard(host.name)
        if host.agent is not None:
            host.agent.report_soon()

    async def _guest(self, source: random.Random, until: float) -> None:
        source.choice(self._hosts).crash_guest(source)

    async def _control(self, source: random.Random, until: float) -> None:
        self._victim.strike(source.randint(1, source.choice(REACHES)))

    async def _jump(self, source: random.Random, until: float) -> None:
        self._time.jump = source.choice([-3600.0, 3600.0])
        self._trace.note("clock jumps", self._time.jump)
        await self._while_away(source, until, 600)
        self._time.jump = 0.0
        self._trace.note("clock is right")

    async def _while_away(self, source: random.Random, until: float, mean: float) -> None:
        seconds = min(source.expovariate(1 / mean), 20 * mean)
        await asyncio.sleep(max(0.0, min(seconds, until - self._time.at)))
