"""A routing domain with one of everything, for golden files of what is made from it."""

from pileus.model.routing import (
    DomainNetwork,
    DomainPort,
    DomainRouter,
    DomainSecurityGroup,
    DomainSubnet,
    FloatingAddress,
    RouterGateway,
    RouterInterface,
    RoutingDomain,
    SecurityRule,
    Uplink,
)

WEB = DomainNetwork(
    id="aaaaaaaa-0000-4000-8000-000000000001", mtu=1450, dns_domain="example.org.",
    subnets=[
        DomainSubnet(
            id="51111111-0000-4000-8000-000000000001", cidr="10.0.0.0/24", ip_version=4, gateway_ip="10.0.0.1", gateway_here=True,
            dhcp_ip="10.0.0.2", host_routes=[{"destination": "192.168.0.0/16", "nexthop": "10.0.0.9"}],
        ),
        DomainSubnet(
            id="51111111-0000-4000-8000-000000000002", cidr="fd00:1::/64", ip_version=6, gateway_ip="fd00:1::1", gateway_here=True,
            dhcp_ip="fd00:1::2", ipv6_ra_mode="slaac", ipv6_address_mode="slaac",
        ),
    ],
)  # fmt: skip
STORE = DomainNetwork(
    id="bbbbbbbb-0000-4000-8000-000000000002",
    subnets=[
        DomainSubnet(
            id="52222222-0000-4000-8000-000000000001", cidr="10.0.1.0/24", ip_version=4, gateway_ip="10.0.1.1", gateway_here=True,
            dhcp_ip="10.0.1.2", dns_nameservers=["192.0.2.53"],
        ),
        DomainSubnet(
            id="52222222-0000-4000-8000-000000000002", cidr="fd00:2::/64", ip_version=6, gateway_ip="fd00:2::1", gateway_here=True,
            dhcp_ip="fd00:2::2", ipv6_ra_mode="dhcpv6-stateful", ipv6_address_mode="dhcpv6-stateful",
        ),
    ],
)  # fmt: skip
GROUP = DomainSecurityGroup(
    id="99999999-0000-4000-8000-000000000001",
    rules=[
        SecurityRule(direction="egress", ethertype="IPv4"),
        SecurityRule(direction="egress", ethertype="IPv6"),
        SecurityRule(direction="ingress", ethertype="IPv4", protocol="tcp", port_min=22, port_max=22),
        SecurityRule(direction="ingress", ethertype="IPv4", protocol="udp", port_min=1000, port_max=2000, remote_prefix="192.0.2.0/24"),
        SecurityRule(direction="ingress", ethertype="IPv4", protocol="icmp", port_min=8, port_max=0),
        SecurityRule(direction="ingress", ethertype="IPv6", protocol="icmp"),
        SecurityRule(direction="ingress", ethertype="IPv4", protocol="112"),
        SecurityRule(
            direction="ingress", ethertype="IPv4", remote_group_id="99999999-0000-4000-8000-000000000001",
            remote_addresses=["10.0.0.12", "10.0.0.11", "fd00:1::f816:3eff:fe00:1"],
        ),
        SecurityRule(direction="ingress", ethertype="IPv6", remote_group_id="99999999-0000-4000-8000-000000000002", remote_addresses=[]),
    ],
)  # fmt: skip
STATELESS = DomainSecurityGroup(
    id="99999999-0000-4000-8000-000000000009", stateful=False, rules=[SecurityRule(direction="ingress", ethertype="IPv4", protocol="udp")]
)
PORTS = [
    DomainPort(
        id="11111111-0000-4000-8000-000000000001", network_id=WEB.id, mac="fa:16:3e:00:00:01", hostname="web-1",
        fixed_ips=[(WEB.subnets[0].id, "10.0.0.11"), (WEB.subnets[1].id, "fd00:1::f816:3eff:fe00:1")], security_groups=[GROUP.id],
        dhcp_options=[{"opt_name": "bootfile-name", "opt_value": "pxelinux.0", "ip_version": "4"}], guest_id="guest-1",
    ),
    DomainPort(
        id="22222222-0000-4000-8000-000000000002", network_id=WEB.id, mac="fa:16:3e:00:00:02", security_groups=[GROUP.id],
        fixed_ips=[(WEB.subnets[0].id, "10.0.0.12")], guest_id="guest-2",
        allowed_pairs=[{"ip_address": "10.0.0.100", "mac_address": "00:00:5e:00:01:01"}, {"ip_address": "10.9.0.0/16", "mac_address": ""}],
    ),
    DomainPort(
        id="33333333-0000-4000-8000-000000000003", network_id=STORE.id, mac="fa:16:3e:00:00:03", security_groups=[STATELESS.id],
        fixed_ips=[(STORE.subnets[0].id, "10.0.1.11"), (STORE.subnets[1].id, "fd00:2::11")], guest_id="guest-3",
    ),
    DomainPort(
        id="44444444-0000-4000-8000-000000000004", network_id=STORE.id, mac="fa:16:3e:00:00:04", port_security=False,
        fixed_ips=[(STORE.subnets[0].id, "10.0.1.12")], guest_id="guest-4",
    ),
    DomainPort(
        id="55555555-0000-4000-8000-000000000005", network_id=WEB.id, mac="fa:16:3e:00:00:05", local=False, security_groups=[GROUP.id],
        fixed_ips=[(WEB.subnets[0].id, "10.0.0.15")], guest_id="guest-5",
    ),
]  # fmt: skip
ROUTER = DomainRouter(
    id="cccccccc-0000-4000-8000-000000000003",
    interfaces=[
        RouterInterface(network_id=net.id, subnet_id=subnet.id, ip=subnet.gateway_ip or "", mac=f"fa:16:3e:00:01:0{number}")
        for number, net in enumerate((WEB, STORE))
        for subnet in net.subnets
    ],
    gateway=RouterGateway(
        network_id="eeeeeeee-0000-4000-8000-000000000004", uplink="public", mac="fa:16:3e:00:02:01", addresses=["172.24.4.10/24"],
        gateways=["172.24.4.1"],
    ),
    floating=[FloatingAddress(floating_ip="172.24.4.50", fixed_ip="10.0.0.11")],
    routes=[{"destination": "10.50.0.0/16", "nexthop": "10.0.1.12"}],
)  # fmt: skip
DOMAIN = RoutingDomain(
    id="dddddddd-0000-4000-8000-000000000005", networks=[WEB, STORE], ports=PORTS, routers=[ROUTER], security_groups=[GROUP, STATELESS],
    uplinks=[Uplink(name="public", addresses=["172.24.4.1/24"])],
)  # fmt: skip
