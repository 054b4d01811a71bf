"""What passes between a network's bridge and its VXLAN device: guests' and routers' frames, nothing of what each host serves for itself.

Every host answers DHCP, DNS and metadata with the same MAC and addresses, so none of that may be heard on another host. What arrives has
no in-mark: for the filter of the port that it goes to, it came from afar.
"""

from ipaddress import ip_address

from pileus.core import network_names as names
from pileus.core.network_plan import METADATA_ADDRESS, intercepted
from pileus.core.network_vxlan import joined
from pileus.core.nft_text import chain, quoted
from pileus.model.routing import DomainNetwork, RoutingDomain

SERVICE = "{ 67, 547 }"  # the ports of DHCP servers


def chains(domain: RoutingDomain) -> list[str]:
    """Chains of the bridge table; none while the domain is on this host only."""
    networks = joined(domain)
    lines: list[str] = []
    if networks:
        devices = quoted([names.vxlan(network.id) for network in networks])
        bridges = ", ".join(sorted(names.bridge_mac(network.id) for network in networks))
        arriving = [f"iifname {devices} ether saddr {{ {bridges} }} drop", f"iifname {devices} udp sport {SERVICE} drop"]
        arriving.append(f"iifname {devices} udp dport {SERVICE} drop")
        leaving = [f"oifname {devices} udp sport {SERVICE} drop", f"oifname {devices} udp dport {SERVICE} drop"]
        leaving += [rule for network in networks for rule in _own_addresses(network)]
        lines += chain("tunnel-prerouting", arriving, "type filter hook prerouting priority -310; policy accept;")
        lines += chain("tunnel-forwarding", leaving, "type filter hook forward priority -210; policy accept;")
        # The bridge itself, which is where the services are, neither hears nor says anything beyond this host.
        lines += chain("tunnel-input", [f"iifname {devices} drop"], "type filter hook input priority -210; policy accept;")
        lines += chain("tunnel-output", [f"oifname {devices} drop"], "type filter hook output priority -210; policy accept;")
    return lines + _metadata(domain)


def _own_addresses(network: DomainNetwork) -> list[str]:
    own = [ip_address(subnet.dhcp_ip) for subnet in network.subnets if subnet.dhcp and subnet.dhcp_ip]
    four = ", ".join(str(address) for address in own if address.version == 4)
    return [f'oifname "{names.vxlan(network.id)}" arp daddr ip {{ {four} }} drop'] if four else []


def _metadata(domain: RoutingDomain) -> list[str]:
    """A guest that asks its router for metadata is answered by its own host's bridge, where the router is on another host."""
    if not intercepted(domain):
        return []
    rules: list[str] = []
    for network in domain.networks:
        taps = quoted([names.tap(port.id) for port in domain.ports if port.local and port.network_id == network.id])
        if taps:
            mac = names.bridge_mac(network.id)
            rules.append(f"iifname {taps} ip daddr {METADATA_ADDRESS} ether daddr set {mac} meta pkttype set host")
    return chain("metadata", rules, "type filter hook prerouting priority -290; policy accept;") if rules else []
