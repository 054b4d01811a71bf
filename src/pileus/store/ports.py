"""Ports in the store: made with their addresses and groups in one transaction, bound to hosts, given back."""

import secrets
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from pileus import clock
from pileus.core.addresses import mac_from
from pileus.model.base import Model
from pileus.model.errors import Conflict, NotFound
from pileus.model.networks import Network
from pileus.model.ports import COMPUTE, DHCP, AddressPair, DhcpOption, FixedIp, Port, PortRates, ServerPort
from pileus.store.addresses import give_back
from pileus.store.database import Reader, Transaction
from pileus.store.fixed_ips import FixedIpRequest, Holder, change_addresses, choose_addresses
from pileus.store.networks import NETWORKS
from pileus.store.quotas import charge
from pileus.store.security_groups import add_membership, check_groups, default_security_group, set_membership
from pileus.store.subnets import subnets_of_network
from pileus.store.tables import ResourceTable

PORTS = ResourceTable("ports", Port)
FIXED_IPS = msgspec.json.Decoder(list[FixedIp])
MAC_TRIES = 16


class NewPort(Model, frozen=True, kw_only=True):
    """A port to be made. `fixed_ips` None: chosen; `security_groups` None: the project's default group; `mac_address` None: drawn.

    `checked`: the project may use `security_groups`, no need to look.
    """

    project_id: str
    network_id: str
    id: str | None = None
    name: str = ""
    description: str = ""
    admin_state_up: bool = True
    mac_address: str | None = None
    fixed_ips: list[FixedIpRequest] | None = None
    device_id: str = ""
    device_owner: str = ""
    security_groups: list[str] | None = None
    checked: bool = False
    allowed_address_pairs: list[AddressPair] = []
    extra_dhcp_opts: list[DhcpOption] = []
    port_security_enabled: bool | None = None  # None: as its network says
    host: str | None = None
    vnic_type: str = "normal"
    profile: dict[str, Any] = {}
    dns_name: str = ""
    created_by_compute: bool = False
    tags: list[str] = []
    draw: Callable[[int], int] = secrets.randbits  # a source of that many random bits


async def create_port(tx: Transaction, new: NewPort, network: Network | None = None) -> Port:
    """Make a port with its addresses and groups; takes quota for one of a project. `network` is its network, when the caller has it."""
    network = network or await NETWORKS.get(tx, new.network_id)
    if network is None:
        raise NotFound(f"Network {new.network_id} could not be found.", type="NetworkNotFound")
    if new.project_id:
        await charge(tx, new.project_id, port=1)
    security = network.port_security_enabled if new.port_security_enabled is None else new.port_security_enabled
    own = not new.device_owner.startswith("network:")
    groups = await _groups(tx, new) if own and security else list(new.security_groups or [])
    now = clock.now()
    port = Port(
        id=new.id or str(uuid.uuid4()), created_at=now, updated_at=now, project_id=new.project_id, network_id=network.id, name=new.name,
        description=new.description, admin_state_up=new.admin_state_up, mac_address=new.mac_address or await _free_mac(tx, new),
        device_id=new.device_id, device_owner=new.device_owner, security_groups=groups, allowed_address_pairs=new.allowed_address_pairs,
        extra_dhcp_opts=new.extra_dhcp_opts, port_security_enabled=security and own, host=new.host, vnic_type=new.vnic_type,
        profile=new.profile, dns_name=new.dns_name, created_by_compute=new.created_by_compute, tags=new.tags,
    )  # fmt: skip
    if new.mac_address:
        await _check_mac(tx, port.network_id, port.mac_address, port.id)
    await PORTS.insert(tx, port)
    await add_membership(tx, port.id, groups)
    fixed_ips = await choose_addresses(tx, holder_of(port), new.fixed_ips)
    if fixed_ips:
        await PORTS.set(tx, port.id, fixed_ips=fixed_ips)
    return msgspec.structs.replace(port, fixed_ips=fixed_ips)


def holder_of(port: Port) -> Holder:
    """The port as the holder of addresses."""
    return Holder(port_id=port.id, network_id=port.network_id, mac_address=port.mac_address, device_owner=port.device_owner)


