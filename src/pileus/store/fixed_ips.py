"""Which addresses a port gets: what is asked for is checked, what is not is chosen."""

from ipaddress import ip_address, ip_network

from pileus.core.addresses import eui64
from pileus.model.base import Model
from pileus.model.errors import Conflict, Invalid, NotFound
from pileus.model.ports import DHCP, ROUTER_GATEWAY, ROUTER_INTERFACE, FixedIp
from pileus.model.subnets import Subnet
from pileus.store.addresses import give_back, take, take_free
from pileus.store.database import Transaction
from pileus.store.subnets import SUBNETS, subnets_of_network

ROUTER_OWNERS = (ROUTER_INTERFACE, ROUTER_GATEWAY)


class FixedIpRequest(Model, frozen=True, kw_only=True):
    """What a client asks for: an address, a subnet, or both."""

    subnet_id: str | None = None
    ip_address: str | None = None


class Holder(Model, frozen=True, kw_only=True):
    """The port that addresses are for."""

    port_id: str
    network_id: str
    mac_address: str
    device_owner: str


async def choose_addresses(tx: Transaction, holder: Holder, wanted: list[FixedIpRequest] | None) -> list[FixedIp]:
    """Take addresses for a new port: those asked for; else one of each IP version, and every address that guests make."""
    subnets = [one for one in await subnets_of_network(tx, holder.network_id) if serves(one, holder.device_owner)]
    if wanted is not None:
        _check_distinct(wanted)
        return [await _take_wanted(tx, holder, one, subnets) for one in wanted]
    chosen: list[FixedIp] = []
    for version in (4, 6):
        candidates = [one for one in subnets if one.ip_version == version and not one.automatic]
        if candidates:
            chosen.append(await take_any(tx, holder, candidates))
    if holder.device_owner not in ROUTER_OWNERS:
        for subnet in subnets:
            if subnet.automatic:
                chosen.append(await take(tx, subnet, holder.port_id, eui64(subnet.cidr, holder.mac_address)))
    return chosen


async def change_addresses(tx: Transaction, holder: Holder, have: list[FixedIp], wanted: list[FixedIpRequest]) -> list[FixedIp]:
    """Bring a port's addresses to what is asked for; an address that is asked for again, or whose subnet is, stays."""
    _check_distinct(wanted)
    left = list(have)
    kept: dict[int, FixedIp] = {}
    for by_address in (True, False):
        for index, one in enumerate(wanted):
            if index in kept or (one.ip_address is not None) != by_address:
                continue
            same = next((seen for seen in left if _meets(seen, one)), None)
            if same is not None:
                kept[index] = same
                left.remove(same)
    await give_back(tx, holder.port_id, left)
    subnets = await subnets_of_network(tx, holder.network_id)
    return [kept[index] if index in kept else await _take_wanted(tx, holder, one, subnets) for index, one in enumerate(wanted)]


def serves(subnet: Subnet, device_owner: str) -> bool:
    """Whether the subnet is for ports of this owner (its service types)."""
    return not subnet.service_types or device_owner in subnet.service_types


def _check_distinct(wanted: list[FixedIpRequest]) -> None:
    addresses = [str(ip_address(one.ip_address)) for one in wanted if one.ip_address is not None]
    if len(set(addresses)) != len(addresses):
        raise Invalid("Invalid input for fixed_ips. Reason: Duplicate IP address.", field="fixed_ips")


def _meets(seen: FixedIp, wanted: FixedIpRequest) -> bool:
    if wanted.ip_address is not None and str(ip_address(wanted.ip_address)) != seen.ip_address:
        return False
    return wanted.subnet_id in (None, seen.subnet_id)


async def take_any(tx: Transaction, holder: Holder, subnets: list[Subnet]) -> FixedIp:
    """Take the first free address of the first of these subnets that has one."""
    for subnet in subnets:
        taken = await take_free(tx, subnet, holder.port_id)
        if taken is not None:
            return taken
    raise Conflict(f"No more IP addresses available on network {holder.network_id}.", type="IpAddressGenerationFailure")


async def _take_wanted(tx: Transaction, holder: Holder, wanted: FixedIpRequest, subnets: list[Subnet]) -> FixedIp:
    subnet = await _subnet_of(tx, holder, wanted, subnets)
    if wanted.ip_address is None:
        if subnet.automatic and holder.device_owner not in ROUTER_OWNERS:
            return await take(tx, subnet, holder.port_id, eui64(subnet.cidr, holder.mac_address))
        return await take_any(tx, holder, [subnet])
    _check_address(holder, subnet, wanted.ip_address)
    return await take(tx, subnet, holder.port_id, wanted.ip_address)


async def _subnet_of(tx: Transaction, holder: Holder, wanted: FixedIpRequest, subnets: list[Subnet]) -> Subnet:
    if wanted.subnet_id is not None:
        subnet = next((one for one in subnets if one.id == wanted.subnet_id), None)
        if subnet is not None:
            return subnet
        if await SUBNETS.get(tx, wanted.subnet_id) is None:
            raise NotFound(f"Subnet {wanted.subnet_id} could not be found.", type="SubnetNotFound")
        raise Invalid(
            f"Invalid input for operation: Failed to create port on network {holder.network_id}, "
            f"because fixed_ips included invalid subnet {wanted.subnet_id}.",
            type="InvalidInput",
        )
    if wanted.ip_address is None:
        raise Invalid("Invalid input for operation: IP allocation requires subnet_id or ip_address.", type="InvalidInput")
    for subnet in subnets:
        if ip_address(wanted.ip_address) in ip_network(subnet.cidr):
            return subnet
    raise Invalid(
        f"IP address {wanted.ip_address} is not a valid IP for any of the subnets on the specified network.", type="InvalidIpForNetwork"
    )


def _check_address(holder: Holder, subnet: Subnet, text: str) -> None:
    prefix, address = ip_network(subnet.cidr), ip_address(text)
    edge = prefix.version == 4 and prefix.prefixlen <= 30 and address in (prefix.network_address, prefix.broadcast_address)
    if address not in prefix or edge:
        raise Invalid(f"IP address {text} is not a valid IP for the specified subnet.", type="InvalidIpForSubnet")
    automatic = subnet.automatic and holder.device_owner not in (*ROUTER_OWNERS, DHCP)
    if automatic and str(address) != eui64(subnet.cidr, holder.mac_address):
        raise Invalid(
            f"IPv6 address {text} can not be directly assigned to a port on subnet {subnet.id} since the subnet is configured for "
            "automatic addresses",
            type="AllocationOnAutoAddressSubnet",
        )
