"""Hosts: what their nodes report goes into the store, and what changed wakes the servers that it is about."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from pileus.bus.local import Bus
from pileus.config import Config
from pileus.core.servers import LOST_AFTER, Next
from pileus.model.errors import NodeFailed, Unavailable
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.hosts import Host, HostReport
from pileus.model.messages import Observe, RemoveGuest, ReportReply
from pileus.reconcile.host_registry import HostRegistry
from pileus.reconcile.observations import record
from pileus.reconcile.scope import EVERYTHING
from pileus.store import migration_records, servers
from pileus.store.database import Database, Transaction
from pileus.store.hosts import HOSTS

log = logging.getLogger(__name__)
Wake = Callable[[str, str], None]
FLUSH = 2.0  # seconds between writes of the times at which hosts with nothing new to say were seen
OBSERVED_WITHIN = 10.0


class Hosts:
    """Takes reports as they come; its step brings one host's records in line with its newest report."""

    name = "hosts"
    scope = EVERYTHING

    def __init__(self, db: Database, bus: Bus, config: Config, wake: Wake) -> None:
        self.db = db
        self.bus = bus
        self.config = config
        self.wake = wake
        self.domains: dict[str, dict[str, str]] = {}  # host -> routing domain -> digest, as last reported
        self.came: Callable[[], None] = lambda: None  # called when a host has come, or has come back
        self._reports: dict[str, list[HostReport]] = {}
        self._started: dict[str, float] = {}
        self.registry = HostRegistry(db, config)
        self._flush: asyncio.TimerHandle | None = None

    def receive(self, report: HostReport) -> None:
        """A report came in; called from the event loop."""
        if not self.scope.hears(report.cluster):
            return
        if not self._reports.get(report.host) and self._started.get(report.host) == report.started_at and self.registry.is_repeated(report):
            self._flush_later(report.host)
            return
        self._reports[report.host] = merged(self._reports.get(report.host, []), report)
        self.wake(self.name, report.host)
        if self._started.get(report.host) != report.started_at:
            self._started[report.host] = report.started_at
            self.came()

    def _flush_later(self, host: str) -> None:
        """Have the times written at which hosts were seen, those of some moments together."""
        if self._flush is None or self._flush.when() < asyncio.get_running_loop().time():
            self._flush = asyncio.get_running_loop().call_later(min(FLUSH, self.config.node_silence / 10), self.wake, self.name, host)

    async def scan(self) -> list[str]:
        """Hosts whose reports wait."""
        return list(self._reports)

    async def step(self, host: str) -> float | None:
        """Record what the host reported. A report waits until it is recorded."""
        await self.registry.flush()
        while waiting := self._reports.get(host):
            report = waiting[0]
            if report.complete:
                if not await self.registry.register(report, self._reports):
                    self._reports.pop(host, None)
                    return None
                self.domains[host] = report.domains
            await self._record(report)
            self.registry.note(report)
            left = [one for one in self._reports[host] if one is not report]
            if left:
                self._reports[host] = left
            else:
                del self._reports[host]
        return None

    async def _record(self, report: HostReport) -> None:
        placed = {server.id: server for server in await servers.placed_on(self.db, report.host)}
        for guest in report.guests:
            if guest.migration:  # on its way: it is not its own master, and what it does is the move's to know
                self.wake("migrations", guest.migration)
        settled = [guest for guest in report.guests if not guest.migration]
        changed = [guest for guest in settled if guest.id in placed and placed[guest.id].observed != guest]
        if report.complete:
            changed += missing(placed, report)
        if changed:
            await self.db.write(lambda tx: _record_all(tx, changed, report.reported_at))
        for guest in changed:
            self.wake("servers", guest.id)
            if (resize := placed[guest.id].resize) is not None:
                self.wake("migrations", resize.migration)
        if report.complete:  # the host is there: what waited for it goes on
            for server in placed.values():
                if server.next_step != Next.NOTHING:
                    self.wake("servers", server.id)
            for migration in await migration_records.of_host(self.db, report.host):
                self.wake("migrations", migration.id)
                self.wake("availability", report.host)  # to which an evacuation may have left something to remove
        for guest in report.guests:
            if guest.id not in placed:
                await self._collect(report.host, guest)

    async def _collect(self, host: str, guest: ObservedGuest) -> None:
        """A guest that is no longer this host's: removed when the records say so; one that no record knows is left for `verify`.

        What a move keeps on either side is the move's to remove. What should be on another host goes only once that host has it:
        records that are older than the guest's last move, as after going back to a copy of the database, must not cost its disks.
        """
        if any(host in (one.source, one.destination) for one in await migration_records.alive_of(self.db, guest.id)):
            return
        server = await servers.SERVERS.get(self.db, guest.id)
        if server is None:
            return
        if server.removed_at is None and server.host in (None, host):
            return
        if server.removed_at is not None or await self._has(str(server.host), guest.id):
            await self.bus.request(host, RemoveGuest(guest_id=guest.id))
        else:
            log.warning("host %s has guest %s, which host %s should have and has not: it is left as it is", host, guest.id, server.host)

    async def _has(self, host: str, guest_id: str) -> bool:
        """Whether a host says that it has a guest. One that can't be asked is asked again after a while (FULL_EVERY)."""
        try:
            reply = await self.bus.request(host, Observe(), OBSERVED_WITHIN)
        except (Unavailable, NodeFailed):
            return False
        assert isinstance(reply, ReportReply)  # the bus gives what the request asks for
        return any(one.id == guest_id and one.power != ObservedPower.ABSENT for one in reply.report.guests)


def missing(placed: dict[str, servers.Placed], report: HostReport) -> list[ObservedGuest]:
    """Guests that were seen on the host before and are not in its complete report (which is older than nothing we know since)."""
    present = {guest.id for guest in report.guests}
    return [
        msgspec.structs.replace(server.observed, power=ObservedPower.ABSENT, pid=None)
        for server in placed.values()
        if server.observed is not None
        and server.id not in present
        and server.observed.power != ObservedPower.ABSENT
        and server.updated_at < report.reported_at - LOST_AFTER
    ]


def merged(waiting: list[HostReport], report: HostReport) -> list[HostReport]:
    """What is left to record once a report has come: a complete one says all that those before it said, a later word on a guest
    takes the place of an earlier one. However many come, no more wait than the host has guests."""
    if report.complete:
        return [report]
    news = {guest.id for guest in report.guests}
    return [one for one in waiting if one.complete or not {guest.id for guest in one.guests} <= news] + [report]


async def _record_all(tx: Transaction, guests: list[ObservedGuest], at: float) -> None:
    for guest in guests:
        await record(tx, guest.id, guest, at)


async def wait_for_host(db: Database, name: str, timeout: float = 60.0) -> Host:
    """The host's record, once it has reported."""
    async with asyncio.timeout(timeout):
        while True:
            host = await HOSTS.first(db, "name = ?", name)
            if host is not None and host.report is not None:
                return host
            await asyncio.sleep(0.02)
