"""What a guest may learn of itself: the documents of the metadata service and the config drive, by path.

Formats: OpenStack's metadata (Nova's user guide, "Metadata") and EC2's. `latest` and one dated version of each; cloud-init knows both.
"""

import base64
import ipaddress
import json
from typing import Any

from pileus.model.base import Model
from pileus.model.ports import ServerPort
from pileus.model.servers import Server
from pileus.model.subnets import Subnet

OPENSTACK_VERSIONS = ("2018-08-27", "latest")
EC2_VERSIONS = ("2009-04-04", "latest")


class Facts(Model, frozen=True, kw_only=True):
    """What the documents are made of. `subnets` by id; `groups` are names; `password` in the clear, for the guest's eyes alone."""

    server: Server
    ports: list[ServerPort] = []
    subnets: dict[str, Subnet] = {}
    groups: list[str] = []
    password: str | None = None
    dns_domain: str = ""
    tags: dict[str, str] = {}  # port id -> the tag that the server's owner gave it


def documents(facts: Facts) -> dict[str, str]:
    """Path -> text of every document."""
    server = facts.server
    files = {
        "meta_data.json": json.dumps(meta_data(facts), sort_keys=True),
        "network_data.json": json.dumps(network_data(facts), sort_keys=True),
        "vendor_data.json": "{}",
        "vendor_data2.json": "{}",
    }
    user_data = decoded(server.user_data)
    if user_data is not None:
        files["user_data"] = user_data
    found = {f"openstack/{version}/{name}": text for version in OPENSTACK_VERSIONS for name, text in files.items()}
    for index, path in enumerate(sorted(server.personality)):
        found[f"openstack/content/{index:04}"] = decoded(server.personality[path]) or ""
    for version in EC2_VERSIONS:
        found |= {f"{version}/meta-data/{name}": text for name, text in ec2(facts).items()}
        if user_data is not None:
            found[f"{version}/user-data"] = user_data
    return found


def decoded(user_data: str | None) -> str | None:
    """The user data as text; bytes that are no UTF-8 stay readable one for one as Latin-1."""
    if not user_data:
        return None
    raw = base64.b64decode(user_data)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def hostname(facts: Facts) -> str:
    """The server's full host name."""
    return f"{facts.server.hostname}.{facts.dns_domain.strip('.')}" if facts.dns_domain.strip(".") else facts.server.hostname


def meta_data(facts: Facts) -> dict[str, Any]:
    """OpenStack's meta_data.json."""
    server = facts.server
    document: dict[str, Any] = {
        "uuid": server.id,
        "name": server.name,
        "hostname": hostname(facts),
        "launch_index": server.launch_index,
        "availability_zone": server.availability_zone or "nova",
        "project_id": server.project_id,
        "meta": server.metadata,
        "devices": [
            {"type": "nic", "mac": port.mac_address, "tags": [facts.tags[port.id]]} for port in facts.ports if port.id in facts.tags
        ],
        "dedicated_cpus": [],
    }
    if server.public_key:
        name = server.key_name or "key"
        document["public_keys"] = {name: server.public_key}
        kind = "x509" if server.public_key.startswith("-----BEGIN CERTIFICATE") else "ssh"
        document["keys"] = [{"name": name, "type": kind, "data": server.public_key}]
    if server.personality:
        document["files"] = [
            {"path": path, "content_path": f"/content/{index:04}"} for index, path in enumerate(sorted(server.personality))
        ]
    if facts.password:
        document["admin_pass"] = facts.password
    return document


def network_data(facts: Facts) -> dict[str, Any]:
    """OpenStack's network_data.json: links, networks, DNS servers."""
    links = [
        {
            "id": f"tap{port.id[:11]}",
            "vif_id": port.id,
            "type": "bridge",
            "mtu": port.mtu,
            "ethernet_mac_address": port.mac_address,
        }
        for port in facts.ports
    ]
    networks: list[dict[str, Any]] = []
    servers: list[str] = []
    for port in facts.ports:
        for address in port.fixed_ips:
            subnet = facts.subnets.get(address.subnet_id)
            if subnet is None:
                continue
            networks.append(_network(f"network{len(networks)}", port, address.ip_address, subnet))
            servers += [one for one in subnet.dns_nameservers if one not in servers]
    return {"links": links, "networks": networks, "services": [{"type": "dns", "address": one} for one in servers]}


def _network(name: str, port: ServerPort, address: str, subnet: Subnet) -> dict[str, Any]:
    network: dict[str, Any] = {"id": name, "link": f"tap{port.id[:11]}", "network_id": port.network_id}
    if subnet.ip_version == 6 and subnet.ipv6_address_mode:
        kind = {"slaac": "ipv6_slaac", "dhcpv6-stateless": "ipv6_dhcpv6-stateless", "dhcpv6-stateful": "ipv6_dhcpv6-stateful"}
        return {**network, "type": kind[subnet.ipv6_address_mode]}
    if subnet.enable_dhcp:
        return {**network, "type": f"ipv{subnet.ip_version}_dhcp"}
    prefix = ipaddress.ip_network(subnet.cidr)
    routes = [_route(route.destination, route.nexthop) for route in subnet.host_routes]
    if subnet.gateway_ip:
        routes.insert(0, _route("0.0.0.0/0" if subnet.ip_version == 4 else "::/0", subnet.gateway_ip))
    return {
        **network,
        "type": f"ipv{subnet.ip_version}",
        "ip_address": address,
        "netmask": str(prefix.netmask),
        "routes": routes,
        "services": [{"type": "dns", "address": one} for one in subnet.dns_nameservers],
    }


def _route(destination: str, nexthop: str) -> dict[str, str]:
    target = ipaddress.ip_network(destination)
    return {"network": str(target.network_address), "netmask": str(target.netmask), "gateway": nexthop}


def ec2(facts: Facts) -> dict[str, str]:
    """EC2's meta-data, by path below meta-data/."""
    server = facts.server
    local = [one.ip_address for port in facts.ports for one in port.fixed_ips if ":" not in one.ip_address]
    public = [floating for port in facts.ports for _, floating in port.floating_ips]
    found = {
        "ami-id": server.image_id or "None",
        "ami-launch-index": str(server.launch_index),
        "block-device-mapping/ami": server.root_device.removeprefix("/dev/"),
        "block-device-mapping/root": server.root_device,
        "hostname": hostname(facts),
        "instance-action": "none",
        "instance-id": server.id,
        "instance-type": server.flavor.name,
        "local-hostname": hostname(facts),
        "local-ipv4": local[0] if local else "",
        "placement/availability-zone": server.availability_zone or "nova",
        "public-hostname": hostname(facts),
        "public-ipv4": public[0] if public else "",
        "reservation-id": server.reservation_id,
        "security-groups": "\n".join(facts.groups),
    }
    if server.public_key:
        found["public-keys/0/openssh-key"] = server.public_key
    return found
