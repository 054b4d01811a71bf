"""Crash-only: whatever is killed, starting again is the recovery, and guests go on."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from pileus.node.census import hypervisor_processes
from tests.real.real_cloud import RealCloud, boots, gone, ready, until


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2], 10, f"{pid} being dead")


def qemu_of(cloud: RealCloud, server_id: str) -> int:
    processes = hypervisor_processes(cloud.state / "node" / "guests")
    assert len(processes.get(server_id, [])) == 1, f"processes of {server_id}: {processes}"
    return processes[server_id][0]


def test_a_guest_survives_the_death_of_the_control_plane_and_is_adopted(cloud: RealCloud, demo: Any, hello: Any, address: str) -> None:
    boot = cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id", timeout=90)
    process = qemu_of(cloud, hello.id)
    kill(cloud.pid())
    assert cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id") == boot
    cloud.up("--no-demo")
    assert qemu_of(cloud, hello.id) == process
    assert demo.compute.get_server(hello.id).status == "ACTIVE"
    assert cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id") == boot
    cloud.verify()


def test_a_guest_survives_the_death_of_the_process_that_parses_requests(cloud: RealCloud, demo: Any, hello: Any, address: str) -> None:
    boot = cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id", timeout=90)
    process, node = qemu_of(cloud, hello.id), cloud.pid()
    kill(int((cloud.state / "pid.api").read_text()))
    until(lambda: not Path(f"/proc/{node}").exists() or "Z" in Path(f"/proc/{node}/stat").read_text().split()[2], 20, "the node part's end")
    assert cloud.ssh(address, "cat /proc/sys/kernel/random/boot_id") == boot
    cloud.up("--no-demo")
    assert qemu_of(cloud, hello.id) == process
    assert demo.compute.get_server(hello.id).status == "ACTIVE"
    cloud.verify()


def test_a_guest_that_died_meanwhile_is_reported_soon_after_the_start(cloud: RealCloud, demo: Any) -> None:
    network = demo.network.find_network("private")
    server = boots(demo, "victim", network.id)
    kill(cloud.pid())
    kill(qemu_of(cloud, server.id))
    cloud.up("--no-demo")
    began = time.monotonic()
    until(lambda: demo.compute.get_server(server.id).status == "SHUTOFF", 10, "the dead guest being seen")
    assert time.monotonic() - began < 5, "it is seen within seconds of the start"
    gone(demo, server)
    cloud.verify()


def test_a_killed_qemu_is_seen_and_the_server_can_be_started_again(cloud: RealCloud, demo: Any) -> None:
    network = demo.network.find_network("private")
    server = boots(demo, "fragile", network.id)
    kill(qemu_of(cloud, server.id))
    demo.compute.wait_for_server(server, status="SHUTOFF", wait=10)
    demo.compute.start_server(server)
    demo.compute.wait_for_server(server, wait=60)
    ready(demo, server)
    gone(demo, server)


def test_a_create_that_is_cut_off_by_a_crash_is_finished_after_it(cloud: RealCloud, demo: Any) -> None:
    network = demo.network.find_network("private")
    image, flavor = demo.image.find_image("pileus-guest"), demo.compute.find_flavor("m1.nano")
    server = demo.compute.create_server(name="interrupted", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}])
    kill(cloud.pid())
    cloud.up("--no-demo")
    server = demo.compute.wait_for_server(server, wait=60)
    assert server.status == "ACTIVE"
    demo.compute.delete_server(server)
    kill(cloud.pid())
    cloud.up("--no-demo")
    until(lambda: demo.compute.find_server(server.id, ignore_missing=True) is None, 60, "the delete being finished")
    cloud.verify()
