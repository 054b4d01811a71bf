"""The network driver for Linux: a namespace for each routing domain, with bridges, taps, routers, nftables, dnsmasq and metadata."""

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from pileus.core import dnsmasq as dnsmasq_text
from pileus.core import network_names as names
from pileus.core import network_plan, nft
from pileus.core.network_vxlan import joined
from pileus.core.nft_ports import link_local
from pileus.model.base import Model
from pileus.model.errors import NodeFailed
from pileus.model.hosts import Capability
from pileus.model.routing import RoutingDomain
from pileus.node.network import announce, conntrack, dnsmasq, forwarding, namespaces, nft_load, probe, taps, vxlan
from pileus.node.network.driver import MetadataOf
from pileus.node.network.links import Links, device_names, planned_devices, planned_peers, prepare_namespace
from pileus.node.network.metadata import MetadataListener, listening_socket
from pileus.node.network.namespaces import NamespaceMissing
from pileus.node.network.uplinks import Uplinks

T = TypeVar("T")
REVISION = "1"  # of what is built from a domain; a new one makes every domain be applied again
log = logging.getLogger(__name__)


class Record(Model, frozen=True, kw_only=True):
    """What `domain.json` holds: the domain as applied last, and its digest, empty while it is not in place in full."""

    digest: str
    domain: RoutingDomain


def digest_of(domain: RoutingDomain) -> str:
    """What tells two states of a domain, and of what we build from it, apart."""
    return hashlib.sha256(REVISION.encode() + msgspec.json.encode(domain.undated)).hexdigest()


