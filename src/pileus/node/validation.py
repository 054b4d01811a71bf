"""What a node takes from managers that may be an attacker's by now: the look at each request before anything is done.

The drivers look again where they make files and arguments; this is the door. It refuses all that no manager of ours asks for: paths
outside the cloud's own directories, names that are no names, sizes beyond any machine, interfaces that the operator did not give away.
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sized
from pathlib import Path
from typing import TypeVar

from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.model.guests import DiskImage, Guest, GuestDisk, GuestNic
from pileus.model.messages import (
    ApplyDomain,
    ApplyGuest,
    AskMove,
    CancelMove,
    ForecastMove,
    NodeReply,
    NodeRequest,
    Observe,
    OpenConsole,
    ReadConsoleLog,
    ReadDiagnostics,
    RemoveDomain,
    RemoveGuest,
    Snapshot,
    TakeCensus,
)
from pileus.model.routing import DomainNetwork, DomainPort, DomainRouter, DomainSecurityGroup, DomainSubnet, RoutingDomain, Uplink

T = TypeVar("T")
Handle = Callable[[NodeRequest], Awaitable[NodeReply]]

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SHA256 = re.compile(r"[0-9a-f]{64}")
DISK = re.compile(r"[a-z][a-z0-9]{0,30}")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
OWNER = re.compile(r"[A-Za-z0-9._-]{0,255}")
MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
DOCUMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,15}")
LONGEST = 4096
TIB = 1 << 40
DOCUMENTS = 4 << 20
"""Characters of all that a guest's metadata may hold."""


class Bounds(Model, frozen=True, kw_only=True):
    """What belongs to the managers: directories of image content (`stores`: further ones) and of snapshots, and the physical networks with
    their interfaces."""

    images: Path
    stores: tuple[Path, ...] = ()
    snapshots: Path
    physical: Mapping[str, str]


def check(request: NodeRequest, bounds: Bounds) -> None:
    """Invalid unless this is what a manager of this cloud, on this machine, may ask for."""
    match request:
        case ApplyGuest(guest=guest, domains=domains):
            _guest(guest, bounds)
            _each(domains, 1000, "domains")
            for domain in domains:
                _domain(domain, bounds)
        case ApplyDomain(domain=domain):
            _domain(domain, bounds)
        case RemoveDomain(domain_id=domain_id, read_at=read_at):
            _matches(ID, domain_id, "a domain's id")
            _within(read_at, 0, 1 << 62, "the number of a reading")
        case Snapshot(guest_id=guest_id, destination=destination):
            _matches(ID, guest_id, "a guest's id")
            _snapshot(destination, bounds)
        case ReadConsoleLog(guest_id=guest_id, lines=lines):
            _matches(ID, guest_id, "a guest's id")
            _within(lines or 0, 0, 1 << 31, "lines")
        case RemoveGuest(guest_id=guest_id) | OpenConsole(guest_id=guest_id) | ReadDiagnostics(guest_id=guest_id):
            _matches(ID, guest_id, "a guest's id")
        case ForecastMove(guest_id=guest_id):
            _matches(ID, guest_id, "a guest's id")
        case AskMove(guest_id=guest_id, migration_id=migration_id) | CancelMove(guest_id=guest_id, migration_id=migration_id):
            _matches(ID, guest_id, "a guest's id")
            _matches(ID, migration_id, "a move's id")
        case Observe() | TakeCensus():
            return
        case _:  # moves between hosts: there is no other one
            raise Invalid(f"{type(request).__name__} is nothing that the managers of a single host ask for.")


def guarded(handle: Handle, bounds: Bounds) -> Handle:
    """The agent's `handle` behind the door."""

    async def answer(request: NodeRequest) -> NodeReply:
        check(request, bounds)
        return await handle(request)

    return answer


def _guest(guest: Guest, bounds: Bounds) -> None:
    _matches(ID, guest.id, "a guest's id")
    _plain(guest.name, "a guest's name", 1024)
    for owner in (guest.project_id, guest.user_id):
        _matches(OWNER, owner, "an owner's id")
    _within(guest.vcpus, 1, 4096, "virtual CPUs")
    _within(guest.memory_mib, 1, 64 << 20, "MiB of memory")
    _within(guest.cpu_shares or 0, 0, 1 << 20, "CPU shares")
    _within(guest.cpu_quota or 0.001, 0.0, 4096, "the quota of CPU")
    for word in (guest.architecture, guest.firmware, guest.vm_mode, guest.video, guest.machine, guest.cpu_model):
        if word is not None:
            _matches(WORD, word, "a name of hardware")
    if guest.kernel is not None or guest.initrd is not None or guest.kernel_command_line is not None:
        raise Invalid("A guest boots from its disks; files of the host are not given to it.")
    _each(guest.disks, 64, "disks")
    _unique((disk.name for disk in guest.disks), "disks")
    for disk in guest.disks:
        _disk(disk, bounds)
    _each(guest.nics, 256, "network cards")
    for nic in guest.nics:
        _nic(nic)
    _each(guest.metadata, 1000, "documents")
    if sum(map(len, guest.metadata.values())) > DOCUMENTS:
        raise Invalid("The guest's metadata is larger than any of ours.")
    for name in guest.metadata:
        if len(name) > LONGEST or not DOCUMENT.fullmatch(name):
            raise Invalid(f"{name[:80]!r} is not a document's name.")
    _each(guest.extra, 4096, "properties")
    for key, value in guest.extra.items():
        if len(key) > LONGEST or len(value) > 1 << 16:
            raise Invalid("A property of the guest is larger than any of ours.")


