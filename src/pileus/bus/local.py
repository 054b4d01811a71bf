"""The bus inside one process: a request is a call, an event is a callback."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from pileus.bus.streams import ByteStream, to_socket
from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.hosts import HostReport
from pileus.model.messages import ConsoleEndpoint, Failed, NodeReply, NodeRequest, OpenConsole

CONSOLE_TIMEOUT = 20.0

Handle = Callable[[NodeRequest], Awaitable[NodeReply]]
Listener = Callable[[HostReport], None]


class Bus(Protocol):
    """What the levels say to each other through. `connected_at`: since when reports come in, by the monotonic clock."""

    @property
    def connected_at(self) -> float:
        """Infinite while nothing comes in."""
        ...

    async def request(self, host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        """A node's reply. NodeFailed when it says that it failed, Unavailable when it does not answer in `timeout` seconds."""
        ...

    async def stream(self, host: str, message: OpenConsole) -> ByteStream:
        """The bytes of a guest's console. Errors as those of `request`, and OSError."""
        ...

    def report(self, report: HostReport) -> None:
        """A node's report, to whoever listens."""
        ...


class LocalBus:
    """Agents and listeners of one process."""

    connected_at = 0.0  # always

    def __init__(self) -> None:
        self.agents: dict[str, Handle] = {}
        self.listeners: list[Listener] = []

    def attach(self, host: str, handle: Handle) -> None:
        """From now on requests to this host go there."""
        self.agents[host] = handle

    def detach(self, host: str) -> None:
        """The host answers no more."""
        self.agents.pop(host, None)

    async def request(self, host: str, message: NodeRequest, timeout: float = 120.0) -> NodeReply:
        """The agent's reply."""
        handle = self.agents.get(host)
        if handle is None:
            raise Unavailable(f"Host {host} is not connected.")
        try:
            reply = await asyncio.wait_for(handle(message), timeout)
        except TimeoutError as error:
            raise Unavailable(f"Host {host} did not answer within {timeout:g} s.") from error
        if isinstance(reply, Failed):
            raise NodeFailed(reply.reason, detail=reply.detail, kind=reply.kind)
        return reply

    async def stream(self, host: str, message: OpenConsole) -> ByteStream:
        """The console's Unix socket, which is on this machine."""
        reply = await self.request(host, message, CONSOLE_TIMEOUT)
        assert isinstance(reply, ConsoleEndpoint)  # the bus gives what the request asks for
        return await to_socket(reply.path)

    def report(self, report: HostReport) -> None:
        """Hand a report to every listener."""
        for listener in self.listeners:
            listener(report)
