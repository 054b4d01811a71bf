"""The network driver of one host as a process of its own, which a test starts in the host's network namespace: requests and replies are
lines of JSON. Run as `python -m tests.driver.network_host STATE TAG`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from pileus.model.errors import PileusError
from pileus.model.routing import RoutingDomain
from pileus.node.network import carried
from pileus.node.network.linux import LinuxNetwork


class Agent:
    """Does what it is asked."""

    def __init__(self, state: Path, tag: str) -> None:
        self.driver = LinuxNetwork(state, tag)
        self.guests: set[str] = set()

    def metadata(self, guest_id: str) -> dict[str, str] | None:
        """A host knows its own guests only."""
        return {"latest/meta-data/instance-id": guest_id} if guest_id in self.guests else None

    async def answer(self, verb: str, argument: Any) -> Any:
        """Do one thing."""
        match verb:
            case "start":
                return await self.driver.start(self.metadata)
            case "apply":
                domain = msgspec.convert(argument, RoutingDomain)
                self.guests |= {port.guest_id for port in domain.ports if port.local}
                return await self.driver.apply(domain)
            case "remove":
                return await self.driver.remove(argument)
            case "gathered":
                return await carried.gathered(self.driver, argument)
            case "tracked":
                return await carried.tracked(self.driver, *argument)
            case "observe":
                return await self.driver.observe()
            case "destroy":
                await self.driver.destroy()
                return await self.driver.close()
            case _:
                raise ValueError(verb)


async def serve(agent: Agent) -> None:
    """Answer until there are no more requests."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        verb, argument = json.loads(line)
        try:
            reply = {"result": await agent.answer(verb, argument)}
        except PileusError as failure:
            reply = {"error": failure.message}
        print(msgspec.json.encode(reply).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Agent(Path(sys.argv[1]), sys.argv[2])))
