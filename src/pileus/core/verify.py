"""Invariants between records, Placement, hypervisor, disks, networks and images: each a small pure function over a World."""

from collections.abc import Callable

from pileus.core.servers import derive
from pileus.model.base import Model
from pileus.model.guests import ObservedGuest, ObservedPower, Power
from pileus.model.servers import Server


class WorldPort(Model, frozen=True, kw_only=True):
    """A port's record."""

    id: str
    network_id: str
    device_id: str
    device_owner: str
    host: str | None
    addresses: list[tuple[str, str]] = []  # (subnet id, address)


class WorldMove(Model, frozen=True, kw_only=True):
    """A migration that is not over in every respect: it holds allocations of its own, and its hosts may have a copy of the guest."""

    id: str
    server_id: str
    hosts: list[str]  # the source first
    evacuation: bool = False
    left: bool = False  # nothing is to be done any more but to remove what the source has


class World(Model, frozen=True, kw_only=True):
    """All that is compared, gathered at one time. Lists of names are what was found on the host; the rest is what records say.

    `settled` holds the servers about which nothing is being done: only of these the hypervisor must say what the record says.
    """

    host: str
    servers: list[Server] = []
    settled: frozenset[str] = frozenset()
    ports: list[WorldPort] = []
    networks: frozenset[str] = frozenset()
    subnets: frozenset[str] = frozenset()
    floating: list[tuple[str, str | None]] = []  # (floating address, port id)
    moves: list[WorldMove] = []
    allocations: dict[str, dict[str, dict[str, int]]] = {}  # consumer -> provider -> resources
    provider_used: dict[str, dict[str, int]] = {}
    provider_capacity: dict[str, dict[str, int]] = {}
    provider_of_host: dict[str, str] = {}
    image_contents: dict[str, list[tuple[str, int]]] = {}  # content hash -> [(image id, size)]
    image_files: dict[str, int] = {}  # content hash -> size of the file
    guests: list[ObservedGuest] = []
    guest_directories: list[str] = []
    processes: dict[str, list[int]] = {}  # guest id -> pids of hypervisor processes of it
    running_on: dict[str, list[str]] = {}  # guest id -> all hosts that have a hypervisor process of it
    fenced: frozenset[str] = frozenset()  # hosts that were switched off and have not reported since
    taps: dict[str, list[str]] = {}  # routing domain -> port ids that have a tap
    namespaces: list[str] = []  # routing domains that have a namespace
    domains: dict[str, list[str]] = {}  # routing domain that should be here -> local port ids
    broken_disks: list[str] = []  # "guest/disk: what the check said"


class Invariant(Model, frozen=True, kw_only=True):
    """One rule: its name, the sentence that must be true, and the check that gives a line of evidence for each breach."""

    name: str
    sentence: str
    check: Callable[[World], list[str]]


def breaches(world: World) -> list[tuple[str, str]]:
    """(invariant's name, evidence) of every breach."""
    return [(one.name, line) for one in INVARIANTS for line in one.check(world)]


def _here(world: World) -> list[Server]:
    return [server for server in world.servers if server.host == world.host]


def _guests(world: World) -> dict[str, ObservedGuest]:
    return {guest.id: guest for guest in world.guests}


def running_servers_run(world: World) -> list[str]:
    """Records against the hypervisor."""
    guests = _guests(world)
    wrong: list[str] = []
    for server in _here(world):
        guest = guests.get(server.id)
        power = guest.power if guest else ObservedPower.ABSENT
        if server.id in world.settled and server.fault is None and server.power == Power.RUNNING and power != ObservedPower.RUNNING:
            wrong.append(f"server {server.id} ({server.name}) should run, the hypervisor says {power}")
    return wrong


def stopped_servers_do_not_run(world: World) -> list[str]:
    """Records against the hypervisor, the other way."""
    guests = _guests(world)
    return [
        f"server {server.id} ({server.name}) should be stopped, but process {guests[server.id].pid} runs it"
        for server in _here(world)
        if server.id in world.settled
        and server.power == Power.STOPPED
        and server.id in guests
        and guests[server.id].power == ObservedPower.RUNNING
    ]


def guests_have_servers(world: World) -> list[str]:
    """The hypervisor against records."""
    known = {server.id for server in _here(world)} | {move.server_id for move in world.moves if world.host in move.hosts}
    return [f"guest {one} is on this host, no server of this host has that id" for one in world.guest_directories if one not in known]


def guests_run_once(world: World) -> list[str]:
    """Two processes on one disk destroy it."""
    return [f"guest {one} has {len(pids)} processes: {pids}" for one, pids in sorted(world.processes.items()) if len(pids) > 1]


