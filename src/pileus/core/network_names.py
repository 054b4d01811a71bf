"""The names of devices, namespaces and rule chains of routing domains: every layer derives the same ones from the resources' ids."""

import hashlib
import re

DEVICE_NAME_MAX = 15
UPLINK_PREFIX = "pu"


def short(identifier: str) -> str:
    """The first eleven characters of an id, as Neutron's taps have it; fit for a device's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", identifier)[:11]


def hashed(*parts: str, length: int = 11) -> str:
    """Hex digits that stand for several ids together."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:length]


def chain_part(identifier: str) -> str:
    """An id as part of a chain's or set's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", identifier)[:40]


def namespace_name(tag: str, domain_id: str) -> str:
    """The network namespace of a routing domain."""
    return f"pileus-{tag}-{re.sub(r'[^A-Za-z0-9-]', '-', domain_id)[:12]}"


def uplink_bridge(tag: str, name: str) -> str:
    """The bridge of a physical network in the host's own namespace; long names keep two characters of their hash."""
    plain = re.sub(r"[^A-Za-z0-9-]", "-", name)
    if plain != name or len(plain) > 7:
        plain = plain[:5] + hashed(name, length=2)
    return f"{UPLINK_PREFIX}{tag}-{plain}"


def uplink_peer(tag: str, domain_id: str, owner_id: str) -> str:
    """The host's end of the veth pair that joins a router or an external network of a domain to an uplink bridge."""
    return f"pv{tag}{hashed(domain_id, owner_id, length=9)}"


def tap(port_id: str) -> str:
    """A port's tap."""
    return f"tap{short(port_id)}"


def bridge(network_id: str) -> str:
    """A network's bridge."""
    return f"br{short(network_id)}"


def bridge_uplink(network_id: str) -> str:
    """The port of a network's bridge that leads to its uplink."""
    return f"bu{short(network_id)}"


def vxlan(network_id: str) -> str:
    """The port of a network's bridge that leads to the other hosts."""
    return f"vx{short(network_id)}"


def bridge_mac(network_id: str) -> str:
    """The MAC of a network's bridge, the same on every host: there, each host serves its own guests DHCP, DNS and metadata."""
    return derived_mac("network", network_id)


def resolver_leg(network_id: str) -> str:
    """The leg by which a host's DNS forwarder asks through a router that is on another host."""
    return f"qd{short(network_id)}"


def leg(router_id: str, subnet_id: str) -> str:
    """A router's end of its leg on a network."""
    return f"qr{hashed(router_id, subnet_id)}"


def leg_peer(router_id: str, subnet_id: str) -> str:
    """The bridge's end of a router's leg."""
    return f"qp{hashed(router_id, subnet_id)}"


def gateway(router_id: str) -> str:
    """A router's leg on its external network."""
    return f"qg{short(router_id)}"


def derived_mac(*parts: str) -> str:
    """A locally administered address that is always the same for the same thing."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0x02, *digest[:5]))


def distinct_numbers(identifiers: list[str], low: int, high: int) -> dict[str, int]:
    """A number in [low, high] for each id, from its hash so that others coming and going rarely change it; never the same twice."""
    numbers: dict[str, int] = {}
    for identifier in sorted(set(identifiers)):
        number = low + int(hashed(identifier, length=12), 16) % (high - low + 1)
        while number in numbers.values():
            number = low + (number - low + 1) % (high - low + 1)
        numbers[identifier] = number
    return numbers
