"""The node's part of a separated cloud, in root's process: it drives this machine for managers that may do nothing to it."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from pileus.bus.pair import NodeBus
from pileus.cli.separation import kernel
from pileus.config import Config
from pileus.ending import end

log = logging.getLogger("pileus.serve")

CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8, "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12, "NET_RAW": 13, "SYS_PTRACE": 19, "SYS_ADMIN": 21,
}  # fmt: skip
"""What it keeps, and its programs may have; why each: ADR 0016."""


def keep_what_a_node_needs() -> None:
    """Give up all other capabilities, for this process and for every program that it starts."""
    with contextlib.suppress(PermissionError):  # a container that may not bound them has bounded us
        kernel.bound_capabilities(CAPABILITIES.values())
    kernel.set_capabilities(CAPABILITIES.values())


class NodePart:
    """This host's agents, beside the bus to the managers."""

    def __init__(self, config: Config, half: socket.socket, ready: Callable[[], None]) -> None:
        self.config = config
        self.bus = NodeBus(half, ready)
        self._agents: list[Any] = []
        self._starting: asyncio.Task[None] | None = None

    @property
    def over(self) -> asyncio.Event:
        """Set when the managers are gone."""
        return self.bus.over

    async def open(self) -> None:
        """Begin to listen, and start the agents beside."""
        await self.bus.open()
        self._starting = asyncio.create_task(self._start())

    async def close(self) -> None:
        """Stop the agents; guests and networks go on."""
        await end([self._starting])
        for agent in self._agents:
            await agent.close()
        await self.bus.close()

    async def _start(self) -> None:
        from pileus.cli.agents import handle_of, make_agents
        from pileus.node.validation import Bounds, guarded

        config = self.config
        images, *others = config.image_stores.values()
        bounds = Bounds(images=images, stores=tuple(others), snapshots=config.snapshots, physical=config.physical_networks)
        try:
            self._agents += await asyncio.to_thread(make_agents, config)
            for agent in self._agents:
                self.bus.attach(agent.host, guarded(handle_of(agent, config), bounds))
            for agent in self._agents:
                await agent.start(self.bus.report)
        except Exception:
            if self.bus.over.is_set():
                return  # there is nobody to work for
            log.exception("the agent of this host could not start")
            raise