async def update_port(tx: Transaction, seen: Port, wanted: list[FixedIpRequest] | None = None, **changes: Any) -> Port:
    """Change a port that was seen, with its groups, and its addresses when `wanted` is given."""
    if "mac_address" in changes:
        await _check_mac(tx, seen.network_id, changes["mac_address"], seen.id)
    if wanted is not None:
        changes["fixed_ips"] = await change_addresses(tx, holder_of(seen), seen.fixed_ips, wanted)
        gone = {one.ip_address for one in seen.fixed_ips} - {one.ip_address for one in changes["fixed_ips"]}
        await release_floating(tx, seen.id, gone)
    if "security_groups" in changes:
        await set_membership(tx, seen.id, changes["security_groups"])
    return await PORTS.update(tx, seen, **changes)


async def remove_port(tx: Transaction, port: Port) -> None:
    """Remove a port: its addresses are free again, floating addresses point nowhere."""
    await release_floating(tx, port.id, None)
    await give_back(tx, port.id, port.fixed_ips)
    await tx.execute("DELETE FROM port_security_groups WHERE port_id = ?", port.id)
    await tx.execute("DELETE FROM network_tags WHERE resource_id = ?", port.id)
    await PORTS.delete(tx, port.id)


async def release_floating(tx: Transaction, port_id: str, addresses: set[str] | None) -> None:
    """Floating addresses that point to the port (None: to any of its addresses, else to one of these) point nowhere."""
    for id, fixed in await tx.all("SELECT id, fixed_ip_address FROM floating_ips WHERE port_id = ?", port_id):
        if addresses is None or fixed in addresses:
            await tx.execute(
                "UPDATE floating_ips SET port_id = NULL, fixed_ip_address = NULL, router_id = NULL, status = 'DOWN', "
                "generation = generation + 1, updated_at = ? WHERE id = ?",
                clock.now(), id,
            )  # fmt: skip


async def bind_ports(tx: Transaction, server_id: str, host: str, zone: str = "nova", rates: PortRates | None = None) -> None:
    """Plug a server's ports to a host."""
    await tx.execute(
        "UPDATE ports SET host = ?, device_owner = ?, status = CASE WHEN host = ? THEN status ELSE 'DOWN' END, migrating_to = NULL, "
        "rates = ?, generation = generation + 1, updated_at = ? WHERE device_id = ?",
        host, f"{COMPUTE}{zone}", host, _text(rates), clock.now(), server_id,
    )  # fmt: skip


async def limit_ports(tx: Transaction, server_id: str, rates: PortRates | None) -> None:
    """The server's flavor lets so much through its ports from now on; its host hears of it as it gets the server's new guest."""
    await tx.execute(
        "UPDATE ports SET rates = ?, generation = generation + 1, updated_at = ? WHERE device_id = ?", _text(rates), clock.now(), server_id
    )


def _text(rates: PortRates | None) -> str | None:
    return None if rates is None else msgspec.json.encode(rates).decode()


async def prepare_move(tx: Transaction, server_id: str, host: str) -> list[str]:
    """Have a server's ports on `host` as well, while all traffic still goes to where they are bound. Returns the ids of their networks,
    of which routing is to be woken; so do the two below."""
    await tx.execute("UPDATE ports SET migrating_to = ? WHERE device_id = ? AND host <> ?", host, server_id, host)
    return await _networks_of(tx, server_id)


async def finish_move(tx: Transaction, server_id: str, host: str) -> list[str]:
    """The server runs on `host` now: its ports are bound there and nowhere else, and carry traffic as before."""
    await tx.execute(
        "UPDATE ports SET host = ?, migrating_to = NULL, generation = generation + 1, updated_at = ? "
        "WHERE device_id = ? AND (host <> ? OR migrating_to IS NOT NULL)",
        host, clock.now(), server_id, host,
    )  # fmt: skip
    return await _networks_of(tx, server_id)


async def cancel_move(tx: Transaction, server_id: str) -> list[str]:
    """The server stays where it is: no other host has its ports."""
    await tx.execute("UPDATE ports SET migrating_to = NULL WHERE device_id = ?", server_id)
    return await _networks_of(tx, server_id)


async def _networks_of(tx: Transaction, server_id: str) -> list[str]:
    return [row[0] for row in await tx.all("SELECT DISTINCT network_id FROM ports WHERE device_id = ? ORDER BY network_id", server_id)]


async def set_ports_active(tx: Transaction, server_id: str, active: bool) -> None:
    """Say what was observed: the server's ports carry traffic, or don't."""
    status = "ACTIVE" if active else "DOWN"
    await tx.execute("UPDATE ports SET status = ? WHERE device_id = ? AND status <> ?", status, server_id, status)


