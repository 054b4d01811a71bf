"""The managers of a process: the Cloud Manager's API, the Cluster Manager's reconcilers, and, without a bus, this machine's agent."""

import asyncio
import importlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pileus import clock
from pileus.api.audit import AuditLog
from pileus.api.cloud import Cloud
from pileus.api.metrics import RequestMetrics
from pileus.bus.authority import BusAuthority
from pileus.bus.local import LocalBus
from pileus.bus.pair import ManagersBus
from pileus.bus.supervision import Supervised
from pileus.cli.credentials import Credentials
from pileus.cli.metrics import audit, of_control_plane
from pileus.config import ROLES, Config
from pileus.ending import end
from pileus.model.errors import PileusError
from pileus.model.guests import Guest
from pileus.model.messages import ApplyGuest, NodeRequest, PrepareIncoming, Snapshot
from pileus.reconcile.engine import Engine
from pileus.reconcile.leadership import Leadership
from pileus.reconcile.scope import EVERYTHING, Scope
from pileus.store import backups, schema
from pileus.store.database import Database
from pileus.store.open import open_database
from pileus.store.unified_quotas import set_sources, sources_of

if TYPE_CHECKING:
    from pileus.reconcile.verification import Verifier
    from pileus.simulation.faults import Faults

log = logging.getLogger("pileus.serve")
SERVICES = ("identity", "image", "compute", "network", "placement", "console", "cluster")
DAY, FIRST_BACKUP = 86400.0, 3600.0
"""Seconds between two copies of the database; from the first start to the first one, or from one that failed to the next."""
REFRESH = 5.0
"""Seconds after which a token that another process has revoked is void here as well, at the latest."""

FIRST_LOOK = 120.0
"""Seconds from the begin of leading to the first look at the invariants."""


