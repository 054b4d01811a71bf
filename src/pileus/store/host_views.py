"""Hosts as a placement sees them, in memory: the operator's columns of `hosts`, and what their providers have and use.

Brought up to date before each use: providers by their epoch, hosts by `updated_at`, silence by an index on `seen_at`. Everything is
read anew every few seconds, in case the clocks of two writers differ.
"""

import asyncio
from weakref import WeakKeyDictionary

from pileus.core.placement_hosts import Hosts
from pileus.model.base import Model
from pileus.model.placement import HostState, HostView, Provider
from pileus.store.database import Database, Row
from pileus.store.provider_view import view_of

RELOAD = 5.0
COLUMNS = "SELECT id, name, availability_zone, enabled, disabled_reason, forced_down, updated_at FROM hosts"
Metadata = dict[str, dict[str, str]]


class _Operated(Model, frozen=True, kw_only=True):
    """What an operator says of a host."""

    id: str
    name: str
    zone: str
    enabled: bool
    disabled_reason: str
    forced_down: bool


class HostViews:
    """The hosts of one database."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.hosts = Hosts()
        self._operated: dict[str, _Operated] = {}
        self._silent: set[str] = set()
        self._metadata: Metadata = {}
        self._updated = 0.0
        self._epoch = 0
        self._reloaded = float("-inf")
        self._lock = asyncio.Lock()

    async def refresh(self, now: float, silence: float, metadata: Metadata) -> Hosts:
        """The hosts as they are at `now`; one that has not reported for `silence` seconds is down. `metadata` is that of each aggregate."""
        async with self._lock:
            view = await view_of(self.db)
            epoch = view.epoch  # others may bring the view further while we wait for the database
            if now - self._reloaded >= RELOAD or metadata != self._metadata:
                self._reloaded, self._metadata = now, metadata
                touched = await self._reload()
            else:
                touched = self._note(await self.db.all(f"{COLUMNS} WHERE updated_at > ?", self._updated))
            silent = {row[0] for row in await self.db.all("SELECT id FROM hosts WHERE seen_at < ?", now - silence)}
            touched |= silent ^ self._silent
            self._silent = silent
            touched |= {row[0] for row in await self.db.all("SELECT id FROM resource_providers WHERE changed > ?", self._epoch)}
            self._epoch = epoch
            for host_id in touched:
                if host_id in view.forest.providers and host_id not in self._operated:  # new, and registered by a clock that is behind
                    self._note(await self.db.all(f"{COLUMNS} WHERE id = ?", host_id))
                self._put(host_id, view.forest.providers.get(host_id))
            return self.hosts

    async def _reload(self) -> set[str]:
        before = dict(self._operated)
        self._operated.clear()
        self._note(await self.db.all(COLUMNS))
        for host_id in before.keys() - self._operated.keys():
            self.hosts.drop(before[host_id].name)
        return set(self._operated)

    def _note(self, rows: list[Row]) -> set[str]:
        for host_id, name, zone, enabled, reason, forced_down, updated_at in rows:
            self._operated[host_id] = _Operated(
                id=host_id, name=name, zone=zone, enabled=bool(enabled), disabled_reason=reason or "", forced_down=bool(forced_down)
            )
            self._updated = max(self._updated, updated_at)
        return {row[0] for row in rows}

    def _put(self, host_id: str, provider: Provider | None) -> None:
        host = self._operated.get(host_id)
        if host is None:
            return
        if provider is None:
            self.hosts.drop(host.name)
            return
        pairs = frozenset(pair for one in provider.aggregates for pair in self._metadata.get(one, {}).items())
        state = HostState(
            zone=host.zone,
            enabled=host.enabled,
            disabled_reason=host.disabled_reason,
            up=host_id not in self._silent and not host.forced_down,
            traits=frozenset(provider.traits),
            aggregates=frozenset(provider.aggregates),
            metadata=pairs,
            stocks=tuple((name, provider.inventories[name], provider.used.get(name, 0)) for name in sorted(provider.inventories)),
        )
        self.hosts.put(HostView(id=provider.id, name=host.name, generation=provider.generation, state=state))


_views: "WeakKeyDictionary[Database, HostViews]" = WeakKeyDictionary()


async def hosts_of(db: Database, now: float, silence: float, metadata: Metadata | None = None) -> Hosts:
    """Every host, for `core.placement.choose`. `metadata` is that of the aggregates, by their id."""
    views = _views.get(db)
    if views is None:
        views = _views[db] = HostViews(db)
    return await views.refresh(now, silence, metadata or {})
