"""The network cards of a new server: which networks and ports it gets, checked before anything is written."""

from ipaddress import ip_address
from typing import Any

from pileus.api.compute.server_bodies import NewServer, WantedNic
from pileus.api.request import Request
from pileus.model.base import Model
from pileus.model.errors import Conflict, Forbidden, Invalid, NotFound
from pileus.model.networks import Network
from pileus.model.ports import COMPUTE, Port
from pileus.model.servers import Server
from pileus.store import networks
from pileus.store.database import Reader, Transaction
from pileus.store.fixed_ips import FixedIpRequest
from pileus.store.ports import PORTS, NewPort, create_port
from pileus.store.security_groups import SECURITY_GROUPS
from pileus.store.subnets import subnets_of_network


class Nic(Model, frozen=True, kw_only=True):
    """One card: on a port that is there, or on a new port of a network."""

    port: Port | None = None
    network: Network | None = None
    address: str | None = None
    tag: str | None = None


async def wanted_nics(request: Request, new: NewServer, servers: int) -> list[Nic]:
    """The cards of each of so many servers. Invalid, Conflict and Forbidden as Nova says them."""
    if new.networks == "none":
        return []
    if new.networks == "auto" or not new.networks:
        return await _automatic(request)
    nics = [await _one(request, wanted, servers) for wanted in new.networks]
    ids = [nic.port.id for nic in nics if nic.port]
    if len(ids) != len(set(ids)):
        raise Invalid("The same port is named twice.", field="networks")
    return nics


async def _automatic(request: Request) -> list[Nic]:
    """The only network that the project may use."""
    available = await networks.available_networks(request.cloud.db, request.project_id)
    if len(available) > 1:
        raise Conflict("Multiple possible networks found, use a Network ID to be more specific.")
    if available:
        return [Nic(network=available[0])]
    if request.notes.get("networks_not_said"):
        return []
    raise Invalid(
        "Unable to automatically allocate a network for project "
        f"{request.project_id}: it has none, and none is shared. Make one, or ask for no network."
    )


async def _one(request: Request, wanted: WantedNic, servers: int) -> Nic:
    if wanted.port is not None:
        return await _on_port(request, wanted, servers)
    if not wanted.uuid:
        raise Invalid("Bad networks format: a network's uuid or a port is needed.", field="networks")
    identity = request.identity
    network = await networks.get_visible(request.cloud.db, wanted.uuid, identity.project_id, identity.is_admin)
    if network is None:
        raise Invalid(f"Network {wanted.uuid} could not be found.", field="networks")
    if not identity.is_admin and not await networks.may_use(request.cloud.db, network, identity.project_id):
        raise Forbidden(f"It is not allowed to create an interface on external network {network.id}")
    if not await subnets_of_network(request.cloud.db, network.id):
        raise Invalid(f"Network {network.id} requires a subnet in order to boot instances on.", field="networks")
    if wanted.fixed_ip is not None:
        _check_address(wanted.fixed_ip)
        if servers > 1:
            raise Invalid("Invalid fixed IP Address: more than one server can't have the same.", field="networks")
    return Nic(network=network, address=wanted.fixed_ip, tag=wanted.tag)


async def _on_port(request: Request, wanted: WantedNic, servers: int) -> Nic:
    assert wanted.port is not None
    port = await PORTS.get(request.cloud.db, wanted.port)
    if port is None or (port.project_id != request.identity.project_id and not request.identity.is_admin):
        raise Invalid(f"Port id {wanted.port} could not be found.", field="networks")
    if wanted.fixed_ip is not None:
        raise Invalid(f"Specified fixed address {wanted.fixed_ip} cannot be used with port {port.id}: port already has a fixed IP.")
    if servers > 1:
        raise Invalid("Unable to launch multiple instances with a single configured port ID. Please launch your instance one by one.")
    if port.device_id:
        raise Conflict(f"Port {port.id} is still in use.")
    if not port.fixed_ips:
        raise Invalid(f"Port {port.id} requires a FixedIP in order to be used.", field="networks")
    return Nic(port=port, tag=wanted.tag)


def _check_address(text: str) -> None:
    try:
        if "%" in text:  # a zone may hold any text, and addresses go into files of the host
            raise ValueError
        ip_address(text)
    except ValueError as error:
        raise Invalid(f"Invalid input for field/attribute fixed_ip. Value: {text}. It is not an address.", field="networks") from error


async def group_ids(db: Reader, project_id: str, wanted: list[str]) -> list[str]:
    """The ids of security groups that are named by name or id."""
    found: list[str] = []
    for name in wanted:
        groups = await SECURITY_GROUPS.find(db, "project_id = ? AND (id = ? OR name = ?)", project_id, name, name)
        exact = [group for group in groups if group.id == name] or groups
        if not exact and name != "default":
            raise Invalid(f"Security group {name} not found for project {project_id}.", field="security_groups")
        if len(exact) > 1:
            raise Conflict(f"Multiple security groups found matching '{name}'. Use an ID to be more specific.")
        found += [group.id for group in exact if group.id not in found]
    return found


async def plug(tx: Transaction, server: Server, nics: list[Nic], groups: list[str] | None) -> list[str]:
    """Make or claim the ports of a server; returns the ids of their networks."""
    owner = f"{COMPUTE}{server.requested_zone or 'nova'}"
    for nic in nics:
        if nic.port is not None:
            await _claim(tx, server, nic.port, owner)
            continue
        network = new_network(nic)
        new = NewPort(
            project_id=server.project_id,
            network_id=network.id,
            fixed_ips=[FixedIpRequest(ip_address=nic.address)] if nic.address else None,
            device_id=server.id,
            device_owner=owner,
            security_groups=groups,
            checked=True,
            created_by_compute=True,
            dns_name=server.hostname.partition(".")[0],
        )
        await _created(tx, new, network)
    return [nic.port.network_id if nic.port else new_network(nic).id for nic in nics]


def new_network(nic: Nic) -> Network:
    """The network of a card that is to be on a new port."""
    assert nic.network is not None
    return nic.network


async def _created(tx: Transaction, new: NewPort, network: Network) -> None:
    try:
        await create_port(tx, new, network)
    except Conflict as error:
        if error.data.get("type") == "IpAddressGenerationFailure":
            raise Invalid(f"No more addresses are free on network {network.id}.", detail=error.message) from error
        if error.data.get("type") == "IpAddressAlreadyAllocated":
            raise Invalid(f"Fixed IP address {new.fixed_ips} is already in use on instance.", status=409) from error
        raise


async def _claim(tx: Transaction, server: Server, port: Port, owner: str) -> None:
    seen = await PORTS.get(tx, port.id)
    if seen is None:
        raise NotFound(f"Port id {port.id} could not be found.")
    if seen.device_id:
        raise Conflict(f"Port {port.id} is still in use.")
    changes: dict[str, Any] = {"device_id": server.id, "device_owner": owner}
    if not seen.dns_name:
        changes["dns_name"] = server.hostname.partition(".")[0]
    await PORTS.update(tx, seen, **changes)
