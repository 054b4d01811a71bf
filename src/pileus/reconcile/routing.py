"""Routing domains: each host that needs one is told what it looks like now, and forgets the ones that it needs no more.

A step's id is a network's, a router's or a domain's; `host/domain` says that the host may have something older than what was sent last.
What was sent is remembered in this process only: after a start everything is sent again, which a host that has it takes in stride.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

from pileus.bus.local import Bus
from pileus.core.routing import Component, DomainRows, digest, domain_on, gateway_host, hosts_of
from pileus.model.errors import Conflict
from pileus.model.hosts import Host
from pileus.model.messages import ApplyDomain, DomainReply, RemoveDomain
from pileus.model.routing import RoutingDomain
from pileus.store import routing
from pileus.store.database import Database
from pileus.store.hosts import every_host
from pileus.store.network_status import record_realized

Wake = Callable[[str, str], None]
PAUSE = 0.05  # seconds between two steps of one id: a burst of changes is told at once


class Routing:
    """Keeps every host's domains as the store says."""

    name = "routing"

    def __init__(self, db: Database, bus: Bus, wake: Wake, physical: Mapping[str, str] = routing.HOST_ONLY) -> None:
        self.db = db
        self.bus = bus
        self.wake = wake
        self.physical = physical
        self.sent: dict[tuple[str, str], str] = {}  # (host, domain) -> our digest of what was applied last
        self.replied: dict[tuple[str, str], str] = {}  # the host's own digest of that
        self._contents: dict[tuple[str, str], tuple[str, ...]] = {}  # the domain's networks then
        self._snapshots: dict[tuple[str, str], int] = {}  # (host, network or domain) -> number of the newest snapshot that was sent
        self._changed_at: dict[tuple[str, str], float] = {}  # when a host's domain was applied or removed; older reports say nothing of it
        self._number = 0
        self._fresh: dict[Component, tuple[DomainRows, str | None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._stepped: dict[str, float] = {}

    async def scan(self) -> list[str]:
        """What was not sent yet, and domains that a host reports otherwise than we know them."""
        ids: set[str] = set()
        known = {domain for _, domain in self.sent} | {network for contents in self._contents.values() for network in contents}
        for id in await routing.realizable(self.db):
            if id not in known:
                ids.add(id)
        ids.update(await routing.waiting(self.db))
        for host in await every_host(self.db):
            reported = host.report.domains if host.report else {}
            mine = {domain: seen for (name, domain), seen in self.replied.items() if name == host.name}
            for domain in reported.keys() | mine.keys():
                if reported.get(domain) != mine.get(domain) and self._is_news(host, domain):
                    ids.add(f"{host.name}/{domain}")
        return sorted(ids)

    async def step(self, id: str) -> float | None:
        """Bring the domain that holds a network or router to the hosts that need it; remove what took its place before."""
        host, slash, domain_id = id.rpartition("/")
        if slash:  # forget, and look at the domain once for all hosts of which this is said
            self.sent.pop((host, domain_id), None)
            self.wake(self.name, domain_id)
            return None
        since = time.monotonic() - self._stepped.get(id, -PAUSE)
        if since < PAUSE:
            return PAUSE - since
        self._stepped[id] = time.monotonic()
        self._number += 1
        number = self._number
        component = await routing.component_of(self.db, domain_id)
        old = {domain_id}
        needed: set[str] = set()
        if component is not None:
            old |= {*component.networks, *component.routers}
            needed = await self._apply_everywhere(component, number)
        await self._remove_old(old, component, needed, number)
        if component is None:
            self._stepped.pop(id, None)
        return None

    async def _apply_everywhere(self, component: Component, number: int) -> set[str]:
        rows = await routing.load(self.db, component)
        hosts = await routing.host_names(self.db)
        needed = hosts_of(component, rows, hosts)
        gateway = gateway_host(component.id, hosts)
        wanted = {host: domain_on(component, rows, host, gateway == host, self.physical) for host in sorted(needed)}
        news = [host for host, domain in wanted.items() if self.sent.get((host, domain.id)) != digest(domain)]
        results = await asyncio.gather(*(self._apply(host, component, number) for host in news), return_exceptions=True)
        failed = [one for one in results if isinstance(one, BaseException)]
        await self._record(component, rows, bool(hosts) and not failed)
        if failed:
            raise failed[0]
        return needed

    async def _apply(self, host: str, component: Component, number: int) -> None:
        """Tell a host what its domain is to be, from what the store says at the moment of telling: a server's own apply, which brings the
        domain as well, may have come in while we waited for our turn, and what we had read before would take its new tap away."""
        parts = [(host, component.id), *((host, network) for network in component.networks)]
        async with self._lock(host):
            domain = await self._domain_now(host, component)
            wanted = digest(domain)
            if any(self._snapshots.get(part, 0) > number for part in parts) or self.sent.get((host, domain.id)) == wanted:
                return
            reply = await self.bus.request(host, ApplyDomain(domain=domain))
            for part in parts:
                self._snapshots[part] = number
            self.sent[host, domain.id] = wanted
            self._changed_at[host, domain.id] = time.time()
            self._contents[host, domain.id] = tuple(network.id for network in domain.networks)
            if isinstance(reply, DomainReply):
                self.replied[host, domain.id] = reply.digest

    async def _domain_now(self, host: str, component: Component) -> RoutingDomain:
        fresh = self._fresh.get(component)
        if fresh is None:
            if await routing.component_of(self.db, component.id) != component:
                raise Conflict(f"The routing domain {component.id} has changed meanwhile.", stale=True)
            fresh = await routing.load(self.db, component), gateway_host(component.id, await routing.host_names(self.db))
            self._fresh[component] = fresh  # for the other hosts that are told in this turn of the event loop, no longer
            asyncio.get_running_loop().call_soon(self._fresh.pop, component, None)
        rows, gateway = fresh
        return domain_on(component, rows, host, gateway == host, self.physical)

    async def _record(self, component: Component, rows: DomainRows, realized: bool) -> None:
        """Ports of routers and DHCP, and floating addresses, are ACTIVE once every host that needs them has them; where no guest needs them
        yet, nothing stands in their way."""
        status = "ACTIVE" if realized else "DOWN"
        own = [port.id for port in rows.ports if port.device_owner.startswith("network:") and port.status != status]
        floating = [one.id for one in rows.floating_ips if one.status != status]
        if own or floating:
            await self.db.write(lambda tx: record_realized(tx, own, floating, status))

    async def _remove_old(self, old: set[str], component: Component | None, needed: set[str], number: int) -> None:
        for host, domain_id in await self._present(old):
            if component is not None and domain_id == component.id and host in needed:
                continue
            await self._apply_successors(host, domain_id, number)
            async with self._lock(host):
                if self._snapshots.get((host, domain_id), 0) > number:
                    continue
                await self.bus.request(host, RemoveDomain(domain_id=domain_id))
                for known in (self.sent, self.replied, self._contents):
                    known.pop((host, domain_id), None)
                self._snapshots[host, domain_id] = number
                self._changed_at[host, domain_id] = time.time()

    async def _present(self, ids: set[str]) -> list[tuple[str, str]]:
        """(host, domain) of these domains, as sent or reported."""
        found = {pair for pair in self.sent if pair[1] in ids}
        for host in await every_host(self.db):
            for domain in host.report.domains if host.report else {}:
                if domain in ids and self._is_news(host, domain):
                    found.add((host.name, domain))
        return sorted(found)

    async def _apply_successors(self, host: str, domain_id: str, number: int) -> None:
        """Before a domain goes, the ones that its networks are in now are there: a guest's tap moves over, it is never lost."""
        contents = self._contents.get((host, domain_id))
        components = await (routing.components_on(self.db, host) if contents is None else routing.components_of(self.db, list(contents)))
        hosts = await routing.host_names(self.db)
        for component in components:
            rows = await routing.load(self.db, component)
            if component.id != domain_id and host in hosts_of(component, rows, hosts):
                await self._apply(host, component, number)

    def _is_news(self, host: Host, domain_id: str) -> bool:
        """Whether the host's report was made after what we last did with the domain there."""
        return host.report is not None and host.report.reported_at > self._changed_at.get((host.name, domain_id), 0.0)

    def _lock(self, host: str) -> asyncio.Lock:
        return self._locks.setdefault(host, asyncio.Lock())