class LinuxNetwork:
    """The driver. `state` is the node's directory (`DIR/node`), `tag` the cloud's tag that all our names carry.

    Blocking work runs in threads, for one domain one at a time; the event loop's own namespace never changes.
    """

    name = "linux"

    def __init__(self, state: Path, tag: str) -> None:
        self.tag = tag
        self.directory = state / "domains"
        self.uplinks = Uplinks(state / "uplinks", tag)
        self._records: dict[str, Record] = {}
        self._coming: dict[str, RoutingDomain] = {}  # what is being applied, once its taps are there
        self._locks: dict[str, asyncio.Lock] = {}
        self._listeners: dict[str, dict[tuple[str, str, str], MetadataListener]] = {}
        self._metadata_of: MetadataOf = lambda guest_id: None
        self._announcer = announce.Announcer()

    async def probe(self) -> list[Capability]:
        """What this host's kernel and tools can do, found by trying."""
        return await asyncio.to_thread(probe.capabilities)

    async def start(self, metadata_of: MetadataOf) -> dict[str, str]:
        """Adopt what is there, listen for metadata requests again; returns `observe()`."""
        self._metadata_of = metadata_of
        self._records = await asyncio.to_thread(self._read_records)
        await asyncio.to_thread(self._restore_host)
        for domain_id, record in list(self._records.items()):
            if namespaces.exists(self._namespace(domain_id)):
                if not await asyncio.to_thread(
                    nft_load.is_filtered, self._namespace(domain_id)
                ):  # somebody has flushed it: all is done anew
                    self._records[domain_id] = replace(record, digest="")
                try:
                    await self._listen(record.domain)
                except NodeFailed as failure:
                    log.warning("domain %s: %s", domain_id, failure.message)
        return await self.observe()

    async def observe(self) -> dict[str, str]:
        """Routing domain id -> digest of what was applied last in full ("" when something of it is missing)."""
        records = list(self._records.items())
        await asyncio.to_thread(self.uplinks.refresh)
        intact = await asyncio.to_thread(self._all_intact, [record.domain for _, record in records])
        return {domain_id: record.digest if whole else "" for (domain_id, record), whole in zip(records, intact, strict=True)}

    async def apply(self, domain: RoutingDomain, taps: Callable[[], None] | None = None) -> str:
        """Bring the domain to this state and return its digest; cheap when nothing changed. `taps`: once its taps can be opened."""
        digest = digest_of(domain)
        async with self._locks.setdefault(domain.id, asyncio.Lock()):
            record = self._records.get(domain.id)
            intact = record is not None and (await asyncio.to_thread(self._all_intact, [record.domain]))[0]
            if not intact:
                await self._stop_listening(domain.id)  # sockets would hold on to a namespace or device that is gone
            if record is None or record.digest != digest or not intact:
                self._records[domain.id] = Record(digest="", domain=record.domain if record else domain)
                known = record if intact else record and replace(record, digest="")
                try:
                    present = await asyncio.to_thread(self._realize, lambda: self._found(domain, known))
                    self._coming[domain.id] = domain
                    if taps:
                        taps()
                    await asyncio.to_thread(self._realize, lambda: self._build(domain, known, present))
                    self._records[domain.id] = Record(digest="", domain=domain)
                finally:
                    self._coming.pop(domain.id, None)
                self._announcer.repeat(domain.id, self._namespace(domain.id), lambda: self._announced(domain.id))
                await self._listen(domain)
                self._records[domain.id] = Record(digest=digest, domain=domain)
                await asyncio.to_thread(self._write_record, self._records[domain.id])
            else:
                self._records[domain.id] = Record(digest=digest, domain=domain)  # the same, read later: not worth a write
                await self._listen(domain)
        return digest

    def read_at(self, domain_id: str) -> int:
        """The number of the reading that was applied last."""
        record = self._records.get(domain_id)
        return record.domain.read_at if record else 0

    async def remove(self, domain_id: str) -> None:
        """Leave nothing of the domain. Taps that a guest holds open stay in their namespace until another domain takes them over."""
        async with self._locks.setdefault(domain_id, asyncio.Lock()):
            await self._stop_listening(domain_id)
            self._announcer.stop(domain_id)
            record = self._records.pop(domain_id, None)
            await asyncio.to_thread(self._dismantle, domain_id, record.domain if record else None)
        self._locks.pop(domain_id, None)

    def open_tap(self, domain_id: str, port_id: str) -> int:
        """An open descriptor of the port's tap in the domain's namespace (made if missing); the caller owns it."""
        record = self._records.get(domain_id)
        coming = self._coming.get(domain_id)
        domain = coming or (record.domain if record else None)
        plan = network_plan.build(domain, self.tag) if domain else None
        link = next((link for link in plan.links if link.name == names.tap(port_id)), None) if plan else None
        if link is None:
            raise NodeFailed(f"The port {port_id} is not on this host.")

        def body() -> int:
            if link.name not in device_names() and not coming:
                with Links() as links, contextlib.closing(_Descriptor("/proc/self/ns/net")) as root:
                    links.one(link, root.number)
            return taps.open_descriptor(link.name)

        return namespaces.inside(self._namespace(domain_id), body)

    def ports_of(self, guest_id: str) -> dict[str, tuple[str, list[str]]]:
        """The guest's ports on this host, as applied last: port id -> domain id and addresses."""
        return network_plan.ports_of([record.domain for record in self._records.values()], guest_id)

    async def connections(self, domain_id: str, addresses: list[str]) -> list[str]:
        """The tracked connections of a port's addresses."""
        return await asyncio.to_thread(namespaces.inside, self._namespace(domain_id), lambda: conntrack.connections(addresses))

    async def restore(self, domain_id: str, addresses: list[str], connections: list[str]) -> int:
        """Track connections of a port's addresses that another host has tracked."""
        return await asyncio.to_thread(namespaces.inside, self._namespace(domain_id), lambda: conntrack.restore(connections, addresses))

    async def close(self) -> None:
        """Stop listening; namespaces and traffic go on."""
        self._announcer.stop()
        for domain_id in list(self._listeners):
            await self._stop_listening(domain_id)

    async def destroy(self) -> None:
        """Remove every domain and the uplinks, for a cloud that is taken down for good."""
        for domain_id in [*self._records, *(path.name for path in self.directory.glob("*"))]:
            await self.remove(domain_id)
        await asyncio.to_thread(self._destroy_rest)

    def devices(self) -> list[str]:
        """All that exists on this host with this cloud's tag: devices, tables, namespaces."""
        return [*self.uplinks.devices(), *(f"netns {name}" for name in namespaces.listed(f"pileus-{self.tag}-"))]

    def _announced(self, domain_id: str) -> announce.Wanted:
        record = self._records.get(domain_id)
        return network_plan.build(record.domain, self.tag).announce if record else []

    def _namespace(self, domain_id: str) -> str:
        return names.namespace_name(self.tag, domain_id)

    def _remotes(self) -> set[str]:
        """The hosts with which any domain goes on."""
        return {remote for record in list(self._records.values()) for remote in record.domain.remotes}

    def _read_records(self) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for path in sorted(self.directory.glob("*/domain.json")):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Record)
            except (OSError, msgspec.MsgspecError) as failure:
                log.warning("%s is not readable (%s); it waits to be applied again", path, failure)
                continue
            found[record.domain.id] = record
        return found

    def _write_record(self, record: Record) -> None:
        path = self.directory / record.domain.id / "domain.json"
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = path.with_name("domain.json.new")
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(record))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def _restore_host(self) -> None:
        """After a reboot the uplinks' bridges are gone; namespaces that no record names and no guest needs are left over."""
        try:
            self.uplinks.admit(self._remotes())
            if known := self.uplinks.known():
                self.uplinks.apply(known, set())
            present = device_names()
            for record in self._records.values():
                peers = planned_peers(network_plan.build(record.domain, self.tag))
                self.uplinks.join({peer: uplink for peer, uplink in peers.items() if peer in present})
        except NodeFailed as failure:
            log.warning("uplinks: %s", failure.message)  # the domains that need them say so when they are applied
        self._sweep()

    def _sweep(self) -> None:
        kept = {self._namespace(domain_id) for domain_id in self._records}
        for name in namespaces.listed(f"pileus-{self.tag}-"):
            if name not in kept:
                _remove_namespace(name)

    def _all_intact(self, domains: list[RoutingDomain]) -> list[bool]:
        joined = self.uplinks.joined() if any(domain.uplinks for domain in domains) else {}
        return [self._intact(domain, joined) for domain in domains]

    def _intact(self, domain: RoutingDomain, joined: dict[str, str]) -> bool:
        """Whether namespace, devices and dnsmasq are still there."""
        namespace = self._namespace(domain.id)
        plan = network_plan.build(domain, self.tag)
        try:
            present = namespaces.inside(namespace, device_names) if namespaces.exists(namespace) else set[str]()
        except NodeFailed:
            return False
        if not planned_devices(plan) <= present or not self.uplinks.intact(planned_peers(plan), joined):
            return False
        return dnsmasq.all_running(self._dnsmasq(domain.id), _instances(domain))

    def _dnsmasq(self, domain_id: str) -> Path:
        return self.directory / domain_id / "dnsmasq"

    def _realize(self, steps: Callable[[], T]) -> T:
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            return steps()
        except (OSError, NetlinkError) as failure:
            log.warning("a network could not be set up", exc_info=failure)
            raise NodeFailed(f"The network could not be set up: {failure}") from failure

    def _found(self, domain: RoutingDomain, record: Record | None) -> set[str]:
        """The first blocking steps: the namespace with all its taps; new ones carry nothing yet. Returns what devices there were."""
        self._write_record(Record(digest="", domain=record.domain if record else domain))
        namespace = self._namespace(domain.id)
        new = namespaces.create(namespace)
        present = set[str]() if new else namespaces.inside(namespace, device_names)
        self._fetch_taps(domain, present)
        missing = {names.tap(port.id) for port in domain.ports if port.local} - present
        if missing:
            namespaces.inside(namespace, lambda: [taps.create(name) for name in sorted(missing - device_names())])
        return present

    def _build(self, domain: RoutingDomain, record: Record | None, present: set[str]) -> None:
        """All the others, from what `record` says there is. The filter is in place before any device carries traffic."""
        before = record.domain if record else None
        namespace = self._namespace(domain.id)
        plan = network_plan.build(domain, self.tag)
        peers = planned_peers(plan)
        stale = {link.peer for link in plan.links if link.peer and link.uplink and link.name not in present}
        self.uplinks.apply(domain.uplinks, stale)
        self.uplinks.admit(self._remotes() | set(domain.remotes))
        with contextlib.closing(_Descriptor(str(namespaces.DIRECTORY / namespace))) as target:
            vxlan.create(namespaces.inside(namespace, lambda: vxlan.missing(plan)), target.number)
        rules = nft.ruleset(domain)

        def build() -> None:
            prepare_namespace()
            nft_load.load(rules)
            (self.directory / domain.id / "nft.rules").write_text(rules)
            with Links() as links:
                links.converge(plan, root.number)
            forwarding.converge(plan)
            dnsmasq.converge(self._dnsmasq(domain.id), _instances(domain))

        def settle() -> None:
            conntrack.forget(conntrack.outdated(before, domain))
            told = network_plan.build(record.domain, self.tag).announce if record and record.digest else []
            self._announcer.say(domain.id, [one for one in plan.announce if one not in told])

        with contextlib.closing(_Descriptor("/proc/self/ns/net")) as root:
            namespaces.inside(namespace, build)
        if peers:
            self.uplinks.join(peers)
        namespaces.inside(namespace, settle)

    def _fetch_taps(self, domain: RoutingDomain, present: set[str]) -> None:
        """Move taps here that are in another of our namespaces, where their network was before it was joined to a router (or left it).
        A VXLAN device there makes way for the one here: a host has a network's number once."""
        missing = _portable(domain, local=True) - present
        if not missing:
            return
        recorded = {self._namespace(other): _portable(record.domain) for other, record in self._records.items()}
        own = self._namespace(domain.id)
        for namespace in namespaces.listed(f"pileus-{self.tag}-"):
            if namespace == own or (namespace in recorded and not recorded[namespace] & missing):
                continue
            with contextlib.closing(_Descriptor(str(namespaces.DIRECTORY / own))) as target, contextlib.suppress(NamespaceMissing):
                namespaces.inside(namespace, _mover(missing, target.number))  # another domain's may go meanwhile
        self._sweep()

    def _dismantle(self, domain_id: str, domain: RoutingDomain | None) -> None:
        directory = self.directory / domain_id
        if domain is None:
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                domain = msgspec.json.decode((directory / "domain.json").read_bytes(), type=Record).domain
        for path in self._dnsmasq(domain_id).glob("*"):
            dnsmasq.stop(path)
        if domain is not None:
            peers = set(planned_peers(network_plan.build(domain, self.tag)))
            if peers & device_names():
                self.uplinks.apply([], peers)
        namespace = self._namespace(domain_id)
        if namespaces.exists(namespace):
            _remove_namespace(namespace)
        else:  # the file alone may be left of a removal that was cut off
            namespaces.remove(namespace)
        self.uplinks.admit(self._remotes())
        shutil.rmtree(directory, ignore_errors=True)

    def _destroy_rest(self) -> None:
        for name in namespaces.listed(f"pileus-{self.tag}-"):
            namespaces.remove(name)
        self.uplinks.remove()

    async def _listen(self, domain: RoutingDomain) -> None:
        """Have one metadata listener for each network and leg, no more and no fewer."""
        mine = self._listeners.setdefault(domain.id, {})
        wanted = network_plan.metadata_listeners(domain)
        for key in set(mine) - set(wanted):
            await mine.pop(key).close()
        missing = [key for key in wanted if key not in mine]
        if not missing:
            return
        namespace = self._namespace(domain.id)
        made = await asyncio.to_thread(
            namespaces.inside, namespace, lambda: [listening_socket(address, device) for _, device, address in missing]
        )
        for key, listener in zip(missing, made, strict=True):
            mine[key] = MetadataListener(self._documents(domain.id, key[0]))
            await mine[key].start(listener)

    async def _stop_listening(self, domain_id: str) -> None:
        for listener in self._listeners.pop(domain_id, {}).values():
            await listener.close()

    def _documents(self, domain_id: str, network_id: str) -> Callable[[str], dict[str, str] | None]:
        def of(source: str) -> dict[str, str] | None:
            record = self._records.get(domain_id)
            for port in record.domain.ports if record else []:
                own = {link_local(port.mac), *(address for _, address in port.fixed_ips)}
                if port.network_id == network_id and port.guest_id and source in own:
                    return self._metadata_of(port.guest_id)
            return None

        return of


