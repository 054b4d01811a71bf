"""Runs the roles of a process until it is told to stop: listening sockets, the lock of the state directory, the log, one process or two.

It imports none of what managers are made of, which root's process beside them would hold for nothing.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pileus.cli.logs import log_to
from pileus.cli.main import state_of
from pileus.cli.settings import bus_options, check_stores_are_there, database_option, prepare_directory, remember
from pileus.config import ROLES, Config
from pileus.model.errors import Invalid, PileusError, Unavailable

if TYPE_CHECKING:
    from pileus.cli.control_plane import ControlPlane


def listen(address: str) -> socket.socket:
    """The listening socket; Unavailable, with the way out, when the address is taken."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), int(port)))
    except (OSError, ValueError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise Unavailable(f"Can't listen on {address}: {reason}. Choose another address with --listen HOST:PORT.") from error
    listener.listen(1024)
    return listener


@contextlib.contextmanager
def only_one(config: Config) -> Iterator[None]:
    """Hold the state directory: one control plane at a time. Its pid stands in `pid` meanwhile."""
    directory = config.directory
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(f"A control plane with the state {directory} is running already (pid {read_pid(directory)}).") from error
        pid = directory / "pid"
        pid.write_text(f"{os.getpid()}\n")
        try:
            yield
        finally:
            pid.unlink(missing_ok=True)


def read_pid(directory: Path) -> int | None:
    """The pid of the control plane that holds the directory, or None."""
    try:
        pid = int((directory / "pid").read_text())
    except (OSError, ValueError):
        return None
    try:
        with (directory / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return pid
    return None


def run_until_stopped(
    config: Config,
    ready: "Callable[[ControlPlane], None] | None" = None,
    stopping: Callable[[], None] | None = None,
    roles: tuple[str, ...] = ROLES,
) -> None:
    """Hold the state directory and serve. `ready` is called when requests are answered, `stopping` before the directory is let go."""
    _hold(config, lambda: _work(config, ready, roles), stopping)


def _work(config: Config, ready: "Callable[[ControlPlane], None] | None", roles: tuple[str, ...]) -> Coroutine[None, None, None]:
    """What this process does: all of it, or, where it is root, what needs privileges beside a process without any."""
    from pileus.cli.separation import root_process

    apart = root_process.start(config, roles, ready, listen) if root_process.applies(config) else None
    if apart:
        return apart
    from pileus.cli.serving import run

    return run(config, ready, roles)


def _hold(config: Config, work: Callable[[], Coroutine[None, None, None]], stopping: Callable[[], None] | None = None) -> None:
    import uvloop

    check_stores_are_there(config)
    with only_one(config):
        log_to(config.directory, also_terminal=True, form=config.log_format)
        try:
            uvloop.run(work())
        except PileusError:
            raise
        except OSError as error:
            raise Unavailable(f"The process stopped: {error}") from error
        finally:
            if stopping:
                stopping()


def be_host(config: Config, ticket: tuple[str, str] | None, cluster: str | None, shared_disks: str | None) -> None:
    """Join, when a ticket (token, address of the API) is given, and be a Computer Manager."""
    from pileus.cli import node_process
    from pileus.cli.separation.node_part import keep_what_a_node_needs

    if ticket is not None:
        token = os.environ.get("PILEUS_JOIN_TOKEN", "") if ticket[0] == "-" else ticket[0]
        node_process.join(config.directory, token, ticket[1], cluster=cluster, shared_disks=shared_disks)
    node_process.membership(config.directory)
    if os.geteuid() == 0:
        keep_what_a_node_needs()
    _hold(config, lambda: node_process.run(config))


@click.command("serve")
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, help="What this process is; may be repeated. All, when not said.")
@click.option("--listen", metavar="HOST:PORT", default=None, help="Where the API listens (default 127.0.0.1:5000).")
@click.option("--simulate", metavar="N", type=click.IntRange(1), default=None, help="N simulated hosts instead of this machine.")
@click.option("--name", metavar="CLUSTER", default=None, help="With --role cluster: the cluster that this process leads.")
@click.option("--join", nargs=2, metavar="TOKEN ADDRESS", default=None, help="With --role node: join the cloud whose API is at ADDRESS.")
@click.option("--shared-disks", metavar="DIR", default=None, help="With --role node: where servers' disks lie, seen by other hosts too.")
@database_option
@bus_options
@click.pass_context
def command(ctx: click.Context, roles: tuple[str, ...], **said: Any) -> None:
    """Run a process of the cloud in the foreground, nothing else."""
    state = state_of(ctx)
    if "node" in roles and (len(roles) > 1 or said["database"] or said["bus"]):
        raise Invalid("--role node stands alone: a host knows neither the database nor other roles. It gets the bus's address by joining.")
    if roles == ("node",):
        be_host(remember(state), said["join"], said["name"], said["shared_disks"])
        return
    if said["join"] or said["shared_disks"]:
        raise Invalid("--join and --shared-disks are for --role node.")
    prepare_directory(state)
    kept = {name: said[name] for name in ("listen", "simulate", "database", "bus", "bus_ca")}
    config = remember(state, cluster=said["name"], **kept)
    if roles and config.bus is None:
        raise Invalid("Roles apart need --bus and --database, by which they find each other; without --role one process does it all.")
    run_until_stopped(config, roles=tuple(roles) or ROLES)
