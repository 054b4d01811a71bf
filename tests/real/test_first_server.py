"""What `up` promises: a first server that answers ssh, and the lifecycle of a server through the released client."""

import base64
from typing import Any

from tests.real.real_cloud import RealCloud, boots, gone, ready, until


def test_up_says_where_everything_is(cloud: RealCloud, address: str) -> None:
    output = cloud.first_output.stdout  # type: ignore[attr-defined]
    assert cloud.listen in output
    assert str(cloud.state / "clouds.yaml") in output
    assert f"pileus@{address}" in output
    assert (cloud.state / "clouds.yaml").stat().st_mode & 0o777 == 0o600


def test_up_again_finds_what_is_there(cloud: RealCloud) -> None:
    again = cloud.up()
    assert "runs already" in again.stderr
    assert "hello" in again.stdout


def test_the_guest_is_what_was_asked_for(cloud: RealCloud, hello: Any, address: str) -> None:
    assert cloud.ssh(address, "hostname") == "hello"
    assert cloud.ssh(address, "sudo -n id -u") == "0"
    blocks = int(cloud.ssh(address, "df -k / | tail -1 | awk '{print $2}'"))
    assert blocks > 800_000, "the root file system grew to the flavor's 1 GiB"
    assert (
        cloud.ssh(
            address,
            "curl -s http://169.254.169.254/latest/meta-data/instance-id || wget -qO- http://169.254.169.254/latest/meta-data/instance-id",
        )
        == hello.id
    )


def test_the_reason_for_the_accelerator_is_shown(admin: Any) -> None:
    hypervisor = next(iter(admin.compute.hypervisors(details=True)))
    assert hypervisor.hypervisor_type in ("QEMU", "KVM")


def test_the_server_reaches_the_host_of_the_public_network_through_snat(cloud: RealCloud, address: str) -> None:
    gateway = address.rpartition(".")[0] + ".1"
    assert "0% packet loss" in cloud.ssh(address, f"ping -c 2 -W 5 {gateway}")


def test_stop_and_start(cloud: RealCloud, demo: Any, hello: Any, address: str) -> None:
    demo.compute.stop_server(hello)
    demo.compute.wait_for_server(hello, status="SHUTOFF", wait=60)
    demo.compute.start_server(hello)
    demo.compute.wait_for_server(hello, wait=60)
    assert cloud.ssh(address, "echo here", timeout=90) == "here"


def test_pause_stops_the_guest_and_unpause_lets_it_go_on(cloud: RealCloud, demo: Any, hello: Any, address: str) -> None:
    before = cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id")
    demo.compute.pause_server(hello)
    demo.compute.wait_for_server(hello, status="PAUSED", wait=30)
    demo.compute.unpause_server(hello)
    demo.compute.wait_for_server(hello, wait=30)
    assert cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id") == before


def test_both_reboots_boot_the_guest_anew(cloud: RealCloud, demo: Any, hello: Any, address: str) -> None:
    for kind in ("SOFT", "HARD"):
        before = cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id", timeout=90)
        demo.compute.reboot_server(hello, kind)
        demo.compute.wait_for_server(hello, wait=120)
        until(lambda old=before: cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id", timeout=90) != old, 90, f"a {kind} reboot")


def test_a_guest_that_powers_off_is_shutoff(cloud: RealCloud, demo: Any, hello: Any, address: str) -> None:
    cloud.ssh(address, "sudo poweroff")
    demo.compute.wait_for_server(hello, status="SHUTOFF", wait=60)
    demo.compute.start_server(hello)
    demo.compute.wait_for_server(hello, wait=60)


def test_a_security_group_that_is_taken_away_cuts_ssh(cloud: RealCloud, demo: Any, hello: Any, address: str) -> None:
    cloud.ssh(address, "true", timeout=90)
    group = demo.network.find_security_group("ssh")
    rule = next(one for one in demo.network.security_group_rules(security_group_id=group.id) if one.protocol == "tcp")
    demo.network.delete_security_group_rule(rule)
    import socket

    def refused() -> bool:
        try:
            socket.create_connection((address, 22), timeout=2).close()
        except OSError:
            return True
        return False

    until(refused, 30, "ssh being cut")
    demo.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22, ethertype="IPv4"
    )
    assert cloud.ssh(address, "echo back") == "back"


def test_a_snapshot_boots_with_what_was_written(cloud: RealCloud, demo: Any, hello: Any, address: str) -> None:
    cloud.ssh(address, "echo kept | sudo tee /kept && sync", timeout=90)
    image = demo.compute.create_server_image(hello, "hello-snapshot", wait=True, timeout=180)
    assert image.status == "active"
    network = demo.network.find_network("private")
    flavor = demo.compute.find_flavor("m1.nano")
    script = base64.b64encode(b'#!/bin/sh\necho "snapshot has $(cat /kept)" > /dev/console\n').decode()
    server = demo.compute.create_server(
        name="from-snapshot", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}], user_data=script
    )
    server = demo.compute.wait_for_server(server, wait=120)
    until(lambda: "snapshot has kept" in demo.compute.get_server_console_output(server.id)["output"], 120, "the snapshot's data")
    gone(demo, server)
    demo.image.delete_image(image)


def test_a_deleted_server_leaves_nothing(cloud: RealCloud, demo: Any) -> None:
    network = demo.network.find_network("private")
    server = boots(demo, "short-lived", network.id, config_drive=True)
    ready(demo, server)
    gone(demo, server)
    assert not (cloud.state / "node" / "guests" / server.id).exists()
    assert not list(demo.network.ports(device_id=server.id))
    cloud.verify()


def test_verify_holds(cloud: RealCloud) -> None:
    cloud.verify()


def test_the_metadata_names_the_floating_ip_that_came_after_the_boot(cloud: RealCloud, address: str) -> None:
    url = "http://169.254.169.254/latest/meta-data/public-ipv4"
    until(lambda: cloud.ssh(address, f"curl -s {url} || wget -qO- {url}", timeout=90) == address, 30, "the floating IP in the metadata")
