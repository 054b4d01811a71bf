"""Routing domains: each host that needs one is told what it looks like now, and forgets the ones that it needs no more.

A step's id is a network's, a router's or a domain's; `host/domain` says that the host may have something older than what was sent last.
Where hosts reach no other, what is said of one concerns nobody else: on a large network it alone is told, from its own ports.
What was sent is remembered in this process only: after a start everything is sent again, which a host that has it takes in stride.
A host that does not answer keeps nobody else waiting: what it is to be told goes on by itself.

Routers are carried by one host of their domain. It is chosen here, kept as long as it is up, and another takes its place when it is not.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from pileus import clock
from pileus.bus.local import Bus
from pileus.core.routing import Candidate, Component, Divided, DomainRows, assigned, digest, router_host
from pileus.model.errors import Conflict, PileusError
from pileus.model.messages import ApplyDomain, DomainReply, RemoveDomain
from pileus.model.routing import RoutingDomain
from pileus.reconcile.lately import Lately
from pileus.reconcile.liveness import Liveness
from pileus.reconcile.readings import Readings
from pileus.reconcile.scope import EVERYTHING
from pileus.reconcile.tells import Tells
from pileus.store import routing
from pileus.store.database import Database
from pileus.store.known_ports import KnownPorts
from pileus.store.network_status import record_realized

Wake = Callable[[str, str], None]
PAUSE = 0.05  # seconds between two steps of one id: a burst of changes is told at once
LONGEST_PAUSE, SHARE = 1.0, 10.0  # of a domain that takes long to read: a pause of so many times that, so that it leaves time to others
MANY = 100  # ports whose reading takes as long as telling one host from its own
PATIENCE = 10.0  # seconds that a step waits for the hosts that are up; what takes longer goes on without it
PATIENCE_DOWN = 0.3  # and for those that seem to be down
Key = tuple[str, str]
"""Host and domain."""

log = logging.getLogger("pileus.routing")


class Routing:
    """Keeps every host's domains as the store says."""

    name = "routing"
    scope = EVERYTHING

    def __init__(
        self, db: Database, bus: Bus, wake: Wake, physical: Mapping[str, str] = routing.HOST_ONLY, silence: float = routing.SILENCE
    ) -> None:
        self.db = db
        self.bus = bus
        self.wake = wake
        self.physical = physical
        self.silence = silence
        self.liveness = Liveness(bus, silence)
        self.sent: dict[tuple[str, str], str] = {}  # (host, domain) -> our digest of what was applied last
        self.replied: dict[tuple[str, str], str] = {}  # the host's own digest of that
        self._contents: dict[tuple[str, str], tuple[str, ...]] = {}  # the domain's networks then
        self._snapshots: dict[tuple[str, str], int] = {}  # (host, network or domain) -> number of the step that sent it last
        self._changed_at: dict[tuple[str, str], float] = {}  # when a host's domain was applied or removed; older reports say nothing of it
        self.tells = Tells(self._took)
        self.readings = Readings()
        self._lately = Lately(self._look)
        self._reported = Lately(self._by_domain)
        self._known = KnownPorts()
        self._fresh: dict[Component, asyncio.Future[tuple[int, Divided]]] = {}
        self._marks: dict[Key, tuple[str, str]] = {}  # of what was sent, and its digest: the same mark makes the same digest
        self._under_way: dict[Key, asyncio.Task[None]] = {}  # what hosts are being told
        self._missed: set[Key] = set()  # what took too long and failed then
        self._locks: dict[str, asyncio.Lock] = {}
        self._stepped: dict[str, float] = {}
        self._pauses: dict[str, float] = {}  # until the next step of an id
        self._read: dict[Component, tuple[int | None, Divided]] = {}  # by the step under way, with the store's version of then
        self._read_in: dict[str, float] = {}  # seconds that it took to read a component the last time
        self._apart: dict[str, int] = {}  # domain whose hosts reach no other -> its ports
        self._said: dict[str, set[str]] = {}  # domain -> hosts of which somebody says so since they were told alone
        self._steps_under_way = 0  # of whole domains
        self._touched: set[Key] = set()  # of which somebody says that the host may have it, though we have not sent it

    async def scan(self) -> list[str]:
        """What was not sent yet, and domains that a host reports otherwise than we know them."""
        ids: set[str] = set()
        known = {domain for _, domain in self.sent} | {network for contents in self._contents.values() for network in contents}
        for id in await routing.realizable(self.db):
            if id not in known:
                ids.add(id)
        ids.update(await routing.waiting(self.db))
        hosts, up = await self._lately()
        self._forget_removed({one.name for one in hosts})
        ids.update(await self._orphans(hosts))
        ids.update(f"{name}/{domain}" for name, domain in self._missed if name in up)
        replied: dict[str, dict[str, str]] = {}
        for (name, domain), seen in self.replied.items():
            replied.setdefault(name, {})[domain] = seen
        for name, (at, reported) in (await self._reports()).items():
            mine = replied.get(name, {})
            for domain in reported.keys() | mine.keys():
                if reported.get(domain) != mine.get(domain) and self._is_news(name, at, domain):
                    ids.add(f"{name}/{domain}")
        return sorted(ids)

    def _forget_removed(self, names: set[str]) -> None:
        """Forget what a host had that is no more: one of its name that comes back with it is looked at as a new one."""
        for key in [one for one in self.sent.keys() | self.replied.keys() if one[0] not in names]:
            for known in (self.sent, self.replied, self._contents, self._marks, self._snapshots, self._changed_at):
                known.pop(key, None)
            self._touched.discard(key)

    async def step(self, id: str) -> float | None:
        """Bring the domain that holds a network or router to the hosts that need it; remove what took its place before."""
        host, slash, domain_id = id.rpartition("/")
        if host:  # forget, and look once for all hosts of which this is said
            self.sent.pop((host, domain_id), None)
            self._missed.discard((host, domain_id))
            self._touched.add((host, domain_id))
            alone = self._apart.get(domain_id, 0) >= MANY and (host, domain_id) in self._contents
            if alone:
                self._said.setdefault(domain_id, set()).add(host)
            self.wake(self.name, f"/{domain_id}" if alone else domain_id)
            return None
        since, pause = clock.monotonic() - self._stepped.get(id, -LONGEST_PAUSE), self._pauses.get(id, PAUSE)
        if since < pause:
            return pause - since
        self._stepped[id] = clock.monotonic()
        if slash:
            await self._tell_alone(domain_id)
            return None
        self._steps_under_way += 1
        try:
            await self._bring(domain_id)
        finally:
            self._steps_under_way -= 1
        return None

    async def _bring(self, domain_id: str) -> None:
        """Bring a whole domain to its hosts."""
        number = self.readings.begin()
        hosts, up = await self._lately()
        component = await routing.component_of(self.db, domain_id)
        old = {domain_id}
        needed: set[str] = set()
        failed: dict[str, BaseException] = {}
        if component is not None:
            old |= {*component.networks, *component.routers}
            needed, failed = await self._apply_everywhere(component, hosts, up, number)
            self._pauses[domain_id] = min(max(PAUSE, SHARE * self._read_in.pop(component.id, 0.0)), LONGEST_PAUSE)
        failed |= await self._remove_old(old, component, needed, up, number)
        for failure in failed.values():
            raise failure
        if component is None:
            for known in (self._stepped, self._pauses, self._apart, self._said):
                known.pop(domain_id, None)
            self._stepped.pop(f"/{domain_id}", None)
            await routing.unassign(self.db, domain_id)

    async def _apply_everywhere(
        self, component: Component, hosts: list[Candidate], up: set[str], number: int
    ) -> tuple[set[str], dict[str, BaseException]]:
        """Tell the hosts that need the domain; returns them, and those that failed."""
        moved = await self._place(component, hosts)
        began = clock.monotonic()
        version, found = await self.db.version(), await self._divided(component)
        self._read[component] = version, found
        self._read_in[component.id] = clock.monotonic() - began
        self._apart[component.id] = 0 if found.joined else len(found.rows.ports)
        try:
            rows, needed = found.rows, found.hosts
            news = [host for host in sorted(needed) if self._has_news(found, host) and await self.scope.owns(host)]
            failed, late = dict[str, BaseException](), set[str]()
            first = [host for host in news if moved and host == found.places.router]  # it can carry them before another leaves off
            for some in (first, [host for host in news if host not in first]):
                more = await self._patiently({(host, component.id): self._apply(host, component, number) for host in some}, up)
                failed, late = failed | more[0], late | more[1]
        finally:  # it is as large as the domain, and nobody would come back for it
            self._read.pop(component, None)
        behind = set(failed) | late
        await self._record(component, rows, bool(hosts) and not behind & up and (not needed or bool(needed - behind)))
        return needed, failed

    async def _divided(self, component: Component) -> Divided:
        rows, places = await routing.load_everywhere(self.db, component, self._known)
        return Divided(component, rows, places, self.physical)

    def _has_news(self, found: Divided, host: str) -> bool:
        """Whether the host is to be told something else than what was sent last."""
        key = host, found.component.id
        sent, mark = self.sent.get(key), found.mark(host)
        if sent is None or (mark and self._marks.get(key) == (mark, sent)):
            return sent is None
        same = digest(found.on(host)) == sent
        if same and mark:
            self._marks[key] = mark, sent
        return not same

    async def _place(self, component: Component, hosts: list[Candidate]) -> bool:
        """See to it that a host that is up carries the component's routers. True: it has taken over from another."""
        if not component.routers:
            return False
        before = await routing.assignments(self.db, component)
        current = assigned(component, before)
        chosen = router_host(component.id, hosts, current)
        if chosen is not None and before != {component.id: chosen}:
            log.info("routers of %s are on host %s now", component.id, chosen)
            await self.db.write(lambda tx: routing.assign(tx, component, chosen, clock.now()))
        return current is not None and chosen != current

    async def _look(self) -> tuple[list[Candidate], set[str]]:
        """Every host, as one that could carry routers, and those that were heard of lately. One that is silent may carry routers on while
        that silence may be ours; it is not waited for."""
        found = await routing.candidates(self.db, clock.now(), self.silence)
        heard = {one.name for one in found if one.up}
        if not self.liveness.judges(heard=bool(heard)):
            found = await routing.candidates(self.db, clock.now(), math.inf)
        return found, heard

    async def _orphans(self, hosts: list[Candidate]) -> set[str]:
        """Domains whose routers' host is down or gone, where another could take its place."""
        assignments = await routing.router_hosts(self.db)
        return {domain for domain, current in assignments.items() if router_host(domain, hosts, current) not in (current, None)}

    async def _patiently(self, work: dict[Key, Coroutine[Any, Any, None]], up: set[str]) -> tuple[dict[str, BaseException], set[str]]:
        """Do all at once; returns the hosts that failed and those that are late, which go on and have the domain looked at again."""
        tasks: dict[Key, asyncio.Task[None]] = {}
        late: set[str] = set()
        for key, one in work.items():
            if key in self._under_way:  # it may have been told what was true before
                one.close()
                late.add(key[0])
                continue
            tasks[key] = self._under_way[key] = asyncio.create_task(one)
            tasks[key].add_done_callback(lambda _, key=key: self._under_way.pop(key, None))
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=PATIENCE_DOWN)
            if waited := [task for (host, _), task in tasks.items() if host in up and not task.done()]:
                await asyncio.wait(waited, timeout=PATIENCE)
        except asyncio.CancelledError:
            for task in tasks.values():
                task.cancel()
            raise
        failed: dict[str, BaseException] = {}
        for key, task in tasks.items():
            if not task.done():
                late.add(key[0])
                task.add_done_callback(lambda task, key=key: self._came_late(key, task))
            elif (failure := task.exception()) is not None:
                failed[key[0]] = failure
        return failed, late

    def _came_late(self, key: Key, task: asyncio.Task[None]) -> None:
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            log.warning("domain %s on host %s: %s", key[1], key[0], failure)
            self._missed.add(key)
        elif not task.cancelled():
            self.wake(self.name, key[1])

    async def _apply(self, host: str, component: Component, number: int) -> None:
        """Tell a host what its domain is to be, from what the store says at the moment of telling: a server's own apply, which brings the
        domain as well, may have come in while we waited for our turn, and what we had read before would take its new tap away."""
        parts = [(host, component.id), *((host, network) for network in component.networks)]
        async with self._turn(host):
            domain = await self._domain_now(host, component)
            wanted = digest(domain)
            if any(self._snapshots.get(part, 0) > number for part in parts) or self.sent.get((host, domain.id)) == wanted:
                return
            await self._send(host, component, domain, wanted, number)

    async def _send(self, host: str, component: Component, domain: RoutingDomain, wanted: str, number: int) -> None:
        reply = await self.bus.request(host, ApplyDomain(domain=domain))
        self.readings.heard(host, reply)
        for part in ((host, component.id), *((host, network) for network in component.networks)):
            self._snapshots[part] = number
        self.sent[host, domain.id] = wanted
        self._touched.discard((host, domain.id))
        self._changed_at[host, domain.id] = clock.now()
        self._contents[host, domain.id] = tuple(network.id for network in domain.networks)
        if isinstance(reply, DomainReply):
            self.replied[host, domain.id] = reply.digest

    async def _tell_alone(self, domain_id: str) -> None:
        """Tell the hosts of which it is said that they may have something older. It is a step of the whole domain where one is under way,
        where that is less work, or where it concerns others as well."""
        hosts = self._said.pop(domain_id, set[str]())
        few = not self._steps_under_way and len(hosts) * MANY <= self._apart.get(domain_id, 0)
        number = self.readings.begin()  # of now: a step of the whole domain that begins later knows more
        for host in sorted(hosts):
            if not (few and await self._told_alone(host, domain_id, number)):
                self.wake(self.name, domain_id)
                return

    async def _told_alone(self, host: str, domain_id: str, number: int) -> bool:
        async with self._turn(host):
            if self._snapshots.get((host, domain_id), 0) > number:
                return True
            read_at = self.readings.begin()
            component = await routing.component_of(self.db, domain_id)
            if component is None or component.networks != self._contents.get((host, domain_id)) or not await self.scope.owns(host):
                return False
            domain = await routing.alone_on(self.db, component, host, self.physical, self._known)
            if domain is None or domain.id != domain_id:
                return False
            try:
                await self._send(host, component, msgspec.structs.replace(domain, read_at=read_at), digest(domain), number)
            except PileusError as error:  # a step of the whole domain is patient with it
                log.info("domain %s on host %s: %s", domain_id, host, error)
                return False
            return True

    async def _domain_now(self, host: str, component: Component) -> RoutingDomain:
        reading = self._fresh.get(component)
        if reading is None:  # one for all hosts that are told in this turn of the event loop, no longer
            reading = self._fresh[component] = asyncio.ensure_future(self._read_now(component))
            asyncio.get_running_loop().call_soon(self._fresh.pop, component, None)
        number, divided = await asyncio.shield(reading)
        return msgspec.structs.replace(divided.on(host), read_at=number)

    async def _read_now(self, component: Component) -> tuple[int, Divided]:
        number = self.readings.begin()
        if await routing.component_of(self.db, component.id) != component:
            raise Conflict(f"The routing domain {component.id} has changed meanwhile.", stale=True)
        version, known = self._read.get(component, (None, None))
        if known is None or version is None or version != await self.db.version():
            known = await self._divided(component)
        return number, known

    async def _record(self, component: Component, rows: DomainRows, realized: bool) -> None:
        """Ports of routers and DHCP, and floating addresses, are ACTIVE once every host that needs them has them; where no guest needs them
        yet, nothing stands in their way."""
        status = "ACTIVE" if realized else "DOWN"
        own = [port.id for port in rows.ports if port.device_owner.startswith("network:") and port.status != status]
        floating = [one.id for one in rows.floating_ips if one.status != status]
        if own or floating:
            await self.db.write(lambda tx: record_realized(tx, own, floating, status))

    async def _remove_old(
        self, old: set[str], component: Component | None, needed: set[str], up: set[str], number: int
    ) -> dict[str, BaseException]:
        """Remove what took the domain's place before; returns the hosts that failed."""
        kept = {(host, component.id) for host in needed} if component is not None else set[Key]()
        gone = [key for key in await self._present(old) if key not in kept]
        failed, _ = await self._patiently({key: self._remove(*key, number) for key in gone}, up)
        return failed

    async def _remove(self, host: str, domain_id: str, number: int) -> None:
        await self._apply_successors(host, domain_id, number)
        async with self._turn(host):
            if self._snapshots.get((host, domain_id), 0) > number:
                return
            self.readings.heard(host, await self.bus.request(host, RemoveDomain(domain_id=domain_id, read_at=number)))
            for known in (self.sent, self.replied, self._contents, self._marks):
                known.pop((host, domain_id), None)
            self._touched.discard((host, domain_id))
            self._snapshots[host, domain_id] = number
            self._changed_at[host, domain_id] = clock.now()

    async def _present(self, ids: set[str]) -> list[tuple[str, str]]:
        """(host, domain) of these domains, as sent, told or reported."""
        found = {pair for pair in self.sent.keys() | self._touched if pair[1] in ids}
        reported = await self._reported()
        found |= {(name, domain) for domain in ids for name, at in reported.get(domain, []) if self._is_news(name, at, domain)}
        return sorted([pair for pair in found if await self.scope.owns(pair[0])])

    async def _by_domain(self) -> dict[str, list[tuple[str, float]]]:
        """(host, when it said so) of each domain that some host reports."""
        found: dict[str, list[tuple[str, float]]] = {}
        for name, (at, domains) in (await self._reports()).items():
            for domain in domains:
                found.setdefault(domain, []).append((name, at))
        return found

    async def _reports(self) -> dict[str, tuple[float, dict[str, str]]]:
        """Of each host that has reported, when that was and the domains that it has."""
        return {name: (one.reported_at, one.domains) for name, one in (await routing.reported(self.db)).items()}

    async def _apply_successors(self, host: str, domain_id: str, number: int) -> None:
        """Before a domain goes, the ones that its networks are in now are there: a guest's tap moves over, it is never lost."""
        contents = self._contents.get((host, domain_id))
        components = await (routing.components_on(self.db, host) if contents is None else routing.components_of(self.db, list(contents)))
        for component in components:
            if component.id != domain_id and host in await routing.hosts_with(self.db, component):
                await self._apply(host, component, number)

    def _is_news(self, host: str, at: float, domain_id: str) -> bool:
        """Whether the host's report of that time was made after what we last did with the domain there."""
        return at > self._changed_at.get((host, domain_id), 0.0)

    def _took(self, host: str, domain: RoutingDomain, replied: str) -> bool:
        """A domain that came with a guest is as if we had sent it, where it was there before and concerns that host alone."""
        key = host, domain.id
        networks = tuple(network.id for network in domain.networks)
        known = self._apart.get(domain.id, 0) and self._contents.get(key) == networks and not domain.address
        if not (known and replied) or self._steps_under_way or self.scope.cluster is not None:
            return False
        self.sent[key], self.replied[key], self._changed_at[key] = digest(domain), replied, clock.now()
        self._touched.discard(key)
        return True

    @asynccontextmanager
    async def _turn(self, host: str) -> AsyncIterator[None]:
        async with self._lock(host):
            with self.tells.telling(host):
                yield

    def _lock(self, host: str) -> asyncio.Lock:
        return self._locks.setdefault(host, asyncio.Lock())
