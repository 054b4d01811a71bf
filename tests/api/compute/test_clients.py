"""The released clients against the compute service."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pileus.model.messages import ConsoleEndpoint, ConsoleLog, NodeReply, NodeRequest, ReadConsoleLog
from tests.api.compute.conftest import Compute
from tests.api.compute.test_keypairs import public_key
from tests.api.harness import TestCloud

pytestmark = pytest.mark.skipif(importlib.util.find_spec("openstackclient") is None, reason="python-openstackclient is not installed")


@pytest.fixture(scope="module")
def client(shared_cloud: TestCloud) -> Iterator[Compute]:
    """A cloud whose node answers."""
    compute = Compute(shared_cloud)

    async def node(message: NodeRequest) -> NodeReply:
        return ConsoleLog(text="hello from the guest\n") if isinstance(message, ReadConsoleLog) else ConsoleEndpoint(path="/none")

    shared_cloud.bus.attach("one", node)
    yield compute


def test_openstack_server_from_create_to_delete(client: Compute, tmp_path: Path) -> None:
    run = client.cloud.openstack
    key = tmp_path / "key.pub"
    key.write_text(public_key())
    run("keypair", "create", "--public-key", str(key), "mine", "-f", "json")
    made = run(
        "server", "create", "--image", "small linux", "--flavor", "m1.tiny", "--network", "private", "--key-name", "mine",
        "--property", "a=b", "cli", "-f", "json",
    )  # fmt: skip
    assert made["status"] == "BUILD"
    client.settle(made["id"])
    listed = run("server", "list", "-f", "json")
    assert [(one["Name"], one["Status"], one["Flavor"]) for one in listed] == [("cli", "ACTIVE", "m1.tiny")]
    assert listed[0]["Image"] == "small linux"
    shown = run("server", "show", "cli", "-f", "json")
    assert shown["properties"] == {"a": "b"}
    assert run("console", "log", "show", "cli").startswith("hello from the guest")
    assert "/console/vnc?token=" in run("console", "url", "show", "cli", "-f", "json")["url"]
    run("server", "stop", "cli")
    client.settle(made["id"])
    run("server", "start", "cli")
    client.settle(made["id"])
    events = run("server", "event", "list", "cli", "-f", "json")
    assert [one["Action"] for one in events] == ["start", "stop", "create"]
    run("server", "delete", "cli")
    assert client.show(made["id"], who="admin")["OS-EXT-STS:task_state"] == "deleting"


def test_openstack_lists_what_an_administrator_sees(client: Compute) -> None:
    run = client.cloud.openstack
    admin: dict[str, Any] = {"user": "admin", "project": "admin"}
    assert [one["Hypervisor Hostname"] for one in run("hypervisor", "list", "-f", "json", **admin)] == ["one"]
    assert [one["Binary"] for one in run("compute", "service", "list", "-f", "json", **admin)] == ["nova-compute"]
    assert run("quota", "show", "demo", "--compute", "-f", "json", **admin)
    flavor = run("flavor", "create", "--ram", "64", "--vcpus", "1", "--disk", "1", "--property", "a:b=c", "tiny", "-f", "json", **admin)
    assert flavor["ram"] == 64
    zones = run("availability", "zone", "list", "--compute", "-f", "json")
    assert [(one["Zone Name"], one["Zone Status"]) for one in zones] == [("nova", "available")]
    run("aggregate", "create", "--zone", "z", "agg", "-f", "json", **admin)
    assert [one["Name"] for one in run("aggregate", "list", "-f", "json", **admin)] == ["agg"]


def test_the_sdk_creates_changes_and_deletes(client: Compute) -> None:
    sdk = client.cloud.connection()
    compute = sdk.compute
    assert [one.name for one in compute.flavors() if one.name.startswith("m1.")][:2] == ["m1.tiny", "m1.small"]  # others have ids by chance
    server = compute.create_server(name="sdk", image_id=client.image, flavor_id="1", networks=[{"uuid": client.network}])
    client.settle(server.id)
    server = compute.wait_for_server(server, wait=5, interval=0.1)
    assert server.status == "ACTIVE"
    compute.set_server_metadata(server, k="v")
    client.settle(server.id)
    compute.add_tag_to_server(server, "red")
    assert compute.get_server(server.id).tags == ["red"]
    assert [one.name for one in compute.servers(details=True, name="sdk")] == ["sdk"]
    compute.reboot_server(server, "HARD")
    client.settle(server.id)
    compute.lock_server(server)
    compute.unlock_server(server)
    assert compute.get_limits().absolute.instances_used >= 1
    assert [one.net_id for one in compute.server_interfaces(server)] == [client.network]
    compute.delete_server(server)