async def release_ports(tx: Transaction, server_id: str) -> list[str]:
    """Remove the ports that were made for the server, unplug the others; returns the ids of the networks that this is about."""
    ports = await PORTS.find(tx, "device_id = ?", server_id)
    for port in ports:
        if port.created_by_compute:
            await remove_port(tx, port)
        else:
            await PORTS.update(tx, port, device_id="", device_owner="", host=None, migrating_to=None, rates=None, status="DOWN")
    return sorted({port.network_id for port in ports})


async def ports_of(db: Reader, server_ids: list[str]) -> dict[str, list[ServerPort]]:
    """Server id -> its ports, oldest first, with what a server's addresses and cards need; two queries for a thousand servers."""
    found: dict[str, list[ServerPort]] = {server_id: [] for server_id in server_ids}
    for start in range(0, len(server_ids), 1000):
        part = server_ids[start : start + 1000]
        marks = ", ".join("?" * len(part))
        floating: dict[str, list[tuple[str, str]]] = {}
        for port_id, fixed, address in await db.all(
            "SELECT floating_ips.port_id, fixed_ip_address, floating_ip_address FROM floating_ips JOIN ports ON ports.id = port_id "  # noqa: S608
            f"WHERE ports.device_id IN ({marks})",
            *part,
        ):
            floating.setdefault(port_id, []).append((fixed, address))
        rows = await db.all(
            "SELECT ports.id, device_id, network_id, networks.name, mac_address, ports.status, mtu, fixed_ips FROM ports "  # noqa: S608
            f"JOIN networks ON networks.id = network_id WHERE device_id IN ({marks}) ORDER BY ports.created_at, ports.id",
            *part,
        )
        for id, server_id, network_id, name, mac, status, mtu, fixed_ips in rows:
            port = ServerPort(
                id=id, server_id=server_id, network_id=network_id, network_name=name, mac_address=mac, status=status, mtu=mtu,
                fixed_ips=FIXED_IPS.decode(fixed_ips), floating_ips=floating.get(id, []),
            )  # fmt: skip
            found[server_id].append(port)
    return found


async def ensure_dhcp_port(tx: Transaction, network: Network) -> None:
    """Bring the network's DHCP port in line with its subnets: an address on each that has DHCP on; no port when none has.

    A subnet whose pool is used up goes without: DHCP is not served there.
    """
    subnets = [one for one in await subnets_of_network(tx, network.id) if one.enable_dhcp]
    port = await PORTS.first(tx, "device_owner = ? AND network_id = ?", DHCP, network.id)
    if not subnets:
        if port is not None:
            await remove_port(tx, port)
        return
    if port is None:
        device = f"dhcp{uuid.uuid5(uuid.NAMESPACE_DNS, 'pileus')}-{network.id}"
        new = NewPort(project_id="", network_id=network.id, device_owner=DHCP, device_id=device, fixed_ips=[])
        port = await create_port(tx, new, network)
        await PORTS.set(tx, port.id, project_id=network.project_id)
    kept = [one for one in port.fixed_ips if one.subnet_id in {subnet.id for subnet in subnets}]
    await give_back(tx, port.id, [one for one in port.fixed_ips if one not in kept])
    for subnet in subnets:
        if subnet.id not in {one.subnet_id for one in kept}:
            try:
                kept += await choose_addresses(tx, holder_of(port), [FixedIpRequest(subnet_id=subnet.id)])
            except Conflict:
                continue
    if kept != port.fixed_ips:
        await PORTS.set(tx, port.id, fixed_ips=kept)


async def _groups(tx: Transaction, new: NewPort) -> list[str]:
    if new.security_groups is None:
        return [await default_security_group(tx, new.project_id)] if new.project_id else []
    return list(new.security_groups) if new.checked else await check_groups(tx, new.project_id, new.security_groups)


async def _free_mac(tx: Transaction, new: NewPort) -> str:
    for _ in range(MAC_TRIES):
        mac = mac_from(new.draw(24))
        if await tx.value("SELECT 1 FROM ports WHERE network_id = ? AND mac_address = ?", new.network_id, mac) is None:
            return mac
    raise Conflict(f"Unable to generate unique mac on network {new.network_id}.", type="MacAddressGenerationFailure")


async def _check_mac(tx: Transaction, network_id: str, mac: str, port_id: str) -> None:
    other = await tx.value("SELECT id FROM ports WHERE network_id = ? AND mac_address = ? AND id <> ?", network_id, mac, port_id)
    if other is not None:
        raise Conflict(f"Unable to complete operation for network {network_id}. The mac address {mac} is in use.", type="MacAddressInUse")
