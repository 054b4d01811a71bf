"""What a guest is made of: its disks, its confinement, its IPv6 address, its configuration drive."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.node.census import hypervisor_processes
from tests.real.real_cloud import RealCloud, boots, gone, ready, until

# Prints what the tests below look for on the console, where it can be read without a network.
REPORT = """#!/bin/sh
{
echo
echo "swap: $(tail -n +2 /proc/swaps | wc -l)"
echo "disks: $(lsblk -bdn -o NAME,SIZE | tr '\\n' ' ')"
echo "drive: $(blkid | grep -c config-2)"
echo "ephemeral: $(mount | grep -c ' /mnt ')"
i=0; while [ $i -lt 20 ] && ! ip -6 addr | grep -q 'scope global'; do sleep 1; i=$((i+1)); done
echo "ipv6: $(ip -6 -o addr show scope global | awk '{print $4}' | tr '\\n' ' ')"
echo "report: end"
} > /dev/console
"""


@pytest.fixture(scope="module")
def shaped(cloud: RealCloud, demo: Any, admin: Any) -> Iterator[tuple[Any, str]]:
    """A server with an ephemeral disk, swap, a configuration drive and an IPv6 subnet, and what it reported."""
    import base64

    flavor = admin.compute.create_flavor(name="shaped", ram=128, vcpus=1, disk=1, ephemeral=1, swap=64)
    network = demo.network.create_network(name="six")
    demo.network.create_subnet(
        network_id=network.id, cidr="fd00:6::/64", ip_version=6, ipv6_ra_mode="slaac", ipv6_address_mode="slaac", name="six"
    )
    demo.network.create_subnet(network_id=network.id, cidr="10.6.0.0/24", ip_version=4)
    router = demo.network.create_router(name="six")
    for subnet in demo.network.subnets(network_id=network.id):
        demo.network.add_interface_to_router(router, subnet_id=subnet.id)
    image = demo.image.find_image("pileus-guest")
    server = demo.compute.create_server(
        name="shaped", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}], config_drive=True,
        user_data=base64.b64encode(REPORT.encode()).decode(),
    )  # fmt: skip
    server = demo.compute.wait_for_server(server, wait=120)

    def log() -> str:
        text = demo.compute.get_server_console_output(server.id)["output"]
        return text if "report: end" in text else ""

    yield server, until(log, 120, "the report of the guest")
    gone(demo, server)
    for subnet in list(demo.network.subnets(network_id=network.id)):
        demo.network.remove_interface_from_router(router, subnet_id=subnet.id)
    demo.network.delete_router(router)
    demo.network.delete_network(network)
    admin.compute.delete_flavor(flavor)
    cloud.verify()


def line(report: str, name: str) -> str:
    found = [one.partition(f"{name}: ")[2].strip() for one in report.splitlines() if f"{name}: " in one]
    assert found, report
    return found[0]


def test_it_has_the_flavors_disks(shaped: tuple[Any, str]) -> None:
    sizes = line(shaped[1], "disks").split()
    assert str(1 << 30) in sizes and str(64 << 20) in sizes
    assert sizes.count(str(1 << 30)) == 2, "root and ephemeral"
    assert line(shaped[1], "swap") == "1"
    assert line(shaped[1], "ephemeral") == "1"


def test_it_makes_its_ipv6_address_from_the_routers_advertisement(shaped: tuple[Any, str], demo: Any) -> None:
    server, report = shaped
    wanted = next(one["addr"] for one in server.addresses["six"] if one["version"] == 6)
    assert f"{wanted}/64" in line(report, "ipv6").split()


def test_it_has_a_configuration_drive(shaped: tuple[Any, str]) -> None:
    server, report = shaped
    assert server.has_config_drive
    assert line(report, "drive") == "1"


def test_its_process_is_confined(cloud: RealCloud, shaped: tuple[Any, str]) -> None:
    server, _ = shaped
    (pid,) = hypervisor_processes(cloud.state / "node" / "guests")[server.id]
    status = dict(one.split(":", 1) for one in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in one)
    users = {int(one) for one in status["Uid"].split()}
    assert len(users) == 1 and users.pop() > 65535, "a user id of its own"
    assert status["Seccomp"].strip() == "2", "QEMU's seccomp sandbox"
    assert int(status["CapEff"].strip(), 16) == 0
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    assert server.id in groups, "a control group of its own"


def test_two_guests_run_as_two_users(cloud: RealCloud, demo: Any, shaped: tuple[Any, str], hello: Any) -> None:
    processes = hypervisor_processes(cloud.state / "node" / "guests")
    users = [Path(f"/proc/{processes[one][0]}").stat().st_uid for one in (hello.id, shaped[0].id)]
    assert users[0] != users[1]


def test_its_diagnostics_grow(admin: Any, shaped: tuple[Any, str]) -> None:
    server, _ = shaped

    def spent() -> int:
        found = admin.compute.get(f"/servers/{server.id}/diagnostics", microversion="2.48").json()
        assert found["cpu_details"], found
        return sum(one.get("time", 0) for one in found["cpu_details"])

    before = spent()
    until(lambda: spent() > before, 30, "CPU time growing")


def test_many_servers_at_once(cloud: RealCloud, demo: Any) -> None:
    network = demo.network.find_network("private")
    image, flavor = demo.image.find_image("pileus-guest"), demo.compute.find_flavor("m1.nano")
    demo.compute.create_server(
        name="many", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}], min_count=3, max_count=3
    )
    made = until(
        lambda: (
            [one for one in demo.compute.servers(name="^many") if one.status == "ACTIVE"][2:] and list(demo.compute.servers(name="^many"))
        ),
        120,
    )
    assert sorted(one.name for one in made) == ["many-1", "many-2", "many-3"]
    for one in made:
        ready(demo, one)
    for one in made:
        gone(demo, one)


def test_a_server_that_fits_nowhere_says_what_was_missing(cloud: RealCloud, demo: Any, admin: Any) -> None:
    flavor = admin.compute.create_flavor(name="huge", ram=128, vcpus=64, disk=1)
    network = demo.network.find_network("private")
    image = demo.image.find_image("pileus-guest")
    server = demo.compute.create_server(name="huge", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}])
    found = until(lambda: (one := demo.compute.get_server(server.id)).status == "ERROR" and one, 30, "the refusal")
    assert "No valid host was found" in found.fault["message"]
    assert "vCPUs" in found.fault["message"]
    assert "vCPUs" in cloud.pileus("why", "huge").stdout
    gone(demo, server)
    admin.compute.delete_flavor(flavor)


def test_the_config_drive_alone_tells_a_guest_who_it_is(demo: Any) -> None:
    network = demo.network.create_network(name="lonely")  # no DHCP, no router: no metadata service
    demo.network.create_subnet(network_id=network.id, cidr="10.7.0.0/24", ip_version=4, enable_dhcp=False, gateway_ip=None)
    server = boots(demo, "by-drive", network.id, config_drive=True)
    log = ready(demo, server)
    assert "by-drive booted" in log
    gone(demo, server)
    demo.network.delete_network(network)
