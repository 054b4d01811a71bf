"""Fixtures of the compute tests: a cloud with flavors, an active image, a network, and a host that reports."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from pileus.model.flavors import Flavor
from pileus.model.guests import ObservedGuest, ObservedPower
from pileus.model.hosts import DriverCapabilities, Host, HostReport
from pileus.model.images import Image, ImageStatus, Visibility
from pileus.model.networks import Network
from pileus.model.subnets import Pool, Subnet
from pileus.store import flavors, images, servers
from pileus.store.database import Transaction
from pileus.store.hosts import HOSTS
from pileus.store.networks import insert_network
from pileus.store.subnets import insert_subnet
from tests.api.harness import TestCloud

NEWEST = {"openstack-api-version": "compute 2.104"}


class Compute:
    """A cloud in which servers can be asked for."""

    def __init__(self, cloud: TestCloud) -> None:
        self.cloud = cloud
        self.image = str(uuid.uuid4())
        self.network = str(uuid.uuid4())
        self.host = str(uuid.uuid4())
        cloud.write(self._fill)

    async def _fill(self, tx: Transaction) -> None:
        now = time.time()
        for number, (name, ram, disk) in enumerate([("m1.tiny", 512, 1), ("m1.small", 2048, 20)], 1):
            await flavors.create(tx, Flavor(id=str(number), created_at=now, updated_at=now, name=name, ram=ram, vcpus=1, disk=disk))
        image = Image(
            id=self.image, created_at=now, updated_at=now, owner=None, name="small linux", status=ImageStatus.ACTIVE,
            visibility=Visibility.PUBLIC, container_format="bare", disk_format="qcow2", size=1 << 20, virtual_size=1 << 29,
            content="0" * 64, stores=["local"], properties={"os_distro": "debian"},
        )  # fmt: skip
        await images.insert(tx, image)
        demo = await tx.value("SELECT id FROM projects WHERE name = 'demo'")
        network = Network(id=self.network, created_at=now, updated_at=now, project_id=demo, name="private")
        await insert_network(tx, network)
        subnet = Subnet(
            id=str(uuid.uuid4()), created_at=now, updated_at=now, project_id=demo, network_id=self.network, name="private",
            cidr="10.1.0.0/16", ip_version=4, gateway_ip="10.1.0.1", allocation_pools=[Pool(start="10.1.0.2", end="10.1.255.254")],
        )  # fmt: skip
        await insert_subnet(tx, subnet)
        driver = DriverCapabilities(driver="simulated", hypervisor_type="QEMU", hypervisor_version=7002000, features=["pause", "suspend"])
        report = HostReport(
            host="one", address="127.0.0.1", version="0.1.0", started_at=now - 100, reported_at=now, vcpus=8, memory_mib=16384,
            disk_gib=100, capabilities=[driver],
        )  # fmt: skip
        host = Host(
            id=self.host, created_at=now, updated_at=now, name="one", number=1, service_id=str(uuid.uuid4()), seen_at=now, report=report
        )
        await HOSTS.insert(tx, host)

    def settle(self, server: str) -> None:
        """The host reports that the server is as wanted; the first time, it is placed there before."""

        async def work(tx: Transaction) -> None:
            seen = await servers.get(tx, server)
            if seen.host is None:
                seen = await servers.save(tx, seen, host="one", availability_zone="nova")
            guest = ObservedGuest(
                id=server, power=ObservedPower(seen.power.value), generation=seen.generation, reboots_soft=seen.reboots_soft,
                reboots_hard=seen.reboots_hard, builds=seen.builds, hypervisor="simulated",
            )  # fmt: skip
            await servers.record_observed(tx, server, guest, time.time())

        self.cloud.write(work)

    def running(self, name: str = "one", **fields: Any) -> str:
        """A server that runs."""
        server = self.create(name, **fields)
        self.settle(server)
        return server

    def act(self, server: str, action: str, value: Any = None, **rest: Any) -> Any:
        """An action of a server."""
        return self.call("POST", f"/servers/{server}/action", {action: value}, **rest)

    def call(self, method: str, path: str, json: Any = None, *, who: str = "member", version: str = "2.104") -> Any:
        """One request below /compute/v2.1."""
        headers = {"openstack-api-version": f"compute {version}"}
        return self.cloud.call(method, f"/compute/v2.1{path}", who, json, headers)

    def create(self, name: str = "one", *, who: str = "member", version: str = "2.104", **fields: Any) -> str:
        """A new server's id."""
        server = {"name": name, "imageRef": self.image, "flavorRef": "1", "networks": "auto", **fields}
        answer = self.call("POST", "/servers", {"server": server}, who=who, version=version)
        assert answer.status == 202, answer
        return answer.json["server"]["id"]

    def show(self, server: str, *, who: str = "member", version: str = "2.104") -> dict[str, Any]:
        """A server."""
        answer = self.call("GET", f"/servers/{server}", who=who, version=version)
        assert answer.status == 200, answer
        return answer.json["server"]


@pytest.fixture
def compute(cloud: TestCloud) -> Compute:
    """A fresh cloud with flavors, an image, a network and a host."""
    return Compute(cloud)


@pytest.fixture(scope="module")
def shared_compute(shared_cloud: TestCloud) -> Iterator[Compute]:
    """One such cloud for all tests of a module."""
    yield Compute(shared_cloud)
