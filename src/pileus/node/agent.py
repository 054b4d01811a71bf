"""The Computer Manager of one host: takes requests, drives hypervisors and network, reports what it sees."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pileus
from pileus import clock
from pileus.core.guests import Asked, crossed
from pileus.ending import end
from pileus.model.census import Census
from pileus.model.errors import NodeFailed, NotFound, PileusError
from pileus.model.guests import Guest, ObservedGuest, ObservedPower
from pileus.model.hosts import DriverCapabilities, HostReport
from pileus.model.messages import (
    ApplyDomain,
    ApplyGuest,
    AskMove,
    CancelMove,
    CensusReply,
    ConsoleEndpoint,
    ConsoleLog,
    DiagnosticsReply,
    DomainReply,
    Done,
    Failed,
    FinishIncoming,
    ForceMove,
    ForecastMove,
    GuestReply,
    IncomingReady,
    MoveReply,
    NodeReply,
    NodeRequest,
    Observe,
    OpenConsole,
    PrepareIncoming,
    ReadConsoleLog,
    ReadDiagnostics,
    RemoveDomain,
    RemoveGuest,
    ReportReply,
    ResumeOutgoing,
    Snapshot,
    StartOutgoing,
    TakeCensus,
)
from pileus.model.moves import MovePhase, MoveProgress
from pileus.model.routing import RoutingDomain
from pileus.node.hypervisor.driver import DISKS_LOST, HypervisorDriver
from pileus.node.machine import Machine
from pileus.node.network import carried
from pileus.node.network.driver import NetworkDriver

log = logging.getLogger(__name__)

Report = Callable[[HostReport], None]

PROBE_PATIENCE = 0.1
"""Seconds that the first report waits for the drivers' probes; what takes longer is in a later report."""
GONE_KEPT = 1000
"""Domains that were removed last, of which an older word may still be on its way."""


