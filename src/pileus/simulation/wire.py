"""The bus between the control plane and the hosts of a life: messages take their time, get lost, come twice."""

import asyncio
import random

from pileus.model.base import Model
from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.hosts import HostReport
from pileus.model.messages import Failed, NodeReply, NodeRequest
from pileus.simulation.bus import FaultyBus
from pileus.simulation.dice import Dice
from pileus.simulation.plan import FaultPlan
from pileus.simulation.processes import Processes
from pileus.simulation.trace import Trace

CONTROL = "control"
SILENCE = 15.0
"""Seconds after which a request that nobody answers is given up."""
LATENCY = (0.0005, 0.02)


class Losses(Model, frozen=True, kw_only=True):
    """Shares of the messages."""

    lost: float = 0.0005
    late: float = 0.001
    twice: float = 0.001
    reports: float = 0.01


class Wire(FaultyBus):
    """Hosts are processes of their own: what they were asked goes on when who asked is killed, and the other way round."""

    def __init__(self, processes: Processes, trace: Trace, plan: FaultPlan, seed: int, losses: Losses) -> None:
        super().__init__(plan, Dice(seed))
        self.processes = processes
        self.trace = trace
        self.losses = losses
        self._source = random.Random(f"wire {seed}")
        self._number = 0

    async def request(self, host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        """The agent's reply; Unavailable when the request or the reply is lost."""
        self._number += 1
        number, name, fate = self._number, type(message).__name__, self._source.random()
        self.trace.note("ask", number, host, name)
        await asyncio.sleep(self._latency(fate))
        handle = self.agents.get(host)
        if host in self.away or handle is None or fate < self.losses.lost:
            await asyncio.sleep(min(timeout, SILENCE))
            self.trace.note("silent", number)
            raise Unavailable(f"Host {host} did not answer.")
        asked = self.processes.begin(host, handle(message))  # pyright: ignore[reportArgumentType]
        if 1 - fate < self.losses.twice:
            self.trace.note("twice", number)
            self.processes.later(host, self._source.uniform(0, 5), lambda: self.processes.begin(host, handle(message)))  # pyright: ignore[reportArgumentType]
        await asyncio.wait({asked}, timeout=timeout)
        lost = not asked.done() or asked.cancelled() or asked.exception() is not None or host in self.away
        if lost or 0.5 < fate < 0.5 + self.losses.lost:
            await asyncio.sleep(min(timeout, SILENCE))
            self.trace.note("silent", number)
            raise Unavailable(f"Host {host} did not answer.")
        reply: NodeReply = asked.result()
        await asyncio.sleep(self._latency(self._source.random()))
        self.trace.note("reply", number, type(reply).__name__)
        if isinstance(reply, Failed):
            raise NodeFailed(reply.reason, detail=reply.detail, kind=reply.kind)
        return reply

    def report(self, report: HostReport) -> None:
        """To the control plane, if that hears it."""
        fate = self._source.random()
        if report.host not in self.away and fate >= self.losses.reports:
            self.processes.later(CONTROL, self._latency(fate), super().report, report)

    def _latency(self, fate: float) -> float:
        if 0.25 < fate < 0.25 + self.losses.late:
            return self._source.uniform(1.0, 10.0)
        return self._source.uniform(*LATENCY)
