"""The Computer Managers of a process: one for this machine, or as many simulated ones as asked."""

import functools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pileus.bus.local import Handle
from pileus.config import Config
from pileus.model.errors import NodeFailed
from pileus.model.messages import Failed, NodeReply, NodeRequest
from pileus.node.agent import Agent

if TYPE_CHECKING:
    from pileus.cli.node_process import Membership

REPORTS = 3
"""Complete reports within the silence after which a host counts as down."""


def make_agents(config: Config) -> list[Agent]:
    """This host's agent, or `config.simulate` simulated hosts' agents. Imports what drives hardware only where there is some to drive."""
    if config.simulate:
        return [_simulated(config, number) for number in range(1, config.simulate + 1)]
    return [_real(config)]


def handle_of(agent: Agent, config: Config) -> Handle:
    """What answers requests to this machine's agent: images that lie encrypted here are opened for it before."""
    if config.simulate:
        return agent.handle
    from pileus.node.images import ImageOpener

    node = config.directory / "node"
    images = ImageOpener(node / "fetched", node / "base", functools.partial(plain_bytes, config.directory))
    images.sweep()

    async def answer(asked: NodeRequest) -> NodeReply:
        try:
            request = await images.localize(asked)
        except NodeFailed as failure:
            return Failed(reason=failure.message, detail=str(failure.data.get("detail", "")), kind="NodeFailed")
        reply = await agent.handle(request)
        await images.release(request)
        return reply

    return answer


def plain_bytes(directory: Path, path: Path) -> Iterator[bytes]:
    """The plain bytes of an encrypted content of this cloud. Blocks. Whoever may change names there can't have us follow a link."""
    from pileus.store import contents
    from pileus.store.sealing import seal_that_is_there

    with contents.opened(path, functools.partial(seal_that_is_there, directory), os.O_NOFOLLOW) as content:
        offset = 0
        while data := content.read(1 << 20, offset):
            yield data
            offset += len(data)


def _simulated(config: Config, number: int) -> Agent:
    from pileus.node.hypervisor.simulated import SimulatedDriver
    from pileus.node.machine import SimulatedMachine
    from pileus.node.network.simulated import SimulatedNetwork

    name = f"simulated-{number:05d}"
    driver = SimulatedDriver(config.directory / "node" / name)
    period = config.node_silence / REPORTS * (0.75 + number % 100 / 400)  # apart from each other, though they start together
    return Agent(name, [driver], SimulatedNetwork(), SimulatedMachine(), period=period)


def _real(config: Config) -> Agent:
    return _qemu(config, os.environ.get("PILEUS_HOST") or socket.gethostname(), "127.0.0.1", config.node_silence / REPORTS)


def member_agent(config: Config, member: "Membership", period: float) -> Agent:
    """The agent of a host that has joined a cluster; it reports each `period` seconds."""
    agent = _qemu(config, member.host, member.address, period, member.shared_disks)
    agent.cluster, agent.shared_disks = member.cluster, member.shared_disks is not None
    return agent


def _qemu(config: Config, host: str, address: str, period: float, shared_disks: str | None = None) -> Agent:
    from pileus.node.census import take
    from pileus.node.hypervisor.qemu import QemuDriver
    from pileus.node.machine import RealMachine
    from pileus.node.network.linux import LinuxNetwork
    from pileus.node.storage.shared import SharedDisks

    state = config.directory / "node"
    state.mkdir(mode=0o711, exist_ok=True)
    network = LinuxNetwork(state, config.tag)
    shared = SharedDisks(Path(shared_disks), host) if shared_disks else None
    driver = QemuDriver(state, config.tag, network.open_tap, grace=config.shutdown_grace, shared=shared)
    agent = Agent(host, [driver], network, RealMachine(state, config.machine_shares), address=address, period=period)
    agent.census = functools.partial(take, state, config.tag)
    return agent
