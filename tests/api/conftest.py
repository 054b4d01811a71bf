"""Fixtures of the API tests."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from pileus.api.listener import BoundedProtocol
from tests.api.compute.conftest import Compute
from tests.api.harness import TestCloud
from tests.api.network.neutron import Neutron


@pytest.fixture
def cloud() -> Iterator[TestCloud]:
    """A fresh cloud with projects admin, demo, service, other and the personas of the access test; password: harness.PASSWORD."""
    one = TestCloud()
    yield one
    one.close()


@pytest.fixture(scope="module")
def shared_cloud() -> Iterator[TestCloud]:
    """One cloud for all tests of a module: for the slow clients, and for tests that only read."""
    one = TestCloud()
    yield one
    one.close()


@pytest.fixture(scope="module")
def ids(shared_cloud: TestCloud) -> dict[str, str]:
    """Ids of things that are there, by the name that a path has for them."""
    compute, demo = Compute(shared_cloud), Neutron(shared_cloud)
    server = compute.running()
    group = compute.call("POST", "/os-server-groups", {"server_group": {"name": "one", "policy": "affinity"}}).json["server_group"]["id"]
    body = {"name": "mine", "visibility": "private", "disk_format": "raw", "container_format": "bare"}
    image = shared_cloud.call("POST", "/image/v2/images", token="member", json=body).json["id"]
    network = demo.make("network")
    made = {"networks": network, "routers": demo.make("router"), "subnets": demo.subnet(network, "10.44.0.0/24"),
            "ports": demo.make("port", network_id=network["id"]), "security-groups": demo.make("security_group", name="mine")}  # fmt: skip
    return {
        "server_id": server, "group_id": group, "project_id": shared_cloud.project_id(), "image_id": image, "flavor_id": "1",
        "user_id": shared_cloud.user_id("member"), **{name: one["id"] for name, one in made.items()},
    }  # fmt: skip


@pytest.fixture(scope="module")
def address(shared_cloud: TestCloud) -> Iterator[tuple[str, int]]:
    """Where the listener that users meet serves `shared_cloud`."""
    sock = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        shared_cloud.app, lifespan="off", log_level="critical", access_log=False, http=BoundedProtocol, ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    serving = asyncio.run_coroutine_threadsafe(server.serve(sockets=[sock]), shared_cloud.loop)
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    yield sock.getsockname()
    server.should_exit = True
    serving.result(20)
