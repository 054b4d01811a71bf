"""Takes complete reports into the records of hosts: new ones many at a time, and those that say nothing new as a time in a batch."""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Mapping
from itertools import islice

import msgspec

from pileus.config import Config
from pileus.core.servers import LOST_AFTER
from pileus.model.base import Model
from pileus.model.hosts import Host, HostReport
from pileus.store import admissions, providers
from pileus.store.database import Database, Transaction
from pileus.store.hosts import HOSTS

log = logging.getLogger(__name__)
TOGETHER = 500
FULL_EVERY = 600.0
"""Seconds after which a host's report is recorded in full though it says nothing new."""
SEEN = "UPDATE hosts SET seen_at = ? WHERE name = ? AND seen_at < ?"


class _Said(Model, frozen=True, kw_only=True):
    """What a host has said in full: `since` when, and when it was last recorded."""

    digest: bytes
    since: float
    recorded_at: float


class HostRegistry:
    """The hosts of one process's reports."""

    def __init__(self, db: Database, config: Config) -> None:
        self.db = db
        self.config = config
        self._turn = asyncio.Lock()
        self._done: dict[str, HostReport] = {}  # registered, their guests not recorded yet
        self._said: dict[str, _Said] = {}
        self._seen: dict[str, float] = {}
        self._shut_out: set[str] = set()  # removed, and reported all the same

    # -- reports that say nothing new --------------------------------------------------------------------------------------------------

    def is_repeated(self, report: HostReport) -> bool:
        """Whether all that a report says is on record, so that only its time counts. Then that is noted for `flush`.

        Not before it was recorded some time after it was first said: a guest counts as gone only then (LOST_AFTER).
        """
        said = self._said.get(report.host)
        if said is None or not report.complete or any(guest.migration for guest in report.guests):
            return False
        at = report.reported_at
        last = max(said.recorded_at, self._seen.get(report.host, 0.0))
        if at < last:  # the clock was set back: what was seen in its future counts no more
            return False
        fresh = at - last < self.config.node_silence and at - said.recorded_at < FULL_EVERY
        if not fresh or said.recorded_at - said.since <= LOST_AFTER or said.digest != digest(report):
            return False
        self._seen[report.host] = at
        return True

    def note(self, report: HostReport) -> None:
        """A report has been recorded with its guests."""
        self._done.pop(report.host, None)
        if not report.complete:
            self._said.pop(report.host, None)
            return
        said, now = self._said.get(report.host), digest(report)
        since = said.since if said is not None and said.digest == now else report.reported_at
        self._said[report.host] = _Said(digest=now, since=since, recorded_at=report.reported_at)

    async def flush(self) -> None:
        """Write when the hosts were seen that had nothing new to say."""
        seen, self._seen = self._seen, {}
        if seen:
            rows = [(at, name, at) for name, at in sorted(seen.items())]
            await self.db.write(lambda tx: tx.many(SEEN, rows))

    # -- reports that do -----------------------------------------------------------------------------------------------------------------

    async def register(self, report: HostReport, waiting: Mapping[str, list[HostReport]]) -> bool:
        """Bring a host's records in line with its report, and with it those of others whose reports wait. False: it was removed."""
        async with self._turn:
            if self._done.get(report.host) is report:
                return report.host not in self._shut_out
            first = (one[0] for one in waiting.values())
            others = (one for one in first if one.complete and one.host != report.host and self._done.get(one.host) is not one)
            batch = [report, *islice(others, TOGETHER - 1)]
            await self.db.write(lambda tx: self._write(tx, batch))
            for one in batch:
                self._done[one.host] = one
            return report.host not in self._shut_out

    async def _write(self, tx: Transaction, reports: list[HostReport]) -> None:
        marks = ", ".join("?" * len(reports))
        known = {host.name: host for host in await HOSTS.find(tx, f"name IN ({marks})", *(one.host for one in reports))}
        number = int(await tx.value("SELECT coalesce(max(number), 0) FROM hosts"))
        fresh: list[Host] = []
        registered: list[tuple[str, HostReport]] = []
        shut_out = await admissions.shut_out(tx, [one.host for one in reports if one.host not in known])
        self._shut_out = self._shut_out - {one.host for one in reports} | shut_out
        for report in reports:
            if report.host in shut_out:
                log.warning("host %s was removed, and reports all the same; that is dropped", report.host)
                continue
            slim = msgspec.structs.replace(report, guests=[])
            host = known.get(report.host)
            if host is None:
                number += 1
                host = _new_host(slim, number)
                fresh.append(host)
            else:
                await HOSTS.set(tx, host.id, **_news(host, slim))
            registered.append((host.id, report))
        await HOSTS.insert_many(tx, fresh)
        reserved = {"MEMORY_MB": self.config.reserved_memory_mib}
        await providers.register_hosts(tx, registered, ratios=ratios(self.config), reserved=reserved)


def _new_host(report: HostReport, number: int) -> Host:
    return Host(
        id=str(uuid.uuid4()),
        created_at=report.reported_at,
        updated_at=report.reported_at,
        name=report.host,
        number=number,
        service_id=str(uuid.uuid4()),
        cluster=report.cluster,
        seen_at=report.reported_at,
        report=report,
    )


def _news(host: Host, report: HostReport) -> dict[str, object]:
    """What a report changes of a host's row. What placements look at moves `updated_at`, by which they notice."""
    changes: dict[str, object] = {"report": report, "seen_at": report.reported_at}
    before = host.report
    if before is None or (before.cluster, before.numa) != (report.cluster, report.numa) or host.cluster != report.cluster:
        changes |= {"cluster": report.cluster, "updated_at": report.reported_at}
    return changes


def digest(report: HostReport) -> bytes:
    """The same for reports that differ in their time alone."""
    return hashlib.blake2b(msgspec.json.encode(msgspec.structs.replace(report, reported_at=0.0)), digest_size=16).digest()


def ratios(config: Config) -> dict[str, float]:
    """The overcommit ratios that a new host's inventories start with."""
    return {
        "VCPU": config.cpu_allocation_ratio,
        "MEMORY_MB": config.memory_allocation_ratio,
        "DISK_GB": config.disk_allocation_ratio,
    }