class _Descriptor:
    """An open file of a namespace."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self.number)


def _instances(domain: RoutingDomain) -> list[dnsmasq_text.Instance]:
    resolvers = dnsmasq.host_resolvers()
    return [instance for network in domain.networks for instance in dnsmasq_text.instances(domain, network, resolvers)]


def _remove_namespace(namespace: str) -> None:
    """Remove a namespace that no domain needs; while a guest holds a tap in it, all but that goes."""

    def body() -> list[str]:
        vxlan.remove_all()
        with Links() as links:
            return links.held_taps()

    with contextlib.suppress(NamespaceMissing):  # it went after it was listed
        if namespaces.inside(namespace, body):
            return
    namespaces.remove(namespace)


def _portable(domain: RoutingDomain, local: bool = False) -> set[str]:
    """Devices of a domain that there may be once on the host: taps (of ports that are `local`) and VXLANs."""
    found = {names.tap(port.id) for port in domain.ports if port.local or not local}
    return found | {names.vxlan(network.id) for network in joined(domain)}


def _mover(wanted: set[str], target: int) -> Callable[[], None]:
    def body() -> None:
        found = wanted & device_names()
        if found:
            with Links() as links:
                links.remove([name for name in found if name.startswith(vxlan.PREFIX)])
                for name in sorted(name for name in found if not name.startswith(vxlan.PREFIX)):
                    links.move(name, target)

    return body