def _disk(disk: GuestDisk, bounds: Bounds) -> None:
    _matches(DISK, disk.name, "a disk's name")
    _within(disk.size, 0, 1024 * TIB, "bytes of a disk")
    _matches(WORD, disk.bus, "a bus")
    if disk.filesystem not in (None, "swap", "ext4"):
        raise Invalid(f"{disk.filesystem!r} is not a file system of ours.")
    _plain(disk.label or "", "a label", 64)
    if (disk.label or "").startswith("-"):
        raise Invalid("A label does not begin with a hyphen.")
    if disk.image is not None:
        _image(disk.image, bounds)


def _image(image: DiskImage, bounds: Bounds) -> None:
    _matches(SHA256, image.sha256, "the hash of an image's content")
    if image.path not in [str(one / image.sha256) for one in (bounds.images, *bounds.stores)]:
        raise Invalid(f"{image.path[:200]!r} is not where the content of images lies.")
    if image.format not in ("qcow2", "raw", "iso"):
        raise Invalid(f"{image.format[:40]!r} is not a format of disks that this host knows.")
    if image.source:
        raise Invalid("Images of this machine are not fetched from elsewhere.")
    _within(image.size, 0, 1024 * TIB, "bytes of an image")
    _within(image.virtual_size, 0, 1024 * TIB, "bytes of an image's disk")


def _nic(nic: GuestNic) -> None:
    for identifier in (nic.port_id, nic.network_id, nic.domain_id):
        _matches(ID, identifier, "an id of the network")
    _matches(MAC, nic.mac, "a MAC address")
    _matches(WORD, nic.model, "a model of network cards")
    _within(nic.mtu, 68, 65535, "bytes of an MTU")


def _snapshot(destination: str, bounds: Bounds) -> None:
    path = Path(destination)
    if str(path) != destination or path.parent != bounds.snapshots or path.suffix != ".qcow2" or not ID.fullmatch(path.stem):
        raise Invalid(f"{destination[:200]!r} is not where snapshots go.")


# -- networks ------------------------------------------------------------------------------------------------------------------------


def _domain(domain: RoutingDomain, bounds: Bounds) -> None:
    _matches(ID, domain.id, "a domain's id")
    _within(domain.read_at, 0, 1 << 62, "the number of a reading")
    if domain.address or domain.remotes:
        raise Invalid("There is no other host that this one shares a network with.")
    for parts, most in ((domain.networks, 4096), (domain.ports, 100_000), (domain.routers, 4096), (domain.security_groups, 20_000)):
        _each(parts, most, "parts of a domain")
    _each(domain.uplinks, 64, "uplinks")
    for network in domain.networks:
        _network(network)
    for port in domain.ports:
        _port(port)
    for router in domain.routers:
        _router(router)
    for group in domain.security_groups:
        _security_group(group)
    for uplink in domain.uplinks:
        _uplink(uplink, bounds)


def _uplink(uplink: Uplink, bounds: Bounds) -> None:
    """The operator says which interface of this machine is on which physical network; managers don't. Without one it is host-only."""
    _matches(WORD, uplink.name, "a physical network's name")
    if (uplink.interface or "") != bounds.physical.get(uplink.name, ""):
        raise Invalid(f"{uplink.interface!r} is not the interface of the physical network {uplink.name}.")
    _within(uplink.mtu, 68, 65535, "bytes of an MTU")
    _each(uplink.addresses, 64, "addresses")
    for address in uplink.addresses:
        found = _interface(address)
        if found.network.prefixlen < 8 or found.is_loopback or found.is_multicast or found.is_unspecified:
            raise Invalid(f"{address} is not an address of an external network.")


def _network(network: DomainNetwork) -> None:
    _matches(ID, network.id, "a network's id")
    _within(network.mtu, 68, 65535, "bytes of an MTU")
    _within(network.vni or 1, 1, (1 << 24) - 1, "the number of a VXLAN")
    if network.uplink is not None:
        _matches(WORD, network.uplink, "a physical network's name")
    _plain(network.dns_domain, "a DNS domain", 255)
    _each(network.subnets, 1000, "subnets")
    for subnet in network.subnets:
        _subnet(subnet)


