"""Guests of QEMU move between two hosts as the API asks for it: live with their disks, off and back, suspended."""

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pileus.model.images import Image, ImageStatus, Visibility
from pileus.node.agent import Agent
from pileus.node.hypervisor.qemu import QemuDriver
from pileus.node.machine import SimulatedMachine
from pileus.node.network.simulated import SimulatedNetwork
from pileus.store import images
from pileus.store.database import Transaction
from tests.api.compute.moving import Moving
from tests.api.harness import TestCloud
from tests.driver.boot_sectors import COUNTING
from tests.driver.move_hosts import no_taps

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None or os.geteuid() != 0, reason="real guests need QEMU, and root for their own users"
)


class MovingGuests(Moving):
    """Two hosts with QEMU on this machine, and an image whose guest prints a letter at each tick of its clock."""

    def __init__(self, cloud: TestCloud) -> None:
        cloud.directory.chmod(0o711)
        super().__init__(cloud)
        self.counting = str(uuid.uuid4())
        content = COUNTING.ljust(1 << 20, b"\0")
        name = hashlib.sha256(content).hexdigest()
        file = cloud.directory / "images" / name
        file.parent.mkdir(mode=0o711, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o444)
        now = time.time()
        image = Image(
            id=self.counting, created_at=now, updated_at=now, owner=None, name="counting", status=ImageStatus.ACTIVE,
            visibility=Visibility.PUBLIC, container_format="bare", disk_format="raw", size=len(content), virtual_size=len(content),
            content=name,
        )  # fmt: skip

        async def insert(tx: Transaction) -> None:
            await images.insert(tx, image)

        cloud.write(insert)
        body = {"flavor": {"name": "nano", "ram": 64, "vcpus": 1, "disk": 1, "id": "nano"}}
        assert self.call("POST", "/flavors", body, who="admin").status == 200

    def agent(self, name: str) -> Agent:
        driver = QemuDriver(self.place(name), f"ra{name}", no_taps, find_probe_image=lambda: None, grace=0.3)
        return Agent(name, [driver], SimulatedNetwork(), SimulatedMachine(), address="127.0.0.1")

    def place(self, name: str) -> Path:
        """A host's state directory."""
        return self.cloud.directory / name

    def boot(self) -> str:
        """A server that counts."""
        server = self.placed(flavor="nano", imageRef=self.counting, networks="none")
        self.until(lambda: len(self.printed(server)) > 3, "it counts")
        return server

    def printed(self, server: str) -> str:
        """What the guest has printed on the host that it is on."""
        file = self.place(str(self.record(server).host)) / "guests" / server / "console.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def goes_on(self, server: str) -> None:
        """It prints more than it has printed."""
        before = len(self.printed(server))
        self.until(lambda: len(self.printed(server)) > before + 2, "it goes on")

    def copies(self, server: str) -> list[str]:
        """Hosts that have anything of the guest."""
        return [name for name in self.names if (self.place(name) / "guests" / server).exists()]


@pytest.fixture
def moving() -> Iterator[MovingGuests]:
    """Two hosts; no guest is left."""
    cloud = TestCloud()
    made = MovingGuests(cloud)
    try:
        yield made
    finally:
        for server in made.call("GET", "/servers").json["servers"]:
            made.call("DELETE", f"/servers/{server['id']}")
            made.until(lambda one=server["id"]: made.record(one).removed_at, "the server is gone")
        left = [name for name in made.names for _ in (made.place(name) / "guests").glob("[0-9a-f]*")]
        made.close()
        cloud.close()
        assert left == []


def test_a_guest_goes_on_at_its_destination_with_its_disk(moving: MovingGuests) -> None:
    server = moving.boot()
    for _ in range(2):
        destination = moving.other(server)
        answer = moving.act(server, "os-migrateLive", {"host": destination, "block_migration": "auto"}, who="admin")
        assert answer.status == 202
        migration = moving.wait_move(server, "completed")
        moving.wait(server)
        assert (moving.record(server).host, moving.copies(server)) == (destination, [destination])
        assert migration.progress is not None and migration.progress.pause_ms is not None
        print(f"pause {migration.progress.pause_ms} ms, {migration.progress.seconds:.2f} s, {len(migration.progress.rounds)} rounds")
        moving.goes_on(server)


def test_a_guest_that_is_off_moves_waits_and_comes_back(moving: MovingGuests) -> None:
    server = moving.boot()
    source, destination = str(moving.record(server).host), moving.other(server)
    assert moving.act(server, "migrate", who="admin").status == 202
    moving.wait(server, "VERIFY_RESIZE")
    assert sorted(moving.copies(server)) == sorted([source, destination])
    moving.goes_on(server)
    assert moving.act(server, "revertResize").status == 202
    moving.wait(server)
    moving.wait_move(server, "reverted")
    assert (moving.record(server).host, moving.copies(server)) == (source, [source])
    moving.goes_on(server)
    assert moving.act(server, "migrate", who="admin").status == 202
    moving.wait(server, "VERIFY_RESIZE")
    assert moving.act(server, "confirmResize").status == 204
    moving.wait(server)
    moving.wait_move(server, "confirmed")
    assert moving.copies(server) == [destination]
    moving.goes_on(server)


def test_a_suspended_guest_is_resumed_where_it_has_been_brought(moving: MovingGuests) -> None:
    server = moving.boot()
    destination = moving.other(server)
    assert moving.act(server, "suspend").status == 202
    moving.wait(server, "SUSPENDED")
    assert moving.act(server, "migrate", {"host": destination}, who="admin").status == 202
    moving.wait_move(server, "completed")
    moving.wait(server, "SUSPENDED")
    assert moving.copies(server) == [destination]
    assert moving.act(server, "resume").status == 202
    moving.wait(server)
    moving.goes_on(server)
