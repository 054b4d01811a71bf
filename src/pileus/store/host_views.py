"""Hosts as a placement sees them, in memory: the operator's columns of `hosts`, and what their providers have and use.

Brought up to date before each use: providers by their epoch, hosts by `updated_at`, silence by an index on `seen_at`. Everything is
compared anew now and then, in case the clocks of two writers differ. What is here may be late, never wrong for long: a claim is
written only where the provider still has the generation that was seen.
"""

import asyncio
from collections.abc import Iterable
from sys import intern
from weakref import WeakKeyDictionary

import msgspec

from pileus.core.placement_hosts import Hosts
from pileus.model.base import Model
from pileus.model.hosts import NumaNode
from pileus.model.placement import Cell, HostState, HostView, Inventory, Provider
from pileus.store.database import Database, Row
from pileus.store.provider_view import view_of

RELOAD = 60.0
RECHECK, CLOCKS = 5.0, 30.0
"""How often rows are read again that may have been changed by a clock that is behind, and by how much."""
CHUNK = 500
COLUMNS = "SELECT id, name, cluster, availability_zone, enabled, disabled_reason, forced_down, updated_at FROM hosts"
RATIOS = {"cpu_allocation_ratio": "VCPU", "ram_allocation_ratio": "MEMORY_MB", "disk_allocation_ratio": "DISK_GB"}
Metadata = dict[str, dict[str, str]]


class _Topology(Model, frozen=True, kw_only=True):
    """The part of a report that is not in the provider."""

    numa: list[NumaNode] = []


TOPOLOGY = msgspec.json.Decoder(_Topology)