def _subnet(subnet: DomainSubnet) -> None:
    _matches(ID, subnet.id, "a subnet's id")
    _interface(subnet.cidr)
    for address in (subnet.gateway_ip, subnet.dhcp_ip, *subnet.dns_nameservers):
        if address is not None:
            _address(address)
    for route in subnet.host_routes:
        _route(route)
    for mode in (subnet.ipv6_ra_mode, subnet.ipv6_address_mode):
        if mode is not None:
            _matches(WORD, mode, "a mode of IPv6")


def _port(port: DomainPort) -> None:
    for identifier in (port.id, port.network_id, *(subnet for subnet, _ in port.fixed_ips), *port.security_groups):
        _matches(ID, identifier, "an id of the network")
    _matches(MAC, port.mac, "a MAC address")
    if port.remote:
        raise Invalid("There is no other host that this one shares a network with.")
    for _, address in port.fixed_ips:
        _address(address)
    for pair in port.allowed_pairs:
        _interface(pair.get("ip_address", "0.0.0.0/0"))
        if pair.get("mac_address"):
            _matches(MAC, pair["mac_address"], "a MAC address")
    _plain(port.hostname, "a host's name", 255)
    _plain(port.guest_id, "a device's id", 255)
    _matches(OWNER, port.project_id, "a project's id")
    _each(port.dhcp_options, 1000, "options of DHCP")
    for option in port.dhcp_options:
        for key, value in option.items():
            _plain(f"{key}={value}", "an option of DHCP", LONGEST)


def _router(router: DomainRouter) -> None:
    _matches(ID, router.id, "a router's id")
    if router.remote:
        raise Invalid("There is no other host that this one shares a router with.")
    for leg in router.interfaces:
        for identifier in (leg.network_id, leg.subnet_id):
            _matches(ID, identifier, "an id of the network")
        _address(leg.ip)
        _matches(MAC, leg.mac, "a MAC address")
    if (gateway := router.gateway) is not None:
        _matches(ID, gateway.network_id, "a network's id")
        _matches(WORD, gateway.uplink, "a physical network's name")
        _matches(MAC, gateway.mac, "a MAC address")
        for address in (*gateway.addresses, *gateway.gateways):
            _interface(address)
    for floating in router.floating:
        _address(floating.floating_ip)
        _address(floating.fixed_ip)
    for route in router.routes:
        _route(route)


def _security_group(group: DomainSecurityGroup) -> None:
    _matches(ID, group.id, "a security group's id")
    for rule in group.rules:
        for word in (rule.direction, rule.ethertype, rule.protocol):
            if word is not None:
                _matches(WORD, word, "a word of a security group's rule")
        for number in (rule.port_min, rule.port_max):
            _within(number or 0, -1, 65535, "a port")
        for address in (rule.remote_prefix, *rule.remote_addresses):
            if address is not None:
                _interface(address)
        if rule.remote_group_id is not None:
            _matches(ID, rule.remote_group_id, "a security group's id")


def _route(route: dict[str, str]) -> None:
    if set(route) != {"destination", "nexthop"}:
        raise Invalid("A route has a destination and a next hop.")
    _interface(route["destination"])
    _address(route["nexthop"])


# -- values --------------------------------------------------------------------------------------------------------------------------


def _matches(form: re.Pattern[str], text: str, what: str) -> None:
    if not form.fullmatch(text):
        raise Invalid(f"{text[:80]!r} is not {what}.")


def _plain(text: str, what: str, longest: int) -> None:
    if len(text) > longest or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise Invalid(f"{text[:80]!r} is not {what}.")


def _within(number: float, low: float, high: float, what: str) -> None:
    if not low <= number <= high:  # also what is no number
        raise Invalid(f"{what}: {number} is not between {low} and {high}.")


def _each(parts: Sized, most: int, what: str) -> None:
    if len(parts) > most:
        raise Invalid(f"There are more than {most} {what}.")


def _unique(names: Iterable[str], what: str) -> None:
    found = list(names)
    if len(set(found)) != len(found):
        raise Invalid(f"Two {what} have the same name.")


def _address(text: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address":
    return _without_zone(text, ipaddress.ip_address, "an address")


def _interface(text: str) -> "ipaddress.IPv4Interface | ipaddress.IPv6Interface":
    return _without_zone(text, ipaddress.ip_interface, "an address with a prefix")


def _without_zone(text: str, parse: Callable[[str], T], what: str) -> T:
    try:
        found = parse(text)
    except ValueError:
        raise Invalid(f"{text[:80]!r} is not {what}.") from None
    if getattr(found, "scope_id", None):
        raise Invalid(f"{text[:80]!r} has a zone.")
    return found
