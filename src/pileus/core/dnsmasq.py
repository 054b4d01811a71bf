"""The text of dnsmasq's files for a network: DHCP (fixed leases of known ports only), DNS for the ports' names, IPv6 router advertisements.

A network has one instance on its bridge, and one on the leg of the router that is its IPv6 gateway where that is to advertise itself:
an advertisement must come from the router's own link-local address.
"""

import re
from ipaddress import ip_address, ip_network

from pileus.core import network_names as names
from pileus.core.network_plan import METADATA_ADDRESS, active_routers, legs, serves
from pileus.core.network_vxlan import way_out
from pileus.model.base import Model
from pileus.model.errors import Invalid
from pileus.model.routing import DomainNetwork, DomainPort, DomainSubnet, RoutingDomain

LEASE = "86400s"
TAGGED = ",set:"
"""What a host's line has that has options of its own: dnsmasq (2.90) that reads such lines again after a lease was given crashes."""
ADDRESS = re.compile(r"[0-9A-Fa-f.:/]+")
MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
OPTION_NAME = re.compile(r"[a-z0-9-]{1,60}")


class Instance(Model, frozen=True, kw_only=True):
    """One dnsmasq. A change of `options` needs a restart; `hosts` (unless TAGGED), `names` and `extra` are read again at SIGHUP."""

    name: str
    interface: str
    options: str
    hosts: str = ""
    names: str = ""
    extra: str = ""

    def configuration(self, directory: str, user: str) -> str:
        """The whole configuration file, with its paths below `directory`."""
        paths = {"pid-file": "pid", "dhcp-hostsfile": "hosts", "addn-hosts": "names", "dhcp-optsfile": "extra"}
        lines = [f"{option}={directory}/{name}" for option, name in paths.items()]
        return self.options + "\n".join([f"user={user}", "group=", *lines] if user == "root" else [f"user={user}", *lines]) + "\n"


def instances(domain: RoutingDomain, network: DomainNetwork, resolvers: list[str]) -> list[Instance]:
    """All that run for a network. `resolvers` are the host's own DNS servers, asked where the namespace has a way to them."""
    advertised = _advertised(domain, network)
    ports = sorted((port for port in domain.ports if port.network_id == network.id), key=lambda port: port.id)
    found: list[Instance] = []
    on_leg = {subnet.id for _, subnets in advertised for subnet in subnets}
    if serves(network):
        found.append(_on_bridge(domain, network, on_leg, ports, resolvers))
    found += [_on_leg(network, device, subnets, ports) for device, subnets in advertised]
    routes = [text for subnet in network.subnets for route in subnet.host_routes for text in (route["destination"], route["nexthop"])]
    stray = not all(map(ADDRESS.fullmatch, routes)) or not all(MAC.fullmatch(port.mac) for port in ports)
    # An address with a zone: any text could follow.
    if stray or any("%" in text for one in found for text in (one.options, one.hosts, one.names)):
        raise Invalid(f"The network {network.id} has an address that is none.")
    return found


def owners(hosts: str) -> dict[str, str]:
    """The MAC address to which each address of a hosts file belongs."""
    lines = [line.split(",") for line in hosts.splitlines()]
    return {fields[-2].strip("[]"): fields[0] for fields in lines}


def _common(interface: str) -> list[str]:
    return [
        f"interface={interface}", "except-interface=lo", "bind-dynamic", "no-hosts", "no-resolv", "no-poll", "no-ping", "leasefile-ro",
        "dhcp-authoritative", "dhcp-ignore=tag:!known", "quiet-dhcp", "quiet-dhcp6", "quiet-ra", "log-facility=/dev/null",
    ]  # fmt: skip


