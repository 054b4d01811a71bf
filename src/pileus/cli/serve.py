"""Puts store, bus, engine, API and agents together in one process, and runs them until told to stop."""

import asyncio
import contextlib
import fcntl
import importlib
import logging
import logging.handlers
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from pileus.api.chain import App
from pileus.api.cloud import Cloud
from pileus.bus.local import LocalBus
from pileus.cli.credentials import Credentials
from pileus.cli.main import state_of
from pileus.cli.settings import database_option, remember
from pileus.config import Config
from pileus.model.errors import PileusError, Unavailable
from pileus.reconcile.engine import Engine
from pileus.store import schema
from pileus.store.open import open_database

log = logging.getLogger("pileus.serve")
SERVICES = ("identity", "image", "compute", "network", "placement", "console")


class ControlPlane:
    """The three roles in one process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.bus = LocalBus()
        self.db = open_database(config)
        self.credentials = Credentials(config.directory)
        self.engine: Engine
        self.cloud: Cloud
        self.agents: list[Any] = []
        self._tasks: list[asyncio.Task[Any]] = []

    async def prepare(self) -> None:
        """Schema, first users, tokens, services, reconcilers: what must be there before the first request."""
        from pileus.api.identity.tokens import FernetTokens
        from pileus.api.image.files import recover
        from pileus.cli.first_start import bootstrap
        from pileus.cli.reconcilers import reconcilers

        await schema.migrate(self.db)
        await bootstrap(self.db, self.credentials, self.config)
        tokens = FernetTokens(self.config.directory / "secrets" / "fernet", self.db)
        await tokens.load()
        self.engine = Engine([])
        self.cloud = Cloud(config=self.config, db=self.db, bus=self.bus, tokens=tokens, wake=self.engine.wake, services=load_services())
        await recover(self.db, self.cloud.images)
        for one in reconcilers(self.cloud, self.bus, self.engine.wake):
            self.engine.reconcilers[one.name] = one
        hosts: Any = self.engine.reconcilers["hosts"]
        hosts.came = self.engine.retry
        self.bus.listeners.append(hosts.receive)

    async def start(self) -> None:
        """Start the reconcilers, and the agents in the background: the API answers before a probe has ended."""
        from pileus.cli.agents import make_agents

        await self.engine.start()
        self._tasks.append(asyncio.create_task(self._start_agents(make_agents)))

    async def _start_agents(self, make_agents: Callable[..., list[Any]]) -> None:
        try:
            self.agents = await asyncio.to_thread(make_agents, self.config)
            for agent in self.agents:
                self.bus.attach(agent.host, agent.handle)
            for agent in self.agents:
                await agent.start(self.bus.report)
        except Exception:
            log.exception("the agent of this host could not start")
            raise

    async def close(self) -> None:
        """Stop loops and agents; guests and networks go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.engine.close()
        for agent in self.agents:
            await agent.close()
        await self.db.close()


def load_services() -> dict[str, Any]:
    """The services by the first part of their path."""
    found = [importlib.import_module(f"pileus.api.{name}.routes").SERVICE for name in SERVICES]
    return {service.prefix: service for service in found}


async def run(config: Config, ready: Callable[[ControlPlane], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called, in the event loop, when requests are answered."""
    import uvicorn

    from pileus.api.compute.console_proxy import SPEAKERS
    from pileus.api.listener import BoundedProtocol

    control = ControlPlane(config)
    listener = listen(config)
    try:
        await control.prepare()
        server = uvicorn.Server(
            uvicorn.Config(
                App(control.cloud, SPEAKERS),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                http=BoundedProtocol,
                ws="websockets-sansio",
                ws_max_size=1 << 20,
                ssl_certfile=config.tls_certificate,
                ssl_keyfile=config.tls_key,
                timeout_graceful_shutdown=3,
            )
        )
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # ours, below
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():  # noqa: ASYNC110 uvicorn sets a flag, no event
            await asyncio.sleep(0.005)
        await control.start()
        if ready:
            ready(control)
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        server.should_exit = True
        await serving
    finally:
        await control.close()
        listener.close()


def listen(config: Config) -> socket.socket:
    """The listening socket; Unavailable, with the way out, when the address is taken."""
    host, _, port = config.listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), int(port)))
    except (OSError, ValueError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise Unavailable(f"Can't listen on {config.listen}: {reason}. Choose another address with --listen HOST:PORT.") from error
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


def log_to(directory: Path, also_terminal: bool) -> None:
    """Everything to DIR/log/pileus.log (10 MiB, three kept); warnings to the terminal where there is one."""
    folder = directory / "log"
    folder.mkdir(mode=0o750, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(folder / "pileus.log", maxBytes=10 << 20, backupCount=3)
    handlers: list[logging.Handler] = [file]
    if also_terminal:
        terminal = logging.StreamHandler()
        terminal.setLevel(logging.ERROR)
        handlers.append(terminal)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=handlers, force=True)
    for chatty in ("qemu", "uvicorn", "asyncio", "pyroute2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def run_until_stopped(
    config: Config, ready: Callable[[ControlPlane], None] | None = None, stopping: Callable[[], None] | None = None
) -> None:
    """Hold the state directory and serve. `ready` is called when requests are answered, `stopping` before the directory is let go."""
    import uvloop

    with only_one(config):
        log_to(config.directory, also_terminal=True)
        try:
            uvloop.run(run(config, ready))
        except PileusError:
            raise
        except OSError as error:
            raise Unavailable(f"The control plane stopped: {error}") from error
        finally:
            if stopping:
                stopping()


@click.command("serve")
@click.option("--listen", metavar="HOST:PORT", default=None, help="Where the API listens (default 127.0.0.1:5000).")
@click.option("--simulate", metavar="N", type=click.IntRange(1), default=None, help="N simulated hosts instead of this machine.")
@database_option
@click.pass_context
def command(ctx: click.Context, listen: str | None, simulate: int | None, database: str | None) -> None:
    """Run the control plane in the foreground, nothing else."""
    run_until_stopped(remember(state_of(ctx), listen=listen, simulate=simulate, database=database))
