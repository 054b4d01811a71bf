"""What root does in a cloud of two processes: whether it can be so, starting the other process, a part of its own, ending with the other.

Its part is the node's where managers reach this machine alone (`node_part`); where they reach hosts by a bus, it fences (`fencing`).
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Collection, Coroutine, Iterator
from typing import Any, Protocol

from pileus import threads
from pileus.cli.separation import kernel
from pileus.cli.separation.child import GRACE, PID, Child, database_access, end_left_over
from pileus.cli.separation.ownership import hand_over, take_back, user_of
from pileus.cli.separation.sandbox import OF_DATABASE, Confined
from pileus.config import Config
from pileus.ending import end
from pileus.model.errors import Unavailable

log = logging.getLogger("pileus.serve")

Ready = Callable[[Any], None]
OF_SUPERVISOR = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5}
"""What root keeps where it only looks after the other process: it writes clouds.yaml for whoever has started it, and ends processes."""


class Part(Protocol):
    """What root's process does for the managers."""

    @property
    def over(self) -> asyncio.Event: ...
    async def open(self) -> None: ...
    async def close(self) -> None: ...


def applies(config: Config) -> bool:
    """Whether managers are a process of their own: those of a real cloud, started by root."""
    return os.geteuid() == 0 and not config.simulate and config.privilege_separation


def start(
    config: Config, roles: tuple[str, ...], ready: Ready | None, listen: Callable[[str], socket.socket]
) -> Coroutine[None, None, None] | None:
    """Start the other process, before this one has an event loop, threads or secrets; returns what is to be run here.

    None, with a line in the log, where this machine lets no process be another user, or the database knows root alone: then all is
    done by one.
    """
    end_left_over(config)
    child, confined = _child(config, roles, listen)
    if child is None:
        take_back(config)
        remedy = f"{confined.remedy}; or " if confined.remedy else ""
        text = "requests are parsed by a process of root, as privileges can't be separated here: %s. To mend it: %s%s"
        log.warning(text, confined.error, remedy, 'say that it is meant, by "privilege_separation": false in config.json')
        return None
    user = user_of(config)
    for what, why in confined.missing.items():
        log.warning("the process that parses requests runs as user %d without privileges, but without %s: %s", user, what, why)
    (config.directory / PID).write_text(f"{child.pid}\n")
    log.info("requests are parsed by process %d, user %d", child.pid, user)
    if (kept := _kept(config)) is not None:
        kernel.bound_capabilities(kept)
        kernel.set_capabilities(kept)
    child.keep_log()
    return _supervise(config, child, ready)


def _child(config: Config, roles: tuple[str, ...], listen: Callable[[str], socket.socket]) -> tuple[Child | None, Confined]:
    """The other process, or none and why."""
    access = database_access(config)
    if access.hindrance:
        return None, Confined(error=access.hindrance, remedy=OF_DATABASE)
    with _listening(config, roles, listen) as (sockets, metrics):
        try:
            hand_over(config)
        except OSError as error:  # a file system that gives no file to another user
            return None, Confined(error=f"{error.filename} can't be given to its user: {error.strerror}")
        child = Child(config, roles, access, sockets, metrics)
    if child.confined.error:
        child.bus.close()
        child.ended()
        return None, child.confined
    return child, child.confined


@contextlib.contextmanager
def _listening(
    config: Config, roles: tuple[str, ...], listen: Callable[[str], socket.socket]
) -> Iterator[tuple[list[socket.socket], socket.socket | None]]:
    """The sockets of the API and of the metrics: opened with our privileges, and closed here when the other process has them."""
    with contextlib.ExitStack() as opened:
        addresses = [one for one in (config.listen, config.host_listen) if one and "cloud" in roles]
        sockets = [opened.enter_context(listen(address)) for address in addresses]
        yield sockets, opened.enter_context(listen(config.metrics_listen)) if config.metrics_listen else None


def _kept(config: Config) -> Collection[int] | None:
    """The capabilities that root's process, and its programs, keep; None: all, as a command of the operator's may need any."""
    if config.bus is None:
        from pileus.cli.separation.node_part import CAPABILITIES

        return CAPABILITIES.values()
    from pileus.cli.separation.fencing import runs_commands

    return None if runs_commands(config) else OF_SUPERVISOR.values()


def _part(config: Config, half: socket.socket, ready: Callable[[], None]) -> Part:
    if config.bus is None:
        from pileus.cli.separation.node_part import NodePart

        return NodePart(config, half, ready)
    from pileus.bus.supervision import Supervisor
    from pileus.cli.separation.fencing import fencer

    return Supervisor(half, fencer(config), ready)


async def _supervise(config: Config, child: Child, ready: Ready | None) -> None:
    """Do root's part until a signal comes or the other process has ended. Neither goes on without the other."""
    stopped = asyncio.Event()
    threads.begin_own()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    part = _part(config, child.bus, lambda: _ready(config, ready))
    await part.open()
    over, told = asyncio.create_task(part.over.wait()), asyncio.create_task(stopped.wait())
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
        await end([over, told])
        await part.close()
        child.process.kill()
        (config.directory / PID).unlink(missing_ok=True)


def _ready(config: Config, ready: Ready | None) -> None:
    from pileus.cli.credentials import Credentials

    Credentials(config.directory).write_clouds(config)
    if ready:
        ready(None)