class HostViews:
    """The hosts of one database."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.hosts = Hosts()
        self._rows: dict[str, Row] = {}
        self._cells: dict[str, tuple[Cell, ...]] = {}
        self._silent: set[str] = set()
        self._metadata: Metadata = {}
        self._updated = 0.0
        self._epoch = 0
        self._removals = 0
        self._reloaded = float("-inf")
        self._rechecked = float("-inf")
        self._touched: set[str] = set()
        self._traits: dict[frozenset[str], frozenset[str]] = {}
        self._lock = asyncio.Lock()

    async def refresh(self, now: float, silence: float, metadata: Metadata) -> Hosts:
        """The hosts as they are at `now`; one that has not reported for `silence` seconds is down. `metadata` is that of each aggregate."""
        async with self._lock:
            view = await view_of(self.db)
            epoch = view.epoch  # others may bring the view further while we wait for the database
            touched, self._touched = self._touched, set()
            if now - self._reloaded >= RELOAD:
                self._reloaded = self._rechecked = now
                touched |= await self._reload()
            else:
                again = now - self._rechecked >= RECHECK
                since = min(self._updated, now - CLOCKS) if again else self._updated
                self._rechecked = now if again else self._rechecked
                touched |= await self._note(await self.db.all(f"{COLUMNS} WHERE updated_at > ?", since))
            if metadata != self._metadata:
                self._metadata = metadata
                touched |= self._rows.keys()
            silent = {row[0] for row in await self.db.all("SELECT id FROM hosts WHERE seen_at < ?", now - silence)}
            touched |= silent ^ self._silent
            self._silent = silent
            touched |= {row[0] for row in await self.db.all("SELECT id FROM resource_providers WHERE changed > ?", self._epoch)}
            self._epoch = epoch
            if view.removals != self._removals:
                self._removals = view.removals
                touched |= {host_id for host_id in self._rows if host_id not in view.forest.providers}
            new = [host_id for host_id in touched if host_id in view.forest.providers and host_id not in self._rows]
            if new:  # registered by a clock that is behind
                await self._note(await self._of(COLUMNS, new))
            for host_id in touched:
                self._put(host_id, view.forest.providers.get(host_id))
            return self.hosts

    def assume(self, provider_id: str, name: str, resources: dict[str, int]) -> None:
        """Count a claim that is about to be written, so that the next choice knows of it; the next refresh sees what became of it."""
        view = self.hosts.by_name[name]
        stocks = tuple((kind, inventory, used + resources.get(kind, 0)) for kind, inventory, used in view.state.stocks)
        state = msgspec.structs.replace(view.state, stocks=stocks)
        self.hosts.put(HostView(id=view.id, name=name, generation=view.generation, state=state))
        self._touched.add(provider_id)

    async def _of(self, select: str, host_ids: Iterable[str]) -> list[Row]:
        wanted = list(host_ids)
        found: list[Row] = []
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            found += await self.db.all(f"{select} WHERE id IN ({', '.join('?' * len(part))})", *part)
        return found

    async def _reload(self) -> set[str]:
        rows = await self.db.all(COLUMNS)
        gone = self._rows.keys() - {row[0] for row in rows}
        for host_id in gone:
            self.hosts.drop(self._rows.pop(host_id)[1])
        return await self._note(rows)

    async def _note(self, rows: list[Row]) -> set[str]:
        """Take rows over; the ids of those that are news."""
        news = {row[0]: _lean(row) for row in rows if self._rows.get(row[0]) != tuple(row)}
        for host_id, row in news.items():
            known = self._rows.get(host_id)
            if known is not None and known[1] != row[1]:
                self.hosts.drop(known[1])
        self._rows.update(news)
        self._updated = max(self._updated, *(row[-1] for row in news.values())) if news else self._updated
        for host_id, report in await self._of("SELECT id, report FROM hosts", news):
            nodes = TOPOLOGY.decode(report).numa if report else []
            self._cells[host_id] = tuple(Cell(cpus=node.cpus, memory_mib=node.memory_mib) for node in nodes)
        return set(news)

    def _put(self, host_id: str, provider: Provider | None) -> None:
        row = self._rows.get(host_id)
        if row is None:
            return
        _, name, cluster, zone, enabled, reason, forced_down, _ = row
        if provider is None:
            self.hosts.drop(name)
            return
        pairs = frozenset(pair for one in provider.aggregates for pair in self._metadata.get(one, {}).items())
        traits = frozenset(provider.traits)
        state = HostState(
            zone=zone,
            cluster=cluster,
            enabled=bool(enabled),
            disabled_reason=reason or "",
            up=host_id not in self._silent and not forced_down,
            traits=self._traits.setdefault(traits, traits),
            aggregates=frozenset(provider.aggregates),
            metadata=pairs,
            stocks=stocks_of(provider, pairs),
            cells=self._cells.get(host_id, ()),
        )
        self.hosts.put(HostView(id=provider.id, name=name, generation=provider.generation, state=state))


def _lean(row: Row) -> Row:
    """The row; the names of its cluster and zone are those of many."""
    host_id, name, cluster, zone, *rest = row
    return (host_id, name, intern(cluster), intern(zone), *rest)


def stocks_of(provider: Provider, metadata: Iterable[tuple[str, str]]) -> tuple[tuple[str, Inventory, int], ...]:
    """What a host has and what is used of it. An aggregate's ratio narrows the provider's own; of several the least counts."""
    least: dict[str, float] = {}
    for key, text in metadata:
        if key in RATIOS:
            ratio = _ratio(text)
            least[RATIOS[key]] = min(ratio, least.get(RATIOS[key], ratio))
    found: list[tuple[str, Inventory, int]] = []
    for name in sorted(provider.inventories):
        inventory = provider.inventories[name]
        if least.get(name, inventory.allocation_ratio) < inventory.allocation_ratio:
            inventory = msgspec.structs.replace(inventory, allocation_ratio=least[name])
        found.append((name, inventory, provider.used.get(name, 0)))
    return tuple(found)


def _ratio(text: str) -> float:
    """A ratio as somebody wrote it into an aggregate's metadata; what is no number changes nothing."""
    try:
        ratio = float(text)
    except ValueError:
        return float("inf")
    return ratio if ratio > 0 else float("inf")


_views: "WeakKeyDictionary[Database, HostViews]" = WeakKeyDictionary()


def views_of(db: Database) -> HostViews:
    """The views of a database."""
    views = _views.get(db)
    if views is None:
        views = _views[db] = HostViews(db)
    return views


async def hosts_of(db: Database, now: float, silence: float, metadata: Metadata | None = None) -> Hosts:
    """Every host, for `core.placement.choose`. `metadata` is that of the aggregates, by their id."""
    return await views_of(db).refresh(now, silence, metadata or {})