class ControlPlane:
    """The roles of one process. Without a bus they are all here; with one, hosts are processes of their own."""

    def __init__(
        self, config: Config, roles: tuple[str, ...] = ROLES, root: "ManagersBus | Supervised | None" = None, holder: int | None = None
    ) -> None:
        """`root`: the way to root's process, where that is another one, whose id is then `holder`: it drives this machine, or fences."""
        self.config = config
        self.roles = tuple(role for role in roles if role != "node" or config.bus is None)
        self.root = root
        self.apart = root if isinstance(root, ManagersBus) else None
        self.holder = f"{socket.gethostname()}/{holder or os.getpid()}"
        self.faults = planned_faults(config)
        self.bus: Any = self.apart or (self.faults.bus if self.faults else LocalBus())
        if config.database is None:
            backups.refuse_damaged(config.directory / "pileus.db")
        self.db = self._open_database()
        self.credentials = Credentials(config.directory)
        self.engine: Engine | None = None
        self.cloud: Cloud
        self.agents: list[Any] = []
        self.leadership: Leadership | None = None  # of the cluster
        self.placement: Leadership | None = None  # of choosing clusters and hosts for what has none
        self.metrics = of_control_plane(self)
        self._audit: AuditLog | None = None
        self.verifier: Verifier | None = None  # where this process leads: what the invariants came to
        self._verifying: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    def _open_database(self) -> Database:
        return open_database(self.config)

    async def prepare(self) -> None:
        """Schema, first users, tokens, services: what must be there before the first request."""
        from pileus.api.identity.tokens import FernetTokens
        from pileus.api.image.files import recover
        from pileus.cli.first_start import bootstrap

        await (schema.migrate(self.db) if "cloud" in self.roles else schema.check(self.db))
        authority = await self._shared() if self.config.database is not None else None
        await bootstrap(self.db, self.credentials, self.config)
        if "cloud" in self.roles:
            await self.db.write(lambda tx: set_sources(tx, sources_of(self.config)))
        if self.root is None:  # else that is for whom it belongs to
            self.credentials.write_clouds(self.config)
        tokens = FernetTokens(self.config.directory / "secrets" / "fernet", self.db)
        await tokens.load()
        if self.config.bus is not None:
            assert authority is not None  # settings.check: a bus needs PostgreSQL
            await self._open_bus(authority)
        self.cloud = Cloud(
            config=self.config, db=self.db, bus=self.bus, tokens=tokens, wake=self.wake, authority=authority, services=load_services()
        )
        if "cloud" in self.roles:
            self._watch()
        if self.config.bus is None or self.config.hosts:  # else another process may be receiving an image at this moment
            await recover(self.db, self.cloud.image_stores)
        if self.config.bus is None and "cluster" in self.roles:
            self._assemble()

    async def start(self) -> None:
        """Start the reconcilers, and the agents in the background: the API answers before a probe has ended."""
        if self.config.database is not None and self.config.bus is not None:
            self._tasks.append(asyncio.create_task(self._keep_fresh()))
        if self.config.database is None:
            self._tasks.append(asyncio.create_task(self._back_up()))
        if "cloud" in self.roles:
            from pileus.api.identity.directory_watch import DirectoryWatch

            self._tasks.append(asyncio.create_task(DirectoryWatch(self.cloud).run()))
        if "cluster" in self.roles:
            if self.config.bus is None:
                await self._lead()
            else:
                self.leadership = Leadership(self.db, f"cluster/{self.config.cluster}", self.holder, self._lead, self._follow)
                await self.leadership.start()
        if self.apart is not None:
            self.apart.came_back.append(lambda: self.engine.retry() if self.engine else None)
        if self.root is not None:
            await self.root.open()
        if "node" in self.roles:
            from pileus.cli.agents import make_agents

            self._tasks.append(asyncio.create_task(self._start_agents(make_agents)))

    def _watch(self) -> None:
        """Every answer is counted, every write is in the audit log."""
        requests, written = RequestMetrics(), AuditLog(self.config.directory)
        self.cloud.watchers += [requests, written]
        self.metrics.sources += [requests.families, lambda: audit(written)]
        self._audit = written
        self._tasks.append(asyncio.create_task(written.keep_synced()))

    def wake(self, name: str, id: str) -> None:
        """Look at this soon: here, where this process leads, and in every other that may."""
        if self.engine is not None:
            self.engine.wake(name, id)
        if self.config.bus is not None:
            self.bus.wake(name, id)

    async def close(self) -> None:
        """Stop loops and agents; guests and networks go on."""
        await end(self._tasks)
        if self.leadership:
            await self.leadership.close()
        await self._follow()
        for agent in self.agents:
            await agent.close()
        if not isinstance(self.bus, LocalBus):
            await self.bus.close()
        if isinstance(self.root, Supervised):
            await self.root.close()
        await self.db.close()
        if self._audit is not None:
            self._audit.close()

    # -- reconcilers -----------------------------------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        """Reconcile from now on, with nothing remembered from an earlier time.

        Who leads a cluster stands for placement as well: of who stands by nobody places, as it reconciles nothing.
        """
        await self._assemble().start()
        if self.leadership is not None:
            self.placement = Leadership(self.db, "placement", self.leadership.holder, self._look_at_all, self._nothing)
            await self.placement.start()
        self._verifying = asyncio.create_task(self._verify())

    async def _verify(self) -> None:
        """Look at all invariants now and then; until then nothing of it takes memory."""
        await asyncio.sleep(FIRST_LOOK)
        from pileus.reconcile.verification import Verifier

        self.verifier = Verifier(self.db, self.bus, self.config)
        await self.verifier.run()

    def _assemble(self) -> Engine:
        from pileus.cli.reconcilers import reconcilers

        if self.engine is not None:
            return self.engine
        engine = Engine([])
        scope = EVERYTHING if self.config.bus is None else Scope(self.db, self.config.cluster, self._places)
        for one in reconcilers(self.cloud, self.bus, self.wake, scope):
            engine.reconcilers[one.name] = one
        hosts: Any = engine.reconcilers["hosts"]
        hosts.came = engine.retry
        if isinstance(self.root, Supervised):
            availability: Any = engine.reconcilers["availability"]
            availability.fencer = self.root.fence
        if self.faults is not None:
            servers: Any = engine.reconcilers["servers"]
            self.faults.hold(servers)
        self.bus.listeners.append(hosts.receive)
        self.engine = engine
        return engine

    def _places(self) -> bool:
        return self.placement is not None and self.placement.leading

    async def _look_at_all(self) -> None:
        """What waits for a host waits for us now."""
        if self.engine is not None:
            self.engine.scan_soon()

    async def _nothing(self) -> None: ...

    async def _follow(self) -> None:
        if self.engine is None:
            return
        await end([self._verifying])
        engine, self.engine = self.engine, None
        placement, self.placement = self.placement, None
        hosts: Any = engine.reconcilers["hosts"]
        self.bus.listeners.remove(hosts.receive)
        await engine.close()
        if placement is not None:
            await placement.close()

    # -- many processes --------------------------------------------------------------------------------------------------------------

    async def _shared(self) -> BusAuthority:
        from pileus.cli.shared_secrets import agree, authority_of

        await agree(self.db, self.config.directory)
        return authority_of(self.config.directory)

    async def _open_bus(self, authority: BusAuthority) -> None:
        from pileus.bus.nats import NatsBus

        config = self.config
        trusted = Path(config.bus_ca).read_text() if config.bus_ca else None
        bus = NatsBus(authority.manager(str(config.bus), f"{'+'.join(self.roles)}@{socket.gethostname()}", trusted), "manager")
        bus.outgoing = lambda request: with_sources(request, authority)
        bus.wakers.append(self._woken)
        bus.came_back.append(lambda: self.engine.retry() if self.engine else None)
        self.bus = bus
        await bus.open()
        await bus.manage(reports="cluster" in self.roles)

    def _woken(self, name: str, id: str) -> None:
        if self.engine is not None:
            self.engine.wake(name, id)

    async def _keep_fresh(self) -> None:
        """Take over what other processes have revoked or rotated."""
        while True:
            await asyncio.sleep(REFRESH)
            try:
                tokens: Any = self.cloud.tokens
                await tokens.refresh()
                await self._shared()
            except PileusError as error:
                log.warning("what other processes have changed could not be read: %s", error.message)
            except Exception:
                log.exception("what other processes have changed could not be read")

    async def _back_up(self) -> None:
        """A copy of the database each day, the first an hour after the first start."""
        path = self.config.directory / "pileus.db"
        while True:
            copies = backups.found(path)
            age = clock.now() - copies[0].stat().st_mtime if copies else DAY - FIRST_BACKUP
            await asyncio.sleep(min(max(DAY - age, 0.0), DAY))
            try:
                log.info("the database was copied to %s", await asyncio.to_thread(backups.back_up, path))
            except PileusError as error:
                log.warning("%s", error.message)
                await asyncio.sleep(FIRST_BACKUP)

    # -- this machine's agent --------------------------------------------------------------------------------------------------------

    async def _start_agents(self, make_agents: Callable[..., list[Any]]) -> None:
        from pileus.cli.agents import handle_of

        try:
            self.agents = await asyncio.to_thread(make_agents, self.config)
            for agent in self.agents:
                self.bus.attach(agent.host, handle_of(agent, self.config))
            for agent in self.agents:
                await agent.start(self.bus.report)
            if self.faults is not None:
                await self.faults.run(self.agents)
        except Exception:
            log.exception("the agent of this host could not start")
            raise


def planned_faults(config: Config) -> "Faults | None":
    """What is to go wrong in a simulated cloud, when a plan was given to `up`."""
    if not (config.simulate and (config.directory / "faults.json").exists()):
        return None
    from pileus.simulation.faults import Faults
    from pileus.simulation.plan import kept

    found = kept(config.directory)
    return Faults(found) if found else None


def load_services() -> dict[str, Any]:
    """The services by the first part of their path."""
    found = [importlib.import_module(f"pileus.api.{name}.routes").SERVICE for name in SERVICES]
    return {service.prefix: service for service in found}


def with_sources(request: NodeRequest, authority: BusAuthority) -> NodeRequest:
    """The request, with the addresses by which a host that does not see our files fetches images and sends a snapshot."""
    if isinstance(request, Snapshot):
        return msgspec.structs.replace(request, upload=authority.snapshot_address(Path(request.destination).stem, clock.now()))
    if not isinstance(request, ApplyGuest | PrepareIncoming):
        return request
    now = clock.now()
    guest: Guest = request.guest
    disks = [
        one if one.image is None else msgspec.structs.replace(
            one, image=msgspec.structs.replace(one.image, source=authority.content_address(one.image.sha256, now))
        )
        for one in guest.disks
    ]  # fmt: skip
    return msgspec.structs.replace(request, guest=msgspec.structs.replace(guest, disks=disks))
