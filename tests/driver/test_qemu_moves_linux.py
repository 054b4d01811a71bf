"""A Linux guest that works all the time moves there and back: its processes, its memory and its file system are whole."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from pileus.guest import build
from pileus.model.guests import DiskImage, Guest, GuestDisk, Power
from pileus.model.moves import MoveOptions, MovePhase
from pileus.node.hypervisor import accelerators
from tests.driver.move_hosts import Host, begin, boot, finish, later, play, until

IMAGE = build.cached(build.default_cache())
pytestmark = [
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86_64 is missing"),
    pytest.mark.skipif(IMAGE is None, reason="the guest image is not built: ./pileus image build"),
]

WORK = """#!/bin/sh
dd if=/dev/urandom of=/run/blob bs=1M count=8 2>/dev/null
sum=$(sha256sum < /run/blob)
n=0
while true; do
    n=$((n + 1))
    echo "line $n" >> /root/lines
    sync
    if [ "$(sha256sum < /run/blob)" = "$sum" ]; then state=whole; else state=broken; fi
    echo "work $n $state" > /dev/console
done
"""


def linux() -> Guest:
    assert IMAGE
    identity = str(uuid4())
    image = DiskImage(sha256=IMAGE.sha256, path=str(IMAGE.disk), format="qcow2", virtual_size=1 << 30)
    metadata = {
        "openstack/latest/meta_data.json": json.dumps({"uuid": identity, "name": "worker", "hostname": "worker"}),
        "openstack/latest/user_data": WORK,
    }
    root = GuestDisk(name="root", size=1 << 30, image=image)
    return Guest(
        id=identity,
        name="worker",
        project_id="p",
        generation=1,
        vcpus=1,
        memory_mib=192,
        disks=[root],
        config_drive=True,
        metadata=metadata,
        extra={"os_shutdown_timeout": "20"},
    )


def work(*hosts: Host, guest: Guest) -> list[tuple[int, str]]:
    text = "".join(host.log(guest) for host in hosts)
    return [(int(number), state) for number, state in re.findall(r"work (\d+) (\w+)\r?\n", text)]


async def goes_on(host: Host, guest: Guest) -> None:
    before = len(work(host, guest=guest))
    await until(lambda: len(work(host, guest=guest)) > before + 2, f"nothing is done on {host.name}: {host.log(guest)[-300:]}")


def test_a_linux_guest_moves_there_and_back_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "KVM", tmp_path / "no-kvm")
    guest = linux()

    async def scenario(first: Host, second: Host) -> None:
        await boot(first, guest)
        await goes_on(first, guest)
        seen: list[tuple[int, str]] = []
        for number, (source, destination) in enumerate(((first, second), (second, first))):
            await begin(source, destination, guest, MoveOptions(bandwidth=200 << 20), move=f"move{number}")
            await until(lambda s=source: s.driver._guests[guest.id].move.phase is MovePhase.SWITCHED, "it does not end")
            done = source.driver._guests[guest.id].move
            assert done and done.rounds and done.disk_total > 0
            await finish(destination, later(guest), f"move{number}")
            seen += work(source, guest=guest)
            await source.driver.remove(guest.id)
            await goes_on(destination, guest)
        seen += work(first, guest=guest)
        assert {state for _, state in seen} == {"whole"}
        numbers = [number for number, _ in seen]
        assert len(numbers) > 8 and numbers == sorted(set(numbers))
        assert numbers[-1] - numbers[0] <= len(numbers) + 3, "it did not go on where it was"  # a line may be cut by a move
        await first.driver.apply(later(later(guest, power=Power.STOPPED)))
        await until(lambda: not first.processes(guest), "it does not shut down")
        disk = first.state / "guests" / guest.id / "disks" / "root"
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(disk)], check=True, timeout=60)

    play(tmp_path, guest, scenario)
