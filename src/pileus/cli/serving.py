"""Serves as the managers of a process, and the agents where they are there too, until SIGINT or SIGTERM."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from pileus import threads
from pileus.api.chain import App
from pileus.bus.pair import ManagersBus
from pileus.bus.supervision import Supervised
from pileus.cli.control_plane import ControlPlane
from pileus.cli.metrics_listener import MetricsListener
from pileus.cli.serve import listen
from pileus.config import ROLES, Config

if TYPE_CHECKING:
    import uvicorn


class Given:
    """What a process of managers works with: sockets that listen, and, where root's is another process, the way to that, and its id."""

    def __init__(
        self,
        listeners: list[socket.socket],
        metrics: socket.socket | None,
        roles: tuple[str, ...] = ROLES,
        root: "ManagersBus | Supervised | None" = None,
        holder: int | None = None,
    ) -> None:
        self.listeners = listeners
        self.metrics = metrics
        self.roles = roles if root is None else tuple(role for role in roles if role != "node")
        self.root = root
        self.holder = holder


async def run(config: Config, ready: Callable[[ControlPlane], None] | None = None, roles: tuple[str, ...] = ROLES) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called, in the event loop, when requests are answered."""
    metrics = listen(config.metrics_listen) if config.metrics_listen else None
    listeners = [listen(address) for address in (config.listen, config.host_listen) if address] if "cloud" in roles else []
    await run_given(config, Given(listeners, metrics, roles=roles), ready)


def _begin_threads_of_services() -> None:
    from pileus.api.identity import passwords
    from pileus.api.image import downloads, files

    passwords.begin()
    downloads.begin()
    files.begin()


async def run_given(config: Config, given: Given, ready: Callable[[ControlPlane], None] | None = None) -> None:
    """Serve, on sockets that are there already, until SIGINT, SIGTERM or the end of root's process, where that is another one."""
    listeners, root = given.listeners, given.root
    stopped = asyncio.Event()
    control = ControlPlane(config, given.roles, root, given.holder)
    metrics = MetricsListener(given.metrics, control.metrics.text) if given.metrics else None
    threads.begin_own()
    try:
        await control.prepare()
        if listeners:
            _begin_threads_of_services()
        if metrics:
            await metrics.start()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        server = api_server(control, config) if listeners else None
        serving = asyncio.create_task(server.serve(sockets=listeners) if server else stopped.wait())
        while server and not server.started and not serving.done():  # noqa: ASYNC110 uvicorn sets a flag, no event
            await asyncio.sleep(0.005)
        await control.start()
        settle_memory()
        if ready:
            ready(control)
        waiting = [asyncio.create_task(one.wait()) for one in (stopped, *([root.over] if root else []))]
        if root:
            root.ready()
        await asyncio.wait([serving, *waiting], return_when=asyncio.FIRST_COMPLETED)
        stopped.set()
        for one in waiting:
            one.cancel()
        if server:
            server.should_exit = True
        await serving
    finally:
        if metrics:
            await metrics.close()
        await control.close()
        for listener in listeners:
            listener.close()


def settle_memory() -> None:
    """What was imported and made up to now stays, and what an answer is made of has hardly any cycles: Python's collector looks less often.

    Measured: 10-25 % of the CPU of a long answer went into looking for garbage that was not there.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def api_server(control: ControlPlane, config: Config) -> "uvicorn.Server":
    """The server of the API, without signal handlers of its own."""
    import uvicorn

    from pileus.api.compute.console_proxy import SPEAKERS
    from pileus.api.listener import BoundedProtocol

    server = uvicorn.Server(
        uvicorn.Config(
            App(control.cloud, SPEAKERS) if control.faults is None else control.faults.app(control.cloud, SPEAKERS),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=bool(config.trusted_proxies),  # uvicorn believes whoever comes from 127.0.0.1 otherwise
            forwarded_allow_ips=config.trusted_proxies,
            http=BoundedProtocol,
            ws="websockets-sansio",
            ws_max_size=1 << 20,
            ssl_certfile=config.tls_certificate,
            ssl_keyfile=config.tls_key,
            timeout_graceful_shutdown=3,
        )
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    return server