def guests_run_on_one_host(world: World) -> list[str]:
    """Two hosts with one disk destroy it, too. While a guest is sent, its destination has a process that waits for it."""
    sent = {(move.server_id, *sorted(move.hosts)) for move in world.moves if not move.evacuation}
    return [
        f"guest {one} has processes on the hosts {', '.join(sorted(hosts))}"
        for one, hosts in sorted(world.running_on.items())
        if len(hosts) > 1 and (one, *sorted(hosts)) not in sent
    ]


def fenced_hosts_run_nothing(world: World) -> list[str]:
    """What a host that is said to be off runs may run elsewhere by now."""
    if world.host not in world.fenced:
        return []
    return [f"host {world.host} was fenced, and process {pids} runs guest {one}" for one, pids in sorted(world.processes.items())]


def evacuated_servers_are_elsewhere(world: World) -> list[str]:
    """Else the lost host would keep what it is to remove, or remove what is its own."""
    hosts = {server.id: server.host for server in world.servers}
    return [
        f"server {move.server_id} is on {move.hosts[0]}, from which evacuation {move.id} took it"
        for move in world.moves
        if move.evacuation and move.left and hosts.get(move.server_id) == move.hosts[0]
    ]


def processes_have_guests(world: World) -> list[str]:
    """No process is left of a guest that is gone."""
    known = set(world.guest_directories)
    return [
        f"process {pids} runs guest {one}, of which nothing else is left"
        for one, pids in sorted(world.processes.items())
        if one not in known
    ]


def disks_are_whole(world: World) -> list[str]:
    """What the disk checker says."""
    return list(world.broken_disks)


def servers_have_allocations(world: World) -> list[str]:
    """Every placed server holds what its flavor says, on its host's provider and nowhere else."""
    wrong: list[str] = []
    for server in world.servers:
        if server.host is None or server.migration is not None:  # which holds its old host's for it
            continue
        provider = world.provider_of_host.get(server.host)
        held = world.allocations.get(server.id, {})
        if provider is None or set(held) != {provider}:
            wrong.append(f"server {server.id} is on {server.host} (provider {provider}) but holds allocations of {sorted(held) or 'none'}")
        elif held[provider].get("VCPU", 0) != server.vcpus and "resources:VCPU" not in server.flavor.extra_specs:
            wrong.append(f"server {server.id} has {server.vcpus} vCPUs and holds {held[provider]}")
    return wrong


def allocations_have_consumers(world: World) -> list[str]:
    """Nothing is held by a server that is gone. (Consumers that are no servers of ours are their makers' business.)"""
    living = {server.id for server in world.servers} | {move.id for move in world.moves}
    hosts = set(world.provider_of_host.values())
    return [
        f"consumer {consumer} holds {held} and is no living server"
        for consumer, held in sorted(world.allocations.items())
        if consumer not in living and hosts & held.keys()
    ]


def usage_is_the_sum(world: World) -> list[str]:
    """What a provider's row counts is what its allocations add up to."""
    sums: dict[str, dict[str, int]] = {}
    for held in world.allocations.values():
        for provider, resources in held.items():
            total = sums.setdefault(provider, {})
            for name, amount in resources.items():
                total[name] = total.get(name, 0) + amount
    wrong: list[str] = []
    for provider, used in sorted(world.provider_used.items()):
        counted = {name: amount for name, amount in used.items() if amount}
        if counted != sums.get(provider, {}):
            wrong.append(f"provider {provider} counts {counted}, its allocations add up to {sums.get(provider, {})}")
    return wrong


def usage_fits(world: World) -> list[str]:
    """No provider gives more than it has."""
    return [
        f"provider {provider} has {world.provider_capacity.get(provider, {}).get(name, 0)} {name} and gives {amount}"
        for provider, used in sorted(world.provider_used.items())
        for name, amount in sorted(used.items())
        if amount > world.provider_capacity.get(provider, {}).get(name, 0)
    ]


def ports_have_servers(world: World) -> list[str]:
    """A port that is plugged to a server belongs to a living one."""
    living = {server.id for server in world.servers}
    return [
        f"port {port.id} is plugged to server {port.device_id}, which is gone"
        for port in world.ports
        if port.device_owner.startswith("compute:") and port.device_id not in living
    ]


def ports_follow_servers(world: World) -> list[str]:
    """A port is bound to the host of its server, unless that is on its way."""
    moving = {move.server_id for move in world.moves if not move.left}
    hosts = {server.id: server.host for server in world.servers if server.id in world.settled and server.id not in moving}
    return [
        f"port {port.id} is bound to {port.host}, its server {port.device_id} is on {hosts[port.device_id]}"
        for port in world.ports
        if hosts.get(port.device_id) is not None and port.host != hosts[port.device_id]
    ]


