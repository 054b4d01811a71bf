"""Two tenants with the same addresses don't meet."""

from collections.abc import Iterator
from typing import Any

import openstack
import pytest

from tests.real.real_cloud import RealCloud, boots, gone, ready

PASSWORD = "a-test-password"


@pytest.fixture
def other(cloud: RealCloud, admin: Any) -> Iterator[Any]:
    """openstacksdk as a member of another project."""
    project = admin.identity.create_project(name="other", domain_id="default")
    user = admin.identity.create_user(name="other", password=PASSWORD, domain_id="default")
    role = admin.identity.find_role("member")
    admin.identity.assign_project_role_to_user(project, user, role)
    connection = openstack.connect(
        auth_url=f"http://{cloud.listen}/identity", username="other", password=PASSWORD, project_name="other",
        user_domain_id="default", project_domain_id="default", region_name="RegionOne",
    )  # fmt: skip
    yield connection
    for port in connection.network.ports():
        connection.network.delete_port(port)
    for network in connection.network.networks(project_id=project.id):
        connection.network.delete_network(network)
    admin.identity.delete_user(user)
    admin.identity.delete_project(project)


def test_the_same_subnet_in_two_projects(cloud: RealCloud, demo: Any, other: Any, hello: Any, address: str) -> None:
    mine = next(one["addr"] for one in hello.addresses["private"] if one["OS-EXT-IPS:type"] == "fixed")
    network = other.network.create_network(name="private")
    subnet = other.network.create_subnet(network_id=network.id, cidr="10.0.0.0/24", ip_version=4)
    group = other.network.find_security_group("default")
    for direction in ("ingress",):
        other.network.create_security_group_rule(security_group_id=group.id, direction=direction, ethertype="IPv4")
    # The other project takes the very address that hello has, and asks who answers beside itself.
    taken = other.network.create_port(network_id=network.id, fixed_ips=[{"subnet_id": subnet.id, "ip_address": mine}])
    image, flavor = other.image.find_image("pileus-guest"), other.compute.find_flavor("m1.nano")
    twin = other.compute.create_server(name="twin", image_id=image.id, flavor_id=flavor.id, networks=[{"port": taken.id}])
    twin = other.compute.wait_for_server(twin, wait=120)
    ready(other, twin)
    assert cloud.ssh(address, "hostname") == "hello"
    neighbour = next(
        str(one.fixed_ips[0]["ip_address"]) for one in other.network.ports(network_id=network.id) if one.device_owner == "network:dhcp"
    )
    script = f"ping -c 2 -W 3 {neighbour} | grep loss; ip neigh | grep -c {twin_mac(other, taken.id)}; true"
    answer = cloud.ssh(address, script)
    assert twin_mac(other, taken.id) not in answer
    assert other.compute.find_server(hello.id, ignore_missing=True) is None
    gone(other, twin)


def twin_mac(connection: Any, port_id: str) -> str:
    return str(connection.network.get_port(port_id).mac_address)


def test_a_server_can_be_reached_by_its_own_project_alone(cloud: RealCloud, other: Any, hello: Any) -> None:
    with pytest.raises(openstack.exceptions.NotFoundException):
        other.compute.get_server(hello.id)


def test_servers_of_one_network_reach_each_other(cloud: RealCloud, demo: Any, hello: Any, address: str) -> None:
    network = demo.network.find_network("private")
    second = boots(demo, "second", network.id, security_groups=[{"name": "ssh"}])
    ready(demo, second)
    fixed = next(one["addr"] for one in second.addresses["private"])
    assert "0% packet loss" in cloud.ssh(address, f"ping -c 2 -W 5 {fixed}")
    gone(demo, second)