def _on_bridge(domain: RoutingDomain, network: DomainNetwork, on_leg: set[str], ports: list[DomainPort], resolvers: list[str]) -> Instance:
    served = [subnet for subnet in network.subnets if subnet.dhcp and subnet.dhcp_ip]
    lines = [*_common(names.bridge(network.id)), "expand-hosts", "domain-needed", "bogus-priv", "cache-size=1000"]
    local = _domain_name(network)
    if local:
        lines += [f"domain={local}", f"local=/{local}/"]
    lines += [f"server={server}" for server in _servers(domain, served, resolvers)]
    mine: list[DomainSubnet] = []
    for number, subnet in enumerate(served):
        if subnet.ip_version == 4:
            lines += _range4(f"s{number}", subnet, network)
            mine.append(subnet)
        elif subnet.id not in on_leg and subnet.ipv6_address_mode in ("dhcpv6-stateful", "dhcpv6-stateless"):
            lines += _range6(f"s{number}", subnet, "static")
            mine.append(subnet)
    if any(subnet.ip_version == 4 for subnet in served):
        lines.append(f"dhcp-option-force=option:mtu,{network.mtu}")
    lines.append(f"dhcp-lease-max={max(1000, 2 * len(ports))}")
    ids = {subnet.id: subnet for subnet in mine}
    return Instance(
        name=names.bridge(network.id), interface=names.bridge(network.id), options="\n".join(lines) + "\n",
        hosts=_hosts(ports, ids), names=_names(ports, local), extra=_extra(ports, ids),
    )  # fmt: skip


def _on_leg(network: DomainNetwork, device: str, subnets: list[DomainSubnet], ports: list[DomainPort]) -> Instance:
    lines = [*_common(device), "port=0", "enable-ra", f"ra-param={device},mtu:{network.mtu},60,1800"]
    kinds = {"slaac": "ra-only", "dhcpv6-stateless": "ra-stateless", "dhcpv6-stateful": "static"}
    for number, subnet in enumerate(subnets):
        lines += _range6(f"s{number}", subnet, kinds[subnet.ipv6_ra_mode or "slaac"])
    lines.append(f"dhcp-lease-max={max(1000, 2 * len(ports))}")
    ids = {subnet.id: subnet for subnet in subnets}
    return Instance(name=device, interface=device, options="\n".join(lines) + "\n", hosts=_hosts(ports, ids), extra=_extra(ports, ids))


def _advertised(domain: RoutingDomain, network: DomainNetwork) -> list[tuple[str, list[DomainSubnet]]]:
    """Legs, each with the IPv6 subnets that it advertises: those of which it holds the gateway address."""
    found: dict[str, list[DomainSubnet]] = {}
    subnets = {subnet.id: subnet for subnet in network.subnets}
    for router in active_routers(domain):
        for device, interface in legs(router):
            subnet = subnets.get(interface.subnet_id)
            if subnet is None or subnet.ip_version != 6 or not subnet.ipv6_ra_mode or subnet.gateway_ip is None:
                continue
            if ip_address(subnet.gateway_ip) == ip_address(interface.ip):
                found.setdefault(device, []).append(subnet)
    return sorted(found.items())


def _range4(tag: str, subnet: DomainSubnet, network: DomainNetwork) -> list[str]:
    net = ip_network(subnet.cidr)
    lines = [f"dhcp-range=set:{tag},{net.network_address},static,{net.netmask},{LEASE}"]
    lines.append(f"dhcp-option=tag:{tag},option:router" + (f",{subnet.gateway_ip}" if subnet.gateway_ip else ""))
    servers = [server for server in subnet.dns_nameservers if ip_address(server).version == 4] or [subnet.dhcp_ip or ""]
    lines.append(f"dhcp-option=tag:{tag},option:dns-server,{','.join(servers)}")
    metadata = f"{METADATA_ADDRESS}/32"
    routes = [f"{metadata},{subnet.dhcp_ip}"]
    others = [other.cidr for other in network.subnets if other.ip_version == 4 and other.id != subnet.id]
    routes += [f"{cidr},0.0.0.0" for cidr in others]
    routes += [f"{route['destination']},{route['nexthop']}" for route in subnet.host_routes if route["destination"] != metadata]
    if subnet.gateway_ip and not any(route["destination"] == "0.0.0.0/0" for route in subnet.host_routes):
        routes.append(f"0.0.0.0/0,{subnet.gateway_ip}")  # a client that takes these routes ignores the router option
    return [*lines, *(f"dhcp-option=tag:{tag},{option},{','.join(routes)}" for option in ("option:classless-static-route", "249"))]