def addresses_are_unique(world: World) -> list[str]:
    """One address of a subnet, one port."""
    seen: dict[tuple[str, str], str] = {}
    wrong: list[str] = []
    for port in world.ports:
        for address in port.addresses:
            if address in seen:
                wrong.append(f"address {address[1]} of subnet {address[0]} is held by ports {seen[address]} and {port.id}")
            seen[address] = port.id
    return wrong


def ports_have_networks(world: World) -> list[str]:
    """A port's network and subnets are there."""
    wrong = [
        f"port {port.id} is on network {port.network_id}, which is gone" for port in world.ports if port.network_id not in world.networks
    ]
    return wrong + [
        f"port {port.id} has address {address} of subnet {subnet}, which is gone"
        for port in world.ports
        for subnet, address in port.addresses
        if subnet not in world.subnets
    ]


def floating_ips_have_ports(world: World) -> list[str]:
    """A floating IP that stands for a port has one."""
    known = {port.id for port in world.ports}
    return [
        f"floating IP {address} stands for port {port}, which is gone" for address, port in world.floating if port and port not in known
    ]


def images_have_content(world: World) -> list[str]:
    """An active image's content lies there in full."""
    wrong: list[str] = []
    for content, images in sorted(world.image_contents.items()):
        for image, size in images:
            if content not in world.image_files:
                wrong.append(f"image {image}: its content {content[:12]} is missing")
            elif world.image_files[content] != size:
                wrong.append(f"image {image}: its content has {world.image_files[content]} bytes, the record says {size}")
    return wrong


def contents_have_images(world: World) -> list[str]:
    """No content is left of images that are gone."""
    return [f"content {one[:12]} belongs to no image" for one in sorted(world.image_files) if one not in world.image_contents]


def namespaces_are_wanted(world: World) -> list[str]:
    """No namespace is left of a routing domain that is gone."""
    return [
        f"a namespace of routing domain {one} is on this host, no record wants it" for one in world.namespaces if one not in world.domains
    ]


def wanted_namespaces_exist(world: World) -> list[str]:
    """Every routing domain that has ports of running guests here has its namespace."""
    return [
        f"routing domain {domain} has ports {ports} here, but no namespace"
        for domain, ports in sorted(world.domains.items())
        if ports and domain not in world.namespaces
    ]


def taps_have_ports(world: World) -> list[str]:
    """No tap is left of a port that is gone, and none stands in another domain than its network."""
    return [
        f"a tap of port {tap} is in the namespace of {domain}, no port of it is bound here"
        for domain, taps in sorted(world.taps.items())
        for tap in taps
        if tap not in world.domains.get(domain, [])
    ]


def states_follow(world: World) -> list[str]:
    """The words of Nova in a row are those that follow from what is wanted and seen."""
    wrong: list[str] = []
    for server in world.servers:
        fresh = derive(server)
        if (fresh.status, fresh.vm_state, fresh.task_state) != (server.status, server.vm_state, server.task_state):
            wrong.append(f"server {server.id} is stored as {server.status}/{server.task_state}, but is {fresh.status}/{fresh.task_state}")
    return wrong


INVARIANTS = [
    Invariant(name=check.__name__, sentence=sentence, check=check)
    for check, sentence in (
        (running_servers_run, "A server that should run has a running guest on its host."),
        (stopped_servers_do_not_run, "A server that should be stopped has no running guest."),
        (guests_have_servers, "Every guest on a host belongs to a server that is placed there."),
        (guests_run_once, "A guest runs at most once."),
        (guests_run_on_one_host, "A guest runs on one host only."),
        (fenced_hosts_run_nothing, "A host that was fenced runs nothing."),
        (evacuated_servers_are_elsewhere, "A server that was evacuated is on another host."),
        (processes_have_guests, "Every hypervisor process belongs to a guest."),
        (disks_are_whole, "The disk checker finds no error."),
        (servers_have_allocations, "A placed server holds its allocation on its host, and on no other."),
        (allocations_have_consumers, "Every allocation belongs to a living server."),
        (usage_is_the_sum, "A provider's use is the sum of its allocations."),
        (usage_fits, "No provider gives more than it has."),
        (ports_have_servers, "A port that is plugged to a server belongs to a living one."),
        (ports_follow_servers, "A server's ports are bound to its host."),
        (addresses_are_unique, "An address of a subnet belongs to one port."),
        (ports_have_networks, "A port's network and subnets exist."),
        (floating_ips_have_ports, "A floating IP stands for a port that exists."),
        (images_have_content, "An active image's content is there in full."),
        (contents_have_images, "Every content belongs to an image."),
        (namespaces_are_wanted, "Every namespace belongs to a routing domain."),
        (wanted_namespaces_exist, "A routing domain with ports of guests has its namespace."),
        (taps_have_ports, "Every tap belongs to a port of its domain that is bound to the host."),
        (states_follow, "A server's status follows from what is wanted and seen."),
    )
]