class Agent:
    """One host. `handle` answers any request and never raises; `start`'s callback gets reports, complete ones each `period` seconds."""

    def __init__(
        self,
        host: str,
        hypervisors: Sequence[HypervisorDriver],
        network: NetworkDriver,
        machine: Machine,
        address: str = "",
        period: float = 60.0,
    ) -> None:
        self.host = host
        self.address = address
        self.cluster = "default"
        self.census: Callable[[], Census] | None = None  # looks at the host itself, for `verify`
        self.shared_disks = False  # guests' disks are where the cluster's other hosts see them
        self._hypervisors = hypervisors
        self._network = network
        self._machine = machine
        self._period = period
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._guests: dict[str, Guest] = {}  # as applied last
        self._wanted: dict[str, Guest] = {}  # as asked for last
        self._drivers: dict[str, HypervisorDriver] = {}  # guest id -> where it runs
        self._domains: dict[str, str] = {}
        self._gone: dict[str, int] = {}  # domains that were removed -> the number of the reading that said so
        self._capabilities: dict[str, DriverCapabilities] = {}
        self._report: Report | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._started_at = 0.0
        self._adopting: asyncio.Event | None = asyncio.Event()  # until it is known what there is; there may be thousands of agents

    # -- life ------------------------------------------------------------------------------------------------------------------------

    async def start(self, report: Report) -> None:
        """Adopt what runs on the host, report it in full, and go on to report. Probes that take long don't hold this up."""
        self._report = report
        self._started_at = clock.now()
        for driver in self._hypervisors:
            for observed in await driver.start(self._changed):
                self._drivers[observed.id] = driver
            self._guests.update((guest.id, guest) for guest in driver.guests())
        self._domains = await self._network.start(self.metadata_of)
        if self._adopting:
            self._adopting.set()
            self._adopting = None
        probes = [asyncio.ensure_future(driver.probe()) for driver in self._hypervisors]
        if probes:
            await asyncio.wait(probes, timeout=PROBE_PATIENCE)
        for driver, probe in zip(self._hypervisors, probes, strict=True):
            if probe.done():
                await self._keep_probe(driver, probe)
            else:
                self._background(self._await_probe(driver, probe))
        await self._report_all()

    async def close(self) -> None:
        """Stop reporting and let go of the drivers; guests and their traffic go on."""
        self._report = None
        if self._timer:
            self._timer.cancel()
        await end(list(self._tasks))
        for driver in self._hypervisors:
            await driver.close()
        await self._network.close()

    @property
    def hypervisors(self) -> Sequence[HypervisorDriver]:
        """What runs guests here."""
        return self._hypervisors

    def metadata_of(self, guest_id: str) -> dict[str, str] | None:
        """The documents that the metadata service hands to a guest; None when no such guest was ever applied here."""
        guest = self._guests.get(guest_id)
        return guest.metadata if guest else None

    # -- requests --------------------------------------------------------------------------------------------------------------------

    async def handle(self, request: NodeRequest) -> NodeReply:
        """Do what the request says, once it is known what there is already. An error becomes a `Failed`."""
        if self._adopting:
            await self._adopting.wait()
        try:
            return await self._answer(request)
        except PileusError as error:
            return Failed(reason=error.message, detail=str(error.data.get("detail", "")), kind=type(error).__name__)
        except Exception as error:
            log.exception("%s: %s failed", self.host, type(request).__name__)
            return Failed(reason="The host could not do this because of an internal error.", detail=f"{type(error).__name__}: {error}")

    async def _answer(self, request: NodeRequest) -> NodeReply:
        match request:
            case ApplyGuest():
                return await self._apply_guest(request)
            case RemoveGuest(guest_id=guest_id):
                return await self._remove_guest(guest_id)
            case ApplyDomain(domain=domain):
                return await self._apply_domain(domain)
            case RemoveDomain():
                return await self._remove_domain(request)
            case Observe():
                return ReportReply(report=await self._complete())
            case TakeCensus():
                if self.census is None:
                    raise NodeFailed("There is nothing of this host to be looked at: it is simulated.")
                return CensusReply(census=await asyncio.to_thread(self.census))
            case ReadConsoleLog(guest_id=guest_id, lines=lines):
                return ConsoleLog(text=await self._driver_of(guest_id).console_log(guest_id, lines))
            case OpenConsole(guest_id=guest_id, kind=kind):
                return ConsoleEndpoint(path=await self._driver_of(guest_id).console(guest_id, kind))
            case Snapshot(guest_id=guest_id, destination=destination):
                return await self._driver_of(guest_id).snapshot(guest_id, Path(destination))
            case ReadDiagnostics(guest_id=guest_id):
                return DiagnosticsReply(diagnostics=await self._driver_of(guest_id).stats(guest_id))
            case _:
                return await self._answer_move(request)

    async def _answer_move(self, request: NodeRequest) -> NodeReply:
        match request:
            case PrepareIncoming():
                return await self._prepare_incoming(request)
            case StartOutgoing(guest_id=guest_id):
                async with self._turn(guest_id):
                    return MoveReply(progress=await self._driver_of(guest_id).moves.start_outgoing(request))
            case ForecastMove(guest_id=guest_id, options=options):
                found = await self._driver_of(guest_id).moves.forecast(guest_id, options)
                return MoveReply(progress=MoveProgress(phase=MovePhase.UNKNOWN, forecast=found))
            case AskMove(migration_id=migration_id, guest_id=guest_id, connections=wanted):
                driver = self._drivers.get(guest_id)
                progress = await driver.moves.progress(migration_id, guest_id) if driver else MoveProgress(phase=MovePhase.UNKNOWN)
                return MoveReply(progress=progress, connections=await carried.gathered(self._network, guest_id) if wanted else {})
            case ForceMove(migration_id=migration_id, guest_id=guest_id):
                return MoveReply(progress=await self._driver_of(guest_id).moves.force(migration_id, guest_id))
            case CancelMove():
                return await self._cancel_move(request)
            case FinishIncoming():
                return await self._finish_incoming(request)
            case ResumeOutgoing(migration_id=migration_id, guest_id=guest_id):
                async with self._turn(guest_id):
                    return GuestReply(guest=await self._driver_of(guest_id).moves.resume_outgoing(migration_id, guest_id))
            case _:
                raise NodeFailed(f"This host does not know {type(request).__name__}.")

    async def _apply_guest(self, request: ApplyGuest) -> NodeReply:
        guest = request.guest
        async with self._turn(guest.id):
            known = self._wanted.get(guest.id) or self._guests.get(guest.id)
            if known is not None and guest.generation < known.generation:
                return GuestReply(guest=await self._observed(guest.id))
            if guest.made and not self.shared_disks and guest.id not in self._drivers:
                raise NodeFailed(DISKS_LOST)
            before = Asked(wanted=known, applied=self._guests.get(guest.id, known)) if known else None
            self._wanted[guest.id] = guest
            guest = crossed(guest, before, await self._observed(guest.id), request.seen)
            self._guests[guest.id] = guest  # before it boots, so that its first question to the metadata service is answered
            driver = self._drivers.get(guest.id) or self._choose(guest)
            self._drivers[guest.id] = driver
            if driver.starts_stopped and request.domains:
                observed, replies = await self._start_beside(driver, guest, request.domains)
            else:
                replies = [await self._apply_domain(domain, guest.id) for domain in request.domains]
                observed = await driver.apply(guest)
            return GuestReply(guest=observed, domains={one.domain_id: one.digest for one in replies if not one.read_at})

    async def _start_beside(
        self, driver: HypervisorDriver, guest: Guest, domains: list[RoutingDomain]
    ) -> tuple[ObservedGuest, list[DomainReply]]:
        """Have the guest start while its networks are made, from the moment on at which its taps can be opened."""
        taps = asyncio.Event()

        async def connect() -> list[DomainReply]:
            try:
                before = [await self._apply_domain(domain, guest.id) for domain in domains[:-1]]
                return [*before, await self._apply_domain(domains[-1], guest.id, taps.set)]
            finally:
                taps.set()

        network = asyncio.create_task(connect())
        try:
            await taps.wait()
            if network.done():
                network.result()  # a network that can't be made is no guest's error
            observed = await driver.apply(guest, network)
        finally:
            replies = await network
        return observed, replies

    async def _prepare_incoming(self, request: PrepareIncoming) -> NodeReply:
        """The guest is in our books from now on, so that the metadata service answers it from its first moment here."""
        guest = request.guest
        async with self._turn(guest.id):
            known = guest.id in self._guests
            for domain in request.domains:
                await self._apply_domain(domain, guest.id)
            driver = self._drivers.get(guest.id) or self._choose(guest)
            self._drivers[guest.id] = driver
            if not known:
                self._guests[guest.id] = guest
            try:
                return IncomingReady(target=await driver.moves.prepare_incoming(request))
            finally:
                self._forget_what_is_gone(guest.id, driver)

    async def _finish_incoming(self, request: FinishIncoming) -> NodeReply:
        guest = request.guest
        async with self._turn(guest.id):
            driver = self._driver_of(guest.id)
            await carried.tracked(self._network, guest.id, request.connections)
            observed = await driver.moves.finish_incoming(request)
            known = self._wanted.get(guest.id)
            if known is None or known.generation < guest.generation:
                self._wanted[guest.id] = self._guests[guest.id] = guest
            return GuestReply(guest=observed)

    async def _cancel_move(self, request: CancelMove) -> NodeReply:
        """A driver that does not know the guest may have half of it."""
        async with self._turn(request.guest_id):
            driver = self._drivers.get(request.guest_id)
            if driver is None:
                return MoveReply(progress=MoveProgress(phase=MovePhase.UNKNOWN))
            progress = await driver.moves.cancel(request.migration_id, request.guest_id)
            self._forget_what_is_gone(request.guest_id, driver)
            return MoveReply(progress=progress)

    def _forget_what_is_gone(self, guest_id: str, driver: HypervisorDriver) -> None:
        if all(guest.id != guest_id for guest in driver.guests()):
            for book in (self._drivers, self._guests, self._wanted):
                book.pop(guest_id, None)

    async def _remove_guest(self, guest_id: str) -> NodeReply:
        async with self._turn(guest_id):
            for driver in self._hypervisors:  # of each, as a half-made guest is in none of our books
                await driver.remove(guest_id)
            self._drivers.pop(guest_id, None)
            self._guests.pop(guest_id, None)
            self._wanted.pop(guest_id, None)
        return Done()

    async def _apply_domain(self, domain: RoutingDomain, guest_id: str = "", taps: Callable[[], None] | None = None) -> DomainReply:
        """Unless what is here was read later. With a guest, that has the guest's ports, as these were written before any reading that tells
        of them; where it lacks them, the numbers began anew, and the word counts."""
        async with self._turn(domain.id):
            later = self._read_later(domain.id, domain.read_at)
            if later and (not guest_id or self._has_ports(domain, guest_id)):
                return DomainReply(domain_id=domain.id, digest=self._domains.get(domain.id, ""), read_at=later)
            digest = await self._network.apply(domain, taps)
            self._domains[domain.id] = digest
            self._gone.pop(domain.id, None)
            return DomainReply(domain_id=domain.id, digest=digest)

    def _has_ports(self, domain: RoutingDomain, guest_id: str) -> bool:
        """Whether the domain that is here is in place, with all that this word says of the guest's ports."""
        own = {port.id for port in domain.ports if port.local and port.guest_id == guest_id}
        return bool(self._domains.get(domain.id)) and own <= self._network.ports_of(guest_id).keys()

    async def _remove_domain(self, request: RemoveDomain) -> NodeReply:
        domain_id = request.domain_id
        async with self._turn(domain_id):
            if later := self._read_later(domain_id, request.read_at):
                return DomainReply(domain_id=domain_id, digest=self._domains.get(domain_id, ""), read_at=later)
            await self._network.remove(domain_id)
            self._domains.pop(domain_id, None)
            self._gone[domain_id] = request.read_at
            if len(self._gone) > GONE_KEPT:
                del self._gone[next(iter(self._gone))]
        return Done()

    def _read_later(self, domain_id: str, read_at: int) -> int:
        """The number of the word on a domain that was heeded last, if it was read later than this one; else 0."""
        known = max(self._network.read_at(domain_id), self._gone.get(domain_id, 0))
        return known if 0 < read_at < known else 0

    def _choose(self, guest: Guest) -> HypervisorDriver:
        """The first driver that says it runs such guests; with a single driver, that one."""
        if len(self._hypervisors) == 1:
            return self._hypervisors[0]
        for driver in self._hypervisors:
            found = self._capabilities.get(driver.name)
            if found and guest.architecture in found.architectures and guest.vm_mode in found.modes:
                return driver
        raise NodeFailed(f"No hypervisor of this host runs {guest.vm_mode} guests of architecture {guest.architecture}.")

    def _driver_of(self, guest_id: str) -> HypervisorDriver:
        driver = self._drivers.get(guest_id)
        if driver is None:
            raise NotFound(f"There is no guest {guest_id} on this host.")
        return driver

    async def _observed(self, guest_id: str) -> ObservedGuest:
        if driver := self._drivers.get(guest_id):
            for observed in await driver.observe():
                if observed.id == guest_id:
                    return observed
        return ObservedGuest(id=guest_id, power=ObservedPower.ABSENT)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        """One request at a time for a guest or a domain, in the order of arrival."""
        lock, waiting = self._turns.get(key) or (asyncio.Lock(), 0)
        self._turns[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            waiting = self._turns[key][1] - 1
            if waiting:
                self._turns[key] = (lock, waiting)
            else:
                del self._turns[key]

    # -- reports ---------------------------------------------------------------------------------------------------------------------

    def _changed(self, observed: ObservedGuest) -> None:
        """A driver saw a guest change by itself: say so at once."""
        if self._report:
            self._report(self._head(guests=[observed], domains={}, complete=False))

    async def _complete(self) -> HostReport:
        guests = [observed for driver in self._hypervisors for observed in await driver.observe()]
        self._domains = await self._network.observe()
        return self._head(guests=guests, domains=dict(self._domains), complete=True)

    def _head(self, guests: list[ObservedGuest], domains: dict[str, str], complete: bool) -> HostReport:
        memory, disk = self._machine.used(self._guests.values())
        return HostReport(
            host=self.host,
            address=self.address,
            version=pileus.__version__,
            started_at=self._started_at,
            reported_at=clock.now(),
            vcpus=self._machine.vcpus,
            memory_mib=self._machine.memory_mib,
            disk_gib=self._machine.disk_gib,
            numa=self._machine.numa,
            memory_used_mib=memory,
            disk_used_gib=disk,
            capabilities=list(self._capabilities.values()),
            guests=guests,
            domains=domains,
            complete=complete,
            cluster=self.cluster,
            shared_disks=self.shared_disks,
        )

    def report_soon(self) -> None:
        """Send a complete report now: what was said while nobody heard it is said again."""
        self._background(self._report_all())

    async def _report_all(self) -> None:
        """Send a complete report and set the clock for the next."""
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._period, lambda: self._background(self._report_all()))
        try:
            report = await self._complete()
        except Exception:
            log.exception("%s: no complete report", self.host)
            return
        if self._report:
            self._report(report)

    async def _await_probe(self, driver: HypervisorDriver, probe: "asyncio.Future[DriverCapabilities]") -> None:
        await self._keep_probe(driver, probe)
        await self._report_all()

    async def _keep_probe(self, driver: HypervisorDriver, probe: "asyncio.Future[DriverCapabilities]") -> None:
        """A driver whose probe fails offers nothing; the host reports all the same."""
        try:
            self._capabilities[driver.name] = await probe
        except (PileusError, OSError) as error:
            log.error("%s: the hypervisor %s can't be used: %s", self.host, driver.name, error)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
