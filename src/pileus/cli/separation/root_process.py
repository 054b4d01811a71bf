"""What root does in a cloud of two processes: whether it can be so, starting the other process, driving the machine, ending with it."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from pileus import threads
from pileus.bus.pair import NodeBus
from pileus.cli.separation import kernel
from pileus.cli.separation.child import GRACE, PID, Child, end_left_over
from pileus.cli.separation.ownership import hand_over, user_of
from pileus.config import Config
from pileus.ending import end
from pileus.model.errors import Unavailable

log = logging.getLogger("pileus.serve")

Ready = Callable[[Any], None]

CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8, "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12, "NET_RAW": 13, "SYS_PTRACE": 19, "SYS_ADMIN": 21,
}  # fmt: skip
"""What the node part keeps, and its programs may have; why each: ADR 0016."""


def applies(config: Config) -> bool:
    """Whether a cloud that has all roles in one command is two processes: a real one, started by root, on its own SQLite."""
    alone = config.bus is None and config.database is None and not config.simulate
    return os.geteuid() == 0 and alone and config.privilege_separation


def start(config: Config, ready: Ready | None, listen: Callable[[str], socket.socket]) -> Coroutine[None, None, None] | None:
    """Start the other process, before this one has an event loop, threads or secrets; returns what is to be run here.

    None, with a line in the log, where this machine lets no process be another user: then all is done by one.
    """
    end_left_over(config)
    sockets = [listen(address) for address in (config.listen, config.host_listen) if address]
    metrics = listen(config.metrics_listen) if config.metrics_listen else None
    try:
        hand_over(config)
        child = Child(config, sockets, metrics)
    finally:
        for one in (*sockets, *([metrics] if metrics else [])):
            one.close()
    if child.confined.error:
        log.warning("requests are parsed by a process of root, as privileges can't be separated here: %s", child.confined.error)
        child.bus.close()
        child.ended()
        return None
    for what, why in child.confined.missing.items():
        log.warning("the process that parses requests runs as user %d without privileges, but without %s: %s", user_of(config), what, why)
    (config.directory / PID).write_text(f"{child.pid}\n")
    log.info("requests are parsed by process %d, user %d", child.pid, user_of(config))
    kernel.bound_capabilities(CAPABILITIES.values())
    kernel.set_capabilities(CAPABILITIES.values())
    child.keep_log()
    return _supervise(config, child, ready)


async def _supervise(config: Config, child: Child, ready: Ready | None) -> None:
    """Be the host's agent until a signal comes or the other process has ended. Neither goes on without the other."""
    stopped = asyncio.Event()
    threads.begin_own()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    bus = NodeBus(child.bus, lambda: _ready(config, ready))
    agents: list[Any] = []
    await bus.open()
    starting = asyncio.create_task(_start_agents(config, bus, agents))
    over, told = asyncio.create_task(bus.over.wait()), asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait([over, told], return_when=asyncio.FIRST_COMPLETED)
        asked = stopped.is_set()
        if asked:
            child.stop()
            await asyncio.wait([over], timeout=GRACE)
        reason = await asyncio.to_thread(child.ended)
        if not asked:
            ended = f"The process that parses requests ended ({child.process.returncode})"
            raise Unavailable(reason or f"{ended}. Start the cloud again; servers go on.")
    finally:
        await end([over, told, starting])
        for agent in agents:
            await agent.close()
        await bus.close()
        child.process.kill()
        (config.directory / PID).unlink(missing_ok=True)


def _ready(config: Config, ready: Ready | None) -> None:
    from pileus.cli.credentials import Credentials

    Credentials(config.directory).write_clouds(config)
    if ready:
        ready(None)


async def _start_agents(config: Config, bus: NodeBus, agents: list[Any]) -> None:
    from pileus.cli.agents import make_agents
    from pileus.node.validation import Bounds, guarded

    bounds = Bounds(images=config.directory / "images", snapshots=config.snapshots, physical=config.physical_networks)
    try:
        agents += await asyncio.to_thread(make_agents, config)
        for agent in agents:
            bus.attach(agent.host, guarded(agent.handle, bounds))
        for agent in agents:
            await agent.start(bus.report)
    except Exception:
        if bus.over.is_set():
            return  # there is nobody to work for
        log.exception("the agent of this host could not start")
        raise