def _range6(tag: str, subnet: DomainSubnet, kind: str) -> list[str]:
    net = ip_network(subnet.cidr)
    lines = [f"dhcp-range=set:{tag},{net.network_address},{kind},{net.prefixlen},{LEASE}"]
    servers = [server for server in subnet.dns_nameservers if ip_address(server).version == 6]
    if not servers and subnet.dhcp and subnet.dhcp_ip:
        servers = [subnet.dhcp_ip]
    values = "".join(f",[{server}]" for server in servers)
    return [*lines, f"dhcp-option=tag:{tag},option6:dns-server{values}"]


def _servers(domain: RoutingDomain, served: list[DomainSubnet], resolvers: list[str]) -> list[str]:
    out = way_out(domain)
    by_another_host = out is not None and bool(out.router.remote)
    if not by_another_host and not any(router.gateway is not None and router.gateway.gateways for router in active_routers(domain)):
        return []
    named = [server for subnet in served for server in subnet.dns_nameservers]
    return list(dict.fromkeys(named or [server for server in resolvers if not ip_address(server).is_loopback]))


def _hosts(ports: list[DomainPort], subnets: dict[str, DomainSubnet]) -> str:
    lines: list[str] = []
    for port in ports:
        for subnet_id, address in port.fixed_ips:
            if subnet_id in subnets:
                ip = ip_address(address)
                text = f"[{ip}]" if ip.version == 6 else str(ip)
                tag = f"{TAGGED}{_port_tag(port)}" if port.dhcp_options else ""
                lines.append(f"{port.mac.lower()}{tag},{text},{_host_name(port, address)}")
    return "".join(f"{line}\n" for line in lines)


def _names(ports: list[DomainPort], local: str) -> str:
    lines = [f"{address} {_host_name(port, address)}" for port in ports for _, address in port.fixed_ips]
    if local:
        lines = [f"{line.split()[0]} {line.split()[1]}.{local} {line.split()[1]}" for line in lines]
    return "".join(f"{line}\n" for line in lines)


def _extra(ports: list[DomainPort], subnets: dict[str, DomainSubnet]) -> str:
    """Ports' own DHCP options; what could not stand on one line of the file is left out."""
    versions = {subnet.ip_version for subnet in subnets.values()}
    lines: list[str] = []
    for port in ports:
        for option in port.dhcp_options:
            version = int(option.get("ip_version") or 4)
            name, value = option["opt_name"].lower(), option.get("opt_value") or ""
            if version not in versions or not OPTION_NAME.fullmatch(name) or not value.isprintable():
                continue
            kind = "option" if version == 4 else "option6"
            key = name if name.isdecimal() and version == 4 else f"{kind}:{name}"
            lines.append(f"tag:{_port_tag(port)},{key},{value}" if value else f"tag:{_port_tag(port)},{key}")
    return "".join(f"{line}\n" for line in lines)


def _port_tag(port: DomainPort) -> str:
    return f"port-{names.short(port.id)}"


def _host_name(port: DomainPort, address: str) -> str:
    name = re.sub(r"[^A-Za-z0-9-]", "-", port.hostname)[:63].strip("-")
    return name or "host-" + re.sub(r"[.:]", "-", address)


def _domain_name(network: DomainNetwork) -> str:
    name = network.dns_domain.strip(".").lower()
    return name if re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?", name) else ""
